"""Volumes attached to a host that is no node of ours, by NVMe over TCP: the kernel serves, and os-brick connects."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from brickyard.brick import nvmet
from brickyard.brick.lvm import groups

from .build import OS_BRICK
from .test_pools import Service, run, until

pytestmark = [pytest.mark.guest, pytest.mark.emulated]
CONFIG = """\
[DEFAULT]
host = h1
enabled_backends = group, files
[host]
hypervisor = none
export_address = 127.0.0.1
[group]
volume_driver = lvm
volume_group = one
devices = /dev/vdb, /dev/vdc
target_protocol = nvmet_tcp
[files]
volume_driver = raw
max_over_subscription_ratio = 10
target_protocol = nvmet_tcp
"""
BLOCK = b"what a host elsewhere wrote " * 1024
NQN = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555"
STRANGER = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000000"


@pytest.fixture
def service(tmp_path: Path, disks: Callable[[int], list[str]]) -> Iterator[Service]:
    run("modprobe", "--all", "configfs", "nvme-tcp")
    if not os.path.ismount(nvmet.ROOT.parent):
        run("mount", "-t", "configfs", "none", str(nvmet.ROOT.parent))
    groups.create("one", disks(2), clean=True)
    made = Service(tmp_path, CONFIG)
    made.http.headers["OpenStack-API-Version"] = "volume 3.67"
    made.start()
    yield made
    made.end()
    for path in Path("/sys/class/nvme").glob("*/delete_controller"):
        path.write_text("1")
    run("lvm", "vgremove", "-q", "-f", "one")


def volume_on(service: Service, backend: str) -> str:
    until(lambda: all(pool["up"] for pool in service.pools().values()) and len(service.pools()) == 2, "both are up")
    for name in ("group", "files"):
        service.ask("PATCH", f"/v1/pools/h1@{name}", {"enabled": name == backend})
    id = str(service.ask("POST", "/v3/volumes", {"volume": {"size": 1}}, 202)["volume"]["id"])
    until(lambda: service.ask("GET", f"/v3/volumes/{id}")["volume"]["status"] != "creating", "it is made")
    return id


def attach(service: Service, volume: str, connector: dict[str, Any]) -> dict[str, Any]:
    body = {"attachment": {"volume_uuid": volume, "connector": connector}}
    made: dict[str, Any] = service.ask("POST", "/v3/attachments", body)["attachment"]
    return made


def os_brick(*said: str) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": OS_BRICK, "OSLO_LOCK_PATH": "/run"}
    command = [sys.executable, str(Path(__file__).with_name("os_brick_client.py")), *said]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    return answer


def connect(info: dict[str, Any], nqn: str) -> Path:
    """As `nvme connect` does, but for the second after which a lost connection is made again."""
    [[address, port, transport]] = info["portals"]
    said = {"nqn": info["target_nqn"], "transport": transport, "traddr": address, "trsvcid": port, "hostnqn": nqn}
    said |= {"hostid": str(uuid.uuid4()), "reconnect_delay": "1"}
    door = os.open("/dev/nvme-fabrics", os.O_RDWR)
    try:
        os.write(door, ",".join(f"{name}={value}" for name, value in said.items()).encode())
    finally:
        os.close(door)
    return Path(until(lambda: device(info), "the device is there"))


def device(info: dict[str, Any]) -> str | None:
    for path in Path("/sys/block").glob("nvme*"):
        if (path / "uuid").read_text().strip() == info["vol_uuid"] and Path("/dev", path.name).exists():
            return f"/dev/{path.name}"  # a path of it has no node
    return None


def write(path: str | Path, content: bytes) -> None:
    run("dd", "if=/dev/zero", f"of={path}", "bs=4096", "count=16", "oflag=direct")  # whatever the cache of the path has
    with open(path, "r+b") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def read(path: str | Path) -> bytes:
    run("blockdev", "--flushbufs", str(path))
    with open(path, "rb") as file:
        return file.read(len(BLOCK))


def served() -> list[str]:
    """Whatever the kernel knows of exports."""
    return sorted(str(path) for kind in ("hosts", "ports", "subsystems") for path in (nvmet.ROOT / kind).iterdir())


@pytest.mark.thorough
def test_os_brick_connects_and_nobody_else(service: Service) -> None:
    volume, connector = volume_on(service, "group"), os_brick("connector", "n1")
    made = attach(service, volume, connector)
    info = made["connection_info"]
    found = os_brick("connect", json.dumps(info))
    write(found["path"], BLOCK)
    assert read(found["path"]) == BLOCK == read(f"/dev/one/volume-{volume}")
    with pytest.raises(OSError, match="Input/output error"):
        connect(info, STRANGER)
    os_brick("disconnect", json.dumps(info), found["path"])
    assert device(info) is None
    service.ask("DELETE", f"/v3/attachments/{made['id']}")
    assert served() == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(info["portals"][0][:2], 60)


def test_it_comes_back_with_its_host_and_stands_still_for_a_snapshot(service: Service) -> None:
    """For a client that was connected all the time, it is the same disk."""
    volume = volume_on(service, "files")
    made = attach(service, volume, {"host": "n1", "nqn": NQN})
    with pytest.raises(OSError, match="Input/output error"):
        connect(made["connection_info"], STRANGER)
    path = connect(made["connection_info"], NQN)
    write(path, BLOCK)
    before = served()
    service.end(signal.SIGKILL)
    for at in nvmet.Nvmet().found(service.directory / "state" / "exports"):
        nvmet.Nvmet().end(at)
    assert served() == []
    service.start()
    until(lambda: served() == before, "it is served again")
    assert read(path) == BLOCK
    service.ask("POST", f"/v3/attachments/{made['id']}/action", {"os-complete": None}, 204)
    body = {"snapshot": {"volume_id": volume, "force": True}}
    snapshot = service.ask("POST", "/v3/snapshots", body, 202)["snapshot"]["id"]
    until(lambda: service.ask("GET", f"/v3/snapshots/{snapshot}")["snapshot"]["status"] == "available", "it is made")
    write(path, BLOCK[::-1])
    [kept] = (service.directory / "state" / "bricks" / "files").glob(f"_snapshot-{snapshot}*")
    assert kept.read_bytes()[: len(BLOCK)] == BLOCK
    assert device(made["connection_info"]) == str(path)
    service.ask("DELETE", f"/v3/attachments/{made['id']}")
    assert served() == []


@contextlib.contextmanager
def port_of_an_administrator() -> Iterator[None]:
    """With a number that is one of ours, and to which nobody can connect yet; it is as it was when this ends."""
    run("modprobe", "--all", *nvmet.MODULES)
    own = nvmet.ROOT / "ports" / "10810"
    own.mkdir()
    try:
        for name, value in {"trtype": "tcp", "adrfam": "ipv4", "traddr": "127.0.0.1", "trsvcid": "4420"}.items():
            (own / f"addr_{name}").write_text(value)
        yield
        assert served() == [str(own)]
        assert (own / "addr_trsvcid").read_text().strip() == "4420"
    finally:
        own.rmdir()


def test_a_target_of_an_administrator_stays_as_it_is(service: Service) -> None:
    volume = volume_on(service, "files")
    with port_of_an_administrator():
        made = attach(service, volume, {"host": "n1", "nqn": NQN})
        assert made["connection_info"]["portals"] == [["127.0.0.1", "10811", "tcp"]]
        service.ask("DELETE", f"/v3/attachments/{made['id']}")
    made = attach(service, volume, {"host": "n1", "nqn": NQN})
    [at] = nvmet.Nvmet().found(service.directory / "state" / "exports")
    service.end(signal.SIGKILL)
    nvmet.Nvmet().end(at)  # as when the host was started anew, and the administrator was quicker
    with port_of_an_administrator():
        service.start()
        service.ask("DELETE", f"/v3/attachments/{made['id']}")


def test_an_end_that_died_leaves_nothing_when_it_is_repeated(service: Service) -> None:
    """Each of its steps may have been its last."""
    made = attach(service, volume_on(service, "files"), {"host": "n1", "nqn": NQN})
    exports = service.directory / "state" / "exports"
    [at] = nvmet.Nvmet().found(exports)
    service.end(signal.SIGKILL)
    subsystem = nvmet.ROOT / "subsystems" / nvmet.target(at)
    (nvmet.ROOT / "ports" / "10810" / "subsystems" / subsystem.name).unlink()
    (subsystem / "namespaces" / "1").rmdir()
    (subsystem / "allowed_hosts" / NQN).unlink()
    subsystem.rmdir()
    nvmet.Nvmet().end(at)
    assert served() == []
    service.start()
    until(served, "it is served again")
    service.ask("DELETE", f"/v3/attachments/{made['id']}")
    assert served() == []
