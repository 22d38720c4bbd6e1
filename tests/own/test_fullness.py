"""A pool that was promised more than once fills up: what administrators and owners see, and what is refused when."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import small
import world
from brickyard.core import clock
from brickyard.hypervisor import memory
from brickyard.nodes.local import LocalNode
from brickyard.service import instances, reports

from .conftest import Client

pytestmark = pytest.mark.root
V3 = {"OpenStack-API-Version": "volume 3.66"}


class Rig:
    """A site with one pool on a small file system that is promised three times."""

    def __init__(self, api: Client, disk: small.Small) -> None:
        self.api, self.disk = api, disk
        node = api.site.world.nodes["h1"]
        assert isinstance(node, LocalNode)
        self.node = node
        node.backends["thin"].options = {**node.backends["thin"].options, "max_over_subscription_ratio": 3.0}

    def tell(self) -> None:
        """What the service does every few seconds."""
        self.node.watch.look()
        reports.record(self.api.site.db, self.node.report())
        instances.observe(self.api.site.db, "h1", self.node.guests)
        self.api.site.world.places.refresh()

    def fill(self, percent: float) -> dict[str, Any]:
        self.disk.fill(percent)
        self.tell()
        return self.pool()

    def pool(self) -> dict[str, Any]:
        found: dict[str, Any] = self.api.json("GET", "/v1/pools/h1@thin")
        return found

    def messages(self, kind: str) -> list[str]:
        found = self.api.json("GET", "/v3/messages", headers=V3)["messages"]
        return [one["user_message"] for one in reversed(found) if one["event_id"].startswith(kind)]

    def booted(self, name: str, **more: Any) -> dict[str, Any]:
        made = self.api.json("POST", "/v1/instances", {"name": name, "flavor": "small", "image": "tiny", **more}, 202)
        self.api.done(made["flow_id"])
        found: dict[str, Any] = self.api.json("GET", f"/v1/instances/{made['id']}")
        return found

    def guest(self, id: str) -> tuple[str, tuple[str, ...]]:
        return next((guest.status, guest.held) for guest in self.node.guests() if guest.id == id)

    def volume(self, id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api.json("GET", f"/v3/volumes/{id}", headers=V3)["volume"]
        return found

    def new_volume(self) -> dict[str, Any]:
        """A volume that is made, or could not be."""
        made = self.api.json("POST", "/v3/volumes", {"volume": {"size": 1}}, 202, headers=V3)["volume"]
        return self.settled(made["id"])

    def settled(self, id: str) -> dict[str, Any]:
        deadline = clock.monotonic() + 60
        while (found := self.volume(id))["status"] in ("creating", "extending"):
            assert clock.monotonic() < deadline
        return found


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    disk = small.Small(tmp_path / "thin", 16 * 1024)
    try:
        with world.running(tmp_path, {"thin": "raw"}) as (site, http):
            made = Rig(Client(site, http), disk)
            made.tell()
            yield made
    finally:
        disk.remove()


def test_it_is_warned_of_then_frozen_then_its_writers_are_paused_and_all_goes_on_when_there_is_room(rig: Rig) -> None:
    rig.api.a_flavor()
    rig.api.a_kernel()
    before = rig.pool()
    assert (before["stage"], before["limit_gib"] > before["total_gib"]) == ("ok", True)
    assert before["data_percent"] == pytest.approx(rig.disk.percent, abs=0.5)
    writer, other = rig.booted("writer", local_storage=[{"size_gib": 1}]), rig.booted("other")
    [volume] = writer["volumes"]

    pool = rig.fill(83)
    assert (pool["stage"], pool["stage_reason"]) == ("warn", "83.0 % of its data are used, thin_warn_percent is 80")
    assert [m for m in rig.messages("POOL") if "h1@thin#thin is warn: 83.0 %" in m]
    assert rig.new_volume()["status"] == "available"

    pool = rig.fill(91)
    assert (pool["stage"], pool["data_percent"]) == ("frozen", pytest.approx(91, abs=0.5))
    assert "Nothing new is made in it" in rig.messages("POOL")[-1]
    assert rig.guest(writer["id"]) == ("running", ())

    pool = rig.fill(96)
    assert pool["stage"] == "paused"
    assert rig.guest(writer["id"]) == ("paused", ("pool thin",))
    assert rig.guest(other["id"]) == ("running", ())
    shown = rig.api.json("GET", f"/v1/instances/{writer['id']}")
    assert (shown["status"], "pool thin of its host is almost full" in shown["paused_reason"]) == ("active", True)
    assert rig.api.json("GET", f"/v1/instances/{other['id']}")["paused_reason"] is None
    assert rig.messages("INSTANCE") == [f"Instance writer is paused: {shown['paused_reason']}."]
    metrics = rig.api.call("GET", "/metrics").text
    assert 'brickyard_pool_stage{pool="h1@thin#thin"} 3.0' in metrics
    assert 'brickyard_pool_data_percent{pool="h1@thin#thin"} 96' in metrics
    assert "brickyard_pool_metadata_percent{" not in metrics

    assert rig.fill(94)["stage"] == "paused"  # a little less is not yet room
    assert rig.guest(writer["id"])[0] == "paused"
    assert rig.fill(50)["stage"] == "ok"
    assert rig.guest(writer["id"]) == ("running", ())
    assert rig.api.json("GET", f"/v1/instances/{writer['id']}")["paused_reason"] is None
    assert rig.messages("POOL")[-1] == "Pool h1@thin#thin is ok. There is room again."
    assert len(rig.messages("POOL")) == 4, "each change is told once"
    assert rig.new_volume()["status"] == "available"
    assert rig.volume(volume["volume_id"])["status"] == "in-use"


def test_a_frozen_pool_takes_nothing_new_and_says_why(rig: Rig) -> None:
    volume = rig.new_volume()
    rig.fill(91)
    why = "pool h1@thin#thin takes nothing new: 91.0 % of its data are used, thin_freeze_percent is 90 (frozen)"

    refused = rig.new_volume()
    assert refused["status"] == "error"
    [flow] = rig.api.json("GET", "/v1/flows", params={"resource_id": refused["id"]})["flows"]
    assert {"name": "h1@thin#thin", "rule": "fullness", "message": why} in flow["refusals"]
    explained = rig.api.json("POST", "/v1/explain", {"volume": {"size_gib": 1}})["hosts"][0]["pools"][0]
    assert explained["refusal"] == {"rule": "fullness", "message": why}

    rig.api.json("POST", f"/v3/volumes/{volume['id']}/action", {"os-extend": {"new_size": 2}}, 202, headers=V3)
    after = rig.settled(volume["id"])
    assert (after["status"], after["size"]) == ("available", 1)
    assert "takes nothing new, it is frozen: 91.0 %" in rig.messages("VOLUME_VOLUME_007")[-1]

    body = {"snapshot": {"volume_id": volume["id"]}}
    snapshot = rig.api.json("POST", "/v3/snapshots", body, 202, headers=V3)["snapshot"]
    [flow] = rig.api.json("GET", "/v1/flows", params={"resource_id": snapshot["id"]})["flows"]
    assert "takes nothing new, it is frozen" in rig.api.done(flow["id"], "failed")["error"]

    clone = {"volume": {"size": 1, "source_volid": volume["id"]}}
    made = rig.api.json("POST", "/v3/volumes", clone, 202, headers=V3)["volume"]
    assert rig.settled(made["id"])["status"] == "error"

    # What is there can be deleted, which is what makes room.
    for kind, id in (("snapshots", snapshot["id"]), ("volumes", volume["id"])):
        rig.api.json("DELETE", f"/v3/{kind}/{id}", status=202, headers=V3)
        [flow] = rig.api.json("GET", "/v1/flows", params={"resource_id": id, "limit": "1"})["flows"]
        rig.api.done(flow["id"])


def test_a_pool_that_filled_up_since_the_last_report_takes_nothing_new_either(rig: Rig) -> None:
    """The database believes that there is room; the node looks."""
    volume = rig.new_volume()
    rig.disk.fill(92)
    rig.node.watch.measure(rig.node.backends["thin"])
    assert rig.pool()["stage"] == "ok"
    refused = rig.new_volume()
    assert refused["status"] == "error"
    [flow] = rig.api.json("GET", "/v1/flows", params={"resource_id": refused["id"]})["flows"]
    log = rig.api.json("GET", f"/v1/flows/{flow['id']}")["log"]
    assert "pool thin takes nothing new, it is frozen: 92.0 %" in str([one for one in log if one["event"] == "failed"])
    # What is there already passes: the answer to a create may have been lost, and the create is repeated.
    rig.node.grow_brick("thin", f"volume-{volume['id']}", 1024**3)


def test_a_restart_does_not_let_a_guest_go_that_is_held(rig: Rig) -> None:
    rig.api.a_flavor()
    rig.api.a_kernel()
    writer = rig.booted("writer", local_storage=[{"size_gib": 1}])
    interrupted = rig.booted("interrupted")
    rig.fill(96)
    hypervisor = rig.node.hypervisor
    assert isinstance(hypervisor, memory.Memory)
    hypervisor.pause(writer["id"])  # a snapshot, in the middle of which the service dies
    hypervisor.pause(interrupted["id"])

    def restarted() -> LocalNode:
        again = LocalNode(
            host="h1", labels={}, vcpus=1, memory_mib=1, backends=[rig.node.backends["thin"]],
            hypervisor=memory.Memory(hypervisor.guests), make=world.from_api,
        )  # fmt: skip
        again.start()
        return again

    again = restarted()
    assert rig.guest(writer["id"]) == ("paused", ("pool thin",))
    assert rig.guest(interrupted["id"]) == ("running", ())
    rig.disk.fill(94)  # within the margin: the new run knows that it was almost full
    again.watch.look()
    assert rig.guest(writer["id"])[0] == "paused"
    rig.disk.fill(50)
    restarted().watch.look()
    assert rig.guest(writer["id"]) == ("running", ())


def test_nobody_is_let_go_while_the_storage_does_not_answer(rig: Rig) -> None:
    rig.api.a_flavor()
    rig.api.a_kernel()
    writer = rig.booted("writer", local_storage=[{"size_gib": 1}])
    rig.fill(96)
    rig.disk.fill(50)
    away = rig.disk.path.with_name("away")
    rig.disk._run("mount", "--move", str(rig.disk.path), str(_made(away)))
    rig.disk.path.rmdir()
    try:
        assert rig.node.watch.look() <= 1.0
        assert rig.guest(writer["id"]) == ("paused", ("pool thin",))
    finally:
        rig.disk._run("mount", "--move", str(away), str(_made(rig.disk.path)))
    rig.tell()
    assert rig.guest(writer["id"]) == ("running", ())


def test_a_guest_that_found_no_room_goes_on_when_there_is(rig: Rig) -> None:
    rig.api.a_flavor()
    rig.api.a_kernel()
    writer = rig.booted("writer", local_storage=[{"size_gib": 1}])
    hypervisor = rig.node.hypervisor
    assert isinstance(hypervisor, memory.Memory)
    rig.disk.fill(97)
    hypervisor.starve(writer["id"])  # it was faster than the watch
    rig.tell()
    assert rig.guest(writer["id"]) == ("paused", ("no room", "pool thin"))
    rig.tell()
    assert rig.guest(writer["id"]) == ("paused", ("no room", "pool thin"))
    rig.fill(50)
    assert rig.guest(writer["id"]) == ("running", ())


def _made(path: Path) -> Path:
    path.mkdir()
    return path
