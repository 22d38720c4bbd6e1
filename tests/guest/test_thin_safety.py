"""Thin pools that are promised more often than they are there, filled to the end, and brought back: the real driver,
a real pool of the kernel, a real QEMU, and what docs/howto/recover-a-full-thin-pool.md says to do."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from brickyard.hypervisor import qemu

from .test_pools import Service, run, until

pytestmark = [pytest.mark.guest, pytest.mark.timeout(1500)]
GROUP, MIB = "small", 1024 * 1024
CHUNK = 64 * 1024
POOL_MIB = 800
SNAPSHOTS = 26
V3 = {"OpenStack-API-Version": "volume 3.66"}
CONFIG = """\
[DEFAULT]
host = h1
enabled_backends = thin
report_interval = 3
quota_gigabytes = -1
[host]
hypervisor = qemu
acceleration = tcg
[thin]
volume_driver = lvm-thin
volume_group = small
thin_pool = pool
max_over_subscription_ratio = 10
metadata_percent_max = 95
"""


def make_pool(device: str, *, metadata_mib: int, mib: int = POOL_MIB) -> None:
    run("lvm", "vgcreate", "-q", GROUP, device)
    sizes = ("-L", f"{mib}m", "--poolmetadatasize", f"{metadata_mib}m", "-c", "64k")
    run("lvm", "lvcreate", "-q", "-y", "--type", "thin-pool", "-Zy", *sizes, "-n", "pool", GROUP)


def percent(figure: str = "data") -> float:
    return float(run("lvm", "lvs", "--noheadings", "-o", f"{figure}_percent", f"{GROUP}/pool"))


def write(path: str, from_mib: int, to_mib: int) -> None:
    """What a guest would write: every byte of these MiB, past all caches."""
    run("dd", "if=/dev/urandom", f"of={path}", "bs=1M", f"seek={from_mib}", f"count={to_mib - from_mib}",
        "oflag=direct", "conv=notrunc", "status=none")  # fmt: skip


class Thin(Service):
    def pool(self) -> dict[str, Any]:
        return self.pools()["thin"]

    def stage(self, wanted: str) -> dict[str, Any]:
        until(lambda: self.pool()["stage"] == wanted, f"the pool is {wanted}")
        return self.pool()

    def told(self) -> list[str]:
        found = self.ask("GET", "/v3/messages", headers=V3)["messages"]
        return [one["user_message"] for one in reversed(found)]

    def volume(self) -> tuple[str, str]:
        """Id and status of a new volume of 1 GiB, when it is made, or could not be."""
        id = self.ask("POST", "/v3/volumes", {"volume": {"size": 1}}, 202)["volume"]["id"]
        path = f"/v3/volumes/{id}"
        status = until(lambda: (s := self.ask("GET", path)["volume"]["status"]) != "creating" and s, "it is settled")
        return id, status

    def why(self, id: str) -> Any:
        """What the flow that made a volume, or could not, says of it."""
        [flow] = self.ask("GET", "/v1/flows", params={"resource_id": id})["flows"]
        return flow

    def guest(self, id: str) -> tuple[str, tuple[str, ...]]:
        """As QEMU itself says."""
        found = qemu.Qemu(self.directory / "state").list()
        return next((one.status, one.held) for one in found if one.id == id)


@pytest.fixture
def thin(tmp_path: Path, disks: Callable[[int], list[str]]) -> Iterator[tuple[Thin, list[str]]]:
    devices = disks(2)
    service = Thin(tmp_path)
    (tmp_path / "brickyard.conf").write_text(CONFIG)
    yield service, devices
    for guest in qemu.Qemu(tmp_path / "state").list():
        qemu.Qemu(tmp_path / "state").destroy(guest.id)
    service.end(signal.SIGKILL)
    run("lvm", "vgremove", "-q", "-f", "-y", GROUP)
    for device in devices:
        run("lvm", "pvremove", "-q", "-f", "-y", device)
    assert GROUP not in run("dmsetup", "ls")


@pytest.mark.thorough  # a guest inside the guest; tests/e2e/test_full_pool.py does it on files
def test_a_pool_fills_up_under_a_guest_and_goes_on_when_it_is_extended(thin: tuple[Thin, list[str]]) -> None:
    service, (one, two) = thin
    make_pool(one, metadata_mib=8)
    service.start()
    until(lambda: service.pools().get("thin", {}).get("up"), "the pool is up")
    volume, status = service.volume()
    assert status == "available", service.why(volume)
    service.ask("POST", "/v1/flavors", {"name": "small", "vcpus": 1, "memory_mib": 64}, 201)
    made = service.ask("POST", "/v1/instances", {"name": "writer", "flavor": "small", "volumes": [volume]}, 202)
    service.done(made["flow_id"])
    instance, path = made["id"], f"/dev/{GROUP}/volume-{volume}"
    assert service.guest(instance) == ("running", ())

    write(path, 0, POOL_MIB * 83 // 100)
    shown = service.stage("warn")
    assert shown["data_percent"] == pytest.approx(percent(), abs=1)  # as of its last look
    assert shown["metadata_percent"] == pytest.approx(percent("metadata"), abs=1)
    assert any("Pool h1@thin#thin is warn: 83." in line for line in service.told())
    volume, status = service.volume()
    assert status == "available", service.why(volume)

    write(path, POOL_MIB * 83 // 100, POOL_MIB * 92 // 100)
    assert "thin_freeze_percent is 90" in service.stage("frozen")["stage_reason"]
    refused, status = service.volume()
    assert status == "error"
    refusals = service.why(refused)["refusals"]
    assert any(one["rule"] == "fullness" and "thin_freeze_percent" in one["message"] for one in refusals)
    assert service.guest(instance) == ("running", ())

    write(path, POOL_MIB * 92 // 100, POOL_MIB * 96 // 100)
    service.stage("paused")
    until(lambda: service.guest(instance) == ("paused", ("pool thin",)), "QEMU is paused")
    until(lambda: service.ask("GET", f"/v1/instances/{instance}")["paused_reason"], "the service says why")
    metrics = service.http.get("/metrics").text
    assert 'brickyard_pool_stage{pool="h1@thin#thin"} 3.0' in metrics
    assert 'brickyard_pool_metadata_percent{pool="h1@thin#thin"}' in metrics
    service.end(signal.SIGKILL)
    service.start()
    service.stage("paused")
    assert service.guest(instance) == ("paused", ("pool thin",))

    # As the howto says: room for the group, and then for the pool.
    run("lvm", "vgextend", "-q", "-y", GROUP, two)
    run("lvm", "lvextend", "-q", "-L", "+800m", f"{GROUP}/pool")
    service.stage("ok")
    until(lambda: service.guest(instance) == ("running", ()), "QEMU goes on")
    until(lambda: service.ask("GET", f"/v1/instances/{instance}")["paused_reason"] is None, "the service knows")
    volume, status = service.volume()
    assert status == "available", service.why(volume)
    assert service.told()[-1].endswith("There is room again.")


def test_a_pool_grows_by_itself_before_it_is_frozen(thin: tuple[Thin, list[str]]) -> None:
    service, (one, _) = thin
    make_pool(one, metadata_mib=8, mib=400)
    options = "autoextend_percent = 50\nautoextend_threshold = 80\n"
    (service.directory / "brickyard.conf").write_text(CONFIG + options)
    service.start()
    until(lambda: service.pools().get("thin", {}).get("up"), "the pool is up")

    def knows(pool: dict[str, Any]) -> bool:  # ten times the 256 MiB that are left: not so before it has grown
        return bool(pool["limit_gib"] == 2 and pool["data_percent"] == pytest.approx(percent(), abs=1))

    run("lvm", "lvcreate", "-q", "-V", "1g", "-n", "somebody", "--thinpool", "pool", GROUP)
    write(f"/dev/{GROUP}/somebody", 0, 400 * 86 // 100)
    until(lambda: percent() < 60, "the pool has grown")
    until(lambda: knows(service.pool()), "the service knows")
    assert service.pool()["stage"] == "ok"
    assert not [line for line in service.told() if "frozen" in line or "paused" in line]
    volume, status = service.volume()
    assert status == "available", service.why(volume)


@pytest.mark.thorough
def test_full_metadata_is_repaired(thin: tuple[Thin, list[str]]) -> None:
    """Metadata of the smallest size, and snapshots of which a block is written in each leaf of the tree: each write
    costs a leaf."""
    service, (one, two) = thin
    make_pool(one, metadata_mib=2, mib=960)  # its data stay below every threshold
    run("lvm", "lvcreate", "-q", "-V", "600m", "-n", "origin", "--thinpool", "pool", GROUP)
    _touch(f"/dev/{GROUP}/origin", 600 * MIB, CHUNK)
    kept = run("sha256sum", f"/dev/{GROUP}/origin")
    # All of them first, while they cost next to nothing: LVM makes none in a pool whose metadata are full to 75 %.
    snapshots = [f"s{number}" for number in range(SNAPSHOTS)]
    for name in snapshots:
        run("lvm", "lvcreate", "-q", "-s", "-kn", "-n", name, f"{GROUP}/origin")
    service.start()
    until(lambda: service.pools().get("thin", {}).get("up"), "the pool is up")
    while percent("metadata") < 91:
        _touch(f"/dev/{GROUP}/{snapshots.pop()}", 600 * MIB, 8 * MIB)
    until(lambda: service.pool()["stage"] in ("frozen", "paused"), "the pool is frozen")
    assert "of its metadata are used" in service.pool()["stage_reason"]
    assert service.volume()[1] == "error"
    service.end()

    # To the very end: a write fails, and the kernel refuses every change from here.
    with pytest.raises(OSError):
        _touch_all(snapshots)
    health = run("dmsetup", "status", f"{GROUP}-pool-tpool")
    assert "out_of_metadata_space" in health or " ro " in health or "needs_check" in health, health

    # As the howto says. The spare area grows with the metadata, and has to: the repair of full ones does not fit into
    # as much as they had.
    run("lvm", "vgchange", "-an", GROUP)
    run("lvm", "vgextend", "-q", "-y", GROUP, two)
    run("lvm", "lvextend", "-q", "--poolmetadatasize", "+16m", f"{GROUP}/pool")
    run("lvm", "lvconvert", "-q", "-y", "--repair", f"{GROUP}/pool")
    run("lvm", "vgchange", "-ay", "-K", GROUP)
    assert "needs_check" not in run("dmsetup", "status", f"{GROUP}-pool-tpool")
    assert percent("metadata") < 75  # more than was full before: a repair writes for each snapshot what they shared
    assert run("sha256sum", f"/dev/{GROUP}/origin") == kept
    service.start()
    service.stage("ok")
    volume, status = service.volume()
    assert status == "available", service.why(volume)


def _touch_all(snapshots: list[str]) -> None:
    for name in snapshots:
        _touch(f"/dev/{GROUP}/{name}", 600 * MIB, 8 * MIB)


def _touch(path: str, size_bytes: int, stride_bytes: int) -> None:
    """Write a block every so often, so that the pool has to take one for each."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        for at in range(0, size_bytes, stride_bytes):
            os.pwrite(descriptor, f"{path} {at}".encode().ljust(4096, b"."), at)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
