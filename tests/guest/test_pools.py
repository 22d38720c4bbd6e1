"""Pools of disks, as an administrator makes them: the service in a guest, by HTTP and by the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests import ports

pytestmark = pytest.mark.guest
WAIT_S = 240.0
CONFIG = "[DEFAULT]\nhost = h1\nquota_gigabytes = -1\nquota_volumes = -1\n[host]\nhypervisor = none\n"


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def until(true: Callable[[], Any], what: str, timeout_s: float = WAIT_S) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (value := true()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.2)
    return value


class Service:
    """One service in a directory of its own; it can be killed and started again."""

    def __init__(self, directory: Path, config: str = CONFIG) -> None:
        self.directory = directory
        port = ports.one()
        (directory / "brickyard.conf").write_text(config)
        self.url = f"http://127.0.0.1:{port}"
        self.http = httpx.Client(base_url=self.url, timeout=WAIT_S)
        self.where = ["--state-dir", str(directory / "state"), "--config-file", str(directory / "brickyard.conf")]
        self.command = [sys.executable, "-m", "brickyard", "serve", "--port", str(port), *self.where]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        until(self._answers, "the service answers")

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.directory / "log").read_text()
        try:
            return self.http.get("/healthcheck").status_code == 200
        except httpx.TransportError:
            return False

    def end(self, how: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(WAIT_S)
            self.process = None

    def ask(self, method: str, path: str, body: Any = None, status: int = 200, **more: Any) -> Any:
        answer = self.http.request(method, path, json=body, **more)
        assert answer.status_code == status, (answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def refused(self, method: str, path: str, body: Any = None, status: int = 409, **more: Any) -> dict[str, Any]:
        return self.ask(method, path, body, status, **more)["error"]

    def pools(self) -> dict[str, Any]:
        return {pool["backend"].partition("@")[2]: pool for pool in self.ask("GET", "/v1/pools")["pools"]}

    def done(self, flow_id: str) -> Any:
        flow = until(
            lambda: (f := self.ask("GET", f"/v1/flows/{flow_id}"))["status"] not in ("running", "unwinding") and f,
            "the flow is over",
        )
        assert flow["status"] == "done", flow
        return flow

    def cli(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "brickyard", "--url", self.url, *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def a_volume(self, size_gib: int, backend: str) -> str:
        kinds = {kind["name"]: kind["id"] for kind in self.ask("GET", "/v3/types")["volume_types"]}
        if backend not in kinds:
            specs = {"volume_backend_name": backend}
            self.ask("POST", "/v3/types", {"volume_type": {"name": backend, "extra_specs": specs}})
        body = {"volume": {"size": size_gib, "volume_type": backend}}
        id = self.ask("POST", "/v3/volumes", body, 202)["volume"]["id"]
        volume = until(
            lambda: (v := self.ask("GET", f"/v3/volumes/{id}")["volume"])["status"] != "creating" and v, "it is made"
        )
        flows = self.ask("GET", "/v1/flows", params={"resource_id": id})["flows"]
        assert volume["status"] == "available", [flow["error"] for flow in flows]
        return str(id)

    def drop_volume(self, id: str) -> None:
        self.ask("DELETE", f"/v3/volumes/{id}", status=202)
        until(lambda: self.http.get(f"/v3/volumes/{id}").status_code == 404, "it is deleted")


@pytest.fixture
def service(tmp_path: Path, disks: Callable[[int], list[str]]) -> Iterator[Service]:
    """Before `disks` empties them the groups on them are removed."""
    made = Service(tmp_path)
    made.start()
    try:
        yield made
    finally:
        made.end(signal.SIGKILL)
        for group in groups():
            run("lvm", "vgremove", "-q", "-f", "-y", group)
        assert run("dmsetup", "ls") == "No devices found"


def groups() -> dict[str, str]:
    """Name → uuid of every volume group of this machine."""
    report = json.loads(run("lvm", "vgs", "-o", "vg_name,vg_uuid", "--reportformat", "json"))
    return {row["vg_name"]: row["vg_uuid"] for row in report["report"][0]["vg"]}


def signatures(path: str) -> str:
    return run("wipefs", "-n", path)


def serial(path: str) -> str:
    return run("lsblk", "-d", "-n", "-o", "SERIAL", path)


def test_a_thin_pool_is_made_used_grown_shrunk_and_taken_apart(
    service: Service, disks: Callable[[int], list[str]]
) -> None:
    one, two, three = disks(3)
    listed = {row["path"]: row for row in service.ask("GET", "/v1/hosts/h1/devices")["devices"]}
    assert {one, two, three} <= set(listed)
    assert (listed[one]["serial"], listed[one]["found"], listed[one]["backend"]) == (serial(one), [], None)
    assert listed[run("findmnt", "-n", "-o", "SOURCE", "/")]["in_use"]

    words = ("pool", "create", "fast", "--host", "h1", "--driver", "lvm-thin", "--device", one, "--device", two)
    assert "brickyard-fast" in service.cli(*words)
    pool = service.pools()["fast"]
    assert (pool["up"], pool["thin"], pool["volume_group"], pool["from_api"]) == (True, True, "brickyard-fast", True)
    assert pool["limit_gib"] >= 1
    assert [os.path.realpath(device) for device in pool["devices"]] == [one, two]
    service.cli(*words)
    assert service.pools()["fast"]["id"] == pool["id"]
    uuid_ = groups()["brickyard-fast"]

    volume = service.a_volume(1, "fast")
    assert volume in service.refused("DELETE", "/v1/pools/h1@fast")["message"]
    for device in (one, os.path.realpath(pool["devices"][1]), pool["devices"][0]):
        body = {"host": "h1", "name": "other", "driver": "lvm", "devices": [device], "wipe": [serial(one)]}
        assert "h1@fast" in service.refused("POST", "/v1/pools", {**body, "wipe": [serial(device)]})["message"]
    assert "other" not in service.pools()

    # A disk for another one: the pool does not take it, so that what is drained has room.
    words = ("pool", "extend", "h1@fast", "--device", three, "--no-grow")
    assert three in service.cli(*words).replace(f"/dev/disk/by-id/virtio-{serial(three)}", three)
    service.cli(*words)
    assert service.pools()["fast"]["limit_gib"] == pool["limit_gib"]
    assert "h1@fast" in service.cli("host", "devices", "h1")
    assert "drained" in service.cli("pool", "drain", "h1@fast", "--device", one)
    assert "drain it first" in service.cli("pool", "remove-device", "h1@fast", "--device", two, code=1)
    service.cli("pool", "remove-device", "h1@fast", "--device", one)
    assert signatures(one) == ""
    pool = service.pools()["fast"]
    assert [os.path.realpath(device) for device in pool["devices"]] == [two, three]

    service.end()
    service.start()
    pool = service.pools()["fast"]
    assert (pool["up"], pool["why_down"]) == (True, None)
    assert groups()["brickyard-fast"] == uuid_
    service.drop_volume(volume)
    [receipt] = service.ask("GET", "/v1/receipts", params={"brick_id": volume})["receipts"]
    assert (receipt["pool"], receipt["kind"], receipt["method"]) == ("h1@fast#fast", "volume", "none")
    assert "deleted" in service.cli("pool", "delete", "h1@fast")
    assert (groups(), signatures(two), signatures(three)) == ({}, "", "")
    assert "fast" not in service.pools()


def test_a_thin_pool_grows_onto_a_disk_that_is_added_unless_it_is_kept_for_a_drain(
    service: Service, disks: Callable[[int], list[str]]
) -> None:
    one, two, three = disks(3)

    def sizes() -> tuple[int, int]:
        fields = ("--noheadings", "--units", "m", "--nosuffix", "-o", "lv_size,lv_metadata_size")
        data, metadata = run("lvm", "lvs", *fields, "brickyard-fast/brickyard-fast-pool").split()
        return int(float(data)), int(float(metadata))

    def extend(body: dict[str, Any]) -> Any:
        """The pool afterwards. On a slow machine a request says that it goes on, and may be repeated."""
        answers: list[httpx.Response] = []

        def is_answered() -> bool:
            answers.append(service.http.post("/v1/pools/h1@fast/devices", json=body))
            return answers[-1].status_code not in (409, 503)

        until(is_answered, f"extended: {[answer.text for answer in answers]}", 2 * WAIT_S)
        assert answers[-1].status_code == 200, answers[-1].text
        return answers[-1].json()

    body = {"host": "h1", "name": "fast", "driver": "lvm-thin", "devices": [one]}
    service.http.post("/v1/pools", json=body)
    until(lambda: service.pools()["fast"]["up"], "it is made")
    made = sizes()
    assert (
        "grow" in service.refused("POST", "/v1/pools/h1@fast/devices", {"device": two, "grow": "much"}, 400)["message"]
    )

    assert len(extend({"device": two, "grow": False})["devices"]) == 2
    assert sizes() == made
    assert (extend({"device": two})["limit_gib"], sizes()[0] > made[0] + 800) == (1, True)
    grown = sizes()
    assert len(extend({"device": two})["devices"]) == 2
    assert sizes() == grown
    assert len(extend({"device": three})["devices"]) == 3
    largest = sizes()
    assert largest[0] > grown[0] + 800
    assert largest[1] >= largest[0] // 100

    flow = service.ask("POST", "/v1/pools/h1@fast/drain", {"device": one}, 202)["flow_id"]
    ended = until(lambda: (f := service.ask("GET", f"/v1/flows/{flow}"))["status"] == "failed" and f, "it is refused")
    assert "add a device" in str(ended)
    assert service.pools()["fast"]["up"]
    service.ask("DELETE", "/v1/pools/h1@fast", status=204)
    assert [signatures(device) for device in (one, two, three)] == ["", "", ""]


def test_a_device_that_is_not_empty_is_refused_until_its_serial_is_repeated(
    service: Service, disks: Callable[[int], list[str]]
) -> None:
    one, two = disks(2)
    run("lvm", "pvcreate", "-q", two)
    run("lvm", "vgcreate", "-q", "theirs", two)
    body = {"host": "h1", "name": "fast", "driver": "lvm", "devices": [one, two]}
    error = service.refused("POST", "/v1/pools", body)
    assert "LVM2_member" in error["message"]
    assert serial(two) in error["message"]
    assert signatures(one) == ""
    assert "fast" not in service.pools()
    assert set(groups()) == {"theirs"}
    for wipe in (["nonsense"], [serial(one)]):
        service.refused("POST", "/v1/pools", {**body, "wipe": wipe}, status=400 if wipe == ["nonsense"] else 409)
    assert set(groups()) == {"theirs"}
    service.ask("POST", "/v1/pools", {**body, "wipe": [serial(two)]}, 201)
    assert set(groups()) == {"brickyard-fast"}
    service.ask("DELETE", "/v1/pools/h1@fast", status=204)
    assert (signatures(one), signatures(two)) == ("", "")


def test_of_two_administrators_who_want_one_device_one_wins(
    service: Service, disks: Callable[[int], list[str]]
) -> None:
    [one] = disks(1)
    answers: dict[str, httpx.Response] = {}

    def make(name: str) -> None:
        body = {"host": "h1", "name": name, "driver": "lvm", "devices": [one], "wipe": [serial(one)]}
        answers[name] = httpx.post(f"{service.url}/v1/pools", json=body, timeout=WAIT_S)

    threads = [threading.Thread(target=make, args=(name,)) for name in ("ann", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers.values()) == [201, 409], [a.text for a in answers.values()]
    [winner] = [name for name, answer in answers.items() if answer.status_code == 201]
    assert set(groups()) == {f"brickyard-{winner}"}
    assert {"ann", "bob"} & set(service.pools()) == {winner}


@pytest.mark.parametrize("pause_s", [0.0, 1.0, 3.0])
def test_a_pool_whose_making_died_is_made(service: Service, disks: Callable[[int], list[str]], pause_s: float) -> None:
    one, two = disks(2)
    body = {"host": "h1", "name": "fast", "driver": "lvm-thin", "devices": [one, two]}

    def make() -> None:
        try:
            httpx.post(f"{service.url}/v1/pools", json=body, timeout=WAIT_S)
        except httpx.TransportError:
            return  # it died: that is what this is about

    asker = threading.Thread(target=make)
    asker.start()
    until(lambda: "fast" in service.pools(), "it is being made")
    time.sleep(pause_s)
    service.end(signal.SIGKILL)
    asker.join()
    service.start()
    until(lambda: service.pools()["fast"]["up"], "it is made after all")
    assert service.ask("POST", "/v1/pools", body, 200)["limit_gib"] >= 1
    service.ask("DELETE", "/v1/pools/h1@fast", status=204)
    assert (groups(), signatures(one), signatures(two)) == ({}, "", "")


def test_a_pool_whose_group_is_gone_is_down_alone(service: Service, disks: Callable[[int], list[str]]) -> None:
    one, two = disks(2)
    for name, device in (("fast", one), ("slow", two)):
        service.ask("POST", "/v1/pools", {"host": "h1", "name": name, "driver": "lvm", "devices": [device]}, 201)
    service.end()
    run("lvm", "vgremove", "-q", "brickyard-fast")
    run("lvm", "vgcreate", "-q", "brickyard-fast", one)  # the name is there, and is another group
    service.start()
    pools = until(lambda: (p := service.pools())["slow"]["up"] and p, "the other one is up")
    assert not pools["fast"]["up"]
    assert "brickyard-fast" in pools["fast"]["why_down"]
    assert "brickyard-fast" in service.cli("pool", "list")


def test_a_thick_volume_is_wiped_and_a_receipt_says_how(service: Service, disks: Callable[[int], list[str]]) -> None:
    one, two = disks(2)
    service.ask("POST", "/v1/pools", {"host": "h1", "name": "thick", "driver": "lvm", "devices": [one, two]}, 201)
    volume = service.a_volume(1, "thick")
    service.drop_volume(volume)
    [receipt] = service.ask("GET", "/v1/receipts", params={"pool": "h1@thick"})["receipts"]
    assert receipt["brick_id"] == volume
    assert receipt["method"] != "none"
    assert receipt["verified"]
    assert volume in service.cli("receipt", "list")
    assert receipt["verified"] in service.cli("receipt", "show", receipt["id"])
    pool = service.pools()["thick"]
    assert (pool["claimed_gib"], pool["wiping_gib"]) == (0, 0)
    service.ask("DELETE", "/v1/pools/h1@thick", status=204)


def test_a_mirrored_pool_is_made_and_taken_apart(service: Service, disks: Callable[[int], list[str]]) -> None:
    one, two = disks(2)
    words = ("pool", "create", "safe", "--host", "h1", "--driver", "lvm-thin", "--device", one, "--device", two)
    service.cli(*words, "--raid1")
    assert service.pools()["safe"]["up"]
    assert "another raid1" in service.cli(*words, code=1)
    service.ask("DELETE", "/v1/pools/h1@safe", status=204)
    assert (groups(), signatures(one), signatures(two)) == ({}, "", "")


def test_a_drain_without_room_is_refused_with_figures(service: Service, disks: Callable[[int], list[str]]) -> None:
    one, two = disks(2)
    service.ask("POST", "/v1/pools", {"host": "h1", "name": "thin", "driver": "lvm-thin", "devices": [one, two]}, 201)
    error = service.cli("pool", "drain", "h1@thin", "--device", one, code=1)
    assert "bytes" in error
    assert "free" in error
    service.ask("POST", "/v1/pools/h1@thin/drain", {"device": "/dev/vda"}, 400)
    service.ask("DELETE", "/v1/pools/h1@thin", status=204)
