"""How far long steps are: of real copies of real files, each of which waits until its progress has been seen."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from falcon import testing
from tests.flows import disk_scenarios

from brickyard.brick import faults, steps
from brickyard.core.sizes import GIB, MIB
from brickyard.flows import conductor
from brickyard.service import flows

CHUNKS = 4
DATA_BYTES = CHUNKS * steps.COPY_BYTES
PATIENCE_S = 60.0


class Gate:
    """Lets copies, or what else has such points, go on by one chunk at a time."""

    def __init__(self, point: str = "copying") -> None:
        self.point, self.passes = point, threading.Semaphore(1)

    def __call__(self, point: str) -> None:
        if point == self.point and not self.passes.acquire(timeout=PATIENCE_S):
            raise AssertionError("nobody saw the progress")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is written as soon as may be, and nothing is shared, so that every copy is one."""
    monkeypatch.setattr(conductor, "POLL_S", 0.02)
    monkeypatch.setattr(flows, "LOOK_S_MAX", 0.02)
    monkeypatch.setattr(steps, "can_share", lambda directory: False)


@pytest.fixture
def gate(quick: None) -> Iterator[Gate]:
    made = Gate()
    with faults.installed(made):
        yield made


def big_image(path: Path) -> bytes:
    """Real data, and a hole behind it."""
    with open(path, "wb") as file:
        for number in range(CHUNKS):
            file.write(bytes([number + 1]) * steps.COPY_BYTES)
        file.truncate(DATA_BYTES + 64 * MIB)
    return path.read_bytes()


def seen(api: Any, flow_id: str, gate: Gate) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of a flow; whoever has looked at a progress lets the copy go on."""
    stream = api.http.app(testing.create_environ(f"/v1/flows/{flow_id}/events"), testing.StartResponseMock())
    for part in stream:
        fields = dict(line.split(": ", 1) for line in part.decode().strip().splitlines() if not line.startswith(":"))
        if fields:
            yield fields["event"], json.loads(fields["data"])
            if fields["event"] == "progress":
                assert "id" not in fields
                gate.passes.release()


def flow_of(api: Any, resource_id: str) -> str:
    return str(api.json("GET", "/v1/flows", params={"resource_id": resource_id})["flows"][-1]["id"])


def an_image(api: Any, tmp_path: Path) -> Any:
    image = api.json("POST", "/v1/images", {"name": "big", "kind": "disk", "format": "raw"}, 201)
    return api.upload(image["id"], "disk", big_image(tmp_path / "big"))


def test_a_volume_from_an_image_shows_how_far_it_is(api, tmp_path, gate):
    image = an_image(api, tmp_path)
    volume = api.json("POST", "/v3/volumes", {"volume": {"size": 1, "imageRef": image["id"]}}, 202)["volume"]
    flow_id, told = flow_of(api, volume["id"]), []
    for event, data in seen(api, flow_id, gate):
        if event == "progress":
            told.append(data)
            if data["done_bytes"] >= DATA_BYTES:
                continue  # the gate has opened for the last time
            shown = api.json("GET", f"/v1/flows/{flow_id}")
            assert shown["status"] == "running"
            assert shown["progress"] == data
            assert [(entry["step"], entry["event"]) for entry in shown["log"]][-1] == ("brick", "started")
            [listed] = api.json("GET", "/v1/flows", params={"open": "true"})["flows"]
            assert listed["progress"]["percent"] == data["percent"]
    assert event == "flow"
    assert (data["status"], data["progress"]) == ("done", None)
    assert len(told) >= CHUNKS - 1
    done = [one["done_bytes"] for one in told]
    assert done == sorted(set(done))
    total = DATA_BYTES + 64 * MIB
    assert {(one["step"], one["what"], one["total_bytes"]) for one in told} == {
        ("brick", f"volume-{volume['id']}", total)
    }
    assert [one["percent"] for one in told] == [100 * one // total for one in done]


def test_the_root_disk_of_an_instance_shows_how_far_it_is(api, tmp_path, gate):
    an_image(api, tmp_path)
    api.a_flavor(root_gib=1)
    body = {"name": "i", "flavor": "small", "image": "big", "local_storage": [{"size_gib": 1}]}
    made = api.json("POST", "/v1/instances", body, 202)
    found = list(seen(api, made["flow_id"], gate))
    assert {data["what"] for event, data in found if event == "progress"} == {f"root-{made['id']}"}
    assert found[-1][1]["status"] == "done"


def test_a_snapshot_shows_its_progress_on_both_apis(api, tmp_path, gate):
    volume = api.a_volume()
    with open(tmp_path / "raw" / f"volume-{volume['id']}", "r+b") as file:
        file.write(b"x" * DATA_BYTES)
    snapshot = api.json("POST", "/v3/snapshots", {"snapshot": {"volume_id": volume["id"]}}, 202)["snapshot"]
    for event, data in seen(api, flow_of(api, snapshot["id"]), gate):
        if event == "progress":
            if data["done_bytes"] >= DATA_BYTES:
                continue  # the gate has opened for the last time
            shown = api.json("GET", f"/v3/snapshots/{snapshot['id']}")["snapshot"]
            assert shown["status"] == "creating"
            assert shown["os-extended-snapshot-attributes:progress"] == f"{100 * data['done_bytes'] // GIB}%"
            assert data["done_bytes"] > 0
    shown = api.json("GET", f"/v3/snapshots/{snapshot['id']}")["snapshot"]
    assert shown["os-extended-snapshot-attributes:progress"] == "100%"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[str]:
    if os.geteuid() != 0:
        pytest.skip("disks need root")
    with open(tmp_path / "disk.img", "wb") as file:
        file.truncate(3 * GIB)
    yield disk_scenarios.attach(tmp_path / "disk.img")
    disk_scenarios.detach(tmp_path)


def test_a_wipe_on_delete_shows_how_far_it_is(api, disk):
    """On a partition of a real block device, through its last part."""
    body = {"host": "h1", "name": "slots", "driver": "partition", "devices": [disk]}
    api.json("POST", "/v1/pools", body, 201)
    api.json("PATCH", "/v1/pools/h1@raw%23raw", {"enabled": False})
    volume = api.a_volume()
    gate, told = Gate("before erase"), []
    with faults.installed(gate):
        api.json("DELETE", f"/v3/volumes/{volume['id']}", status=202)
        [flow] = api.json("GET", "/v1/flows", params={"resource_id": volume["id"], "open": "true"})["flows"]
        for event, data in seen(api, flow["id"], gate):
            if event == "progress":
                told.append((data["step"], data["what"], data["done_bytes"]))
                if len(told) == 3:
                    gate.passes.release(GIB // MIB)
    assert data["status"] == "done"
    assert told[:3] == sorted(told[:3])
    assert len({done for _, _, done in told[:3]}) == 3
    assert {(step, what) for step, what, _ in told} == {("wipe", f"volume-{volume['id']}")}


def test_a_step_that_begins_again_does_not_show_where_it_was(api, tmp_path, gate):
    """What the row of a flow says of progress ends with the conductor that wrote it."""
    image = an_image(api, tmp_path)
    volume = api.json("POST", "/v3/volumes", {"volume": {"size": 1, "imageRef": image["id"]}}, 202)["volume"]
    flow_id = flow_of(api, volume["id"])
    _, data = next(one for one in seen(api, flow_id, gate) if one[0] == "progress")
    with api.site.db.begin() as tx:
        conductor.rows.abandon(tx)
        assert conductor.rows.claim(tx, flow_id, "another", 60).progress is None
    for _ in range(CHUNKS):
        gate.passes.release()
    assert data["done_bytes"] > 0
