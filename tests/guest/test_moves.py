"""A volume moves from one volume group to another, thick and thin, and to files."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from brickyard.brick.lvm import groups

from .test_pools import Service, run, until

pytestmark = [pytest.mark.guest, pytest.mark.thorough, pytest.mark.timeout(900)]
BLOCK = b"what a guest wrote " * 4096
GIB = 1024**3
CONFIG = """\
[DEFAULT]
host = h1
quota_gigabytes = -1
quota_volumes = -1
enabled_backends = thick, thin, other, files
[host]
hypervisor = none
[thick]
volume_driver = lvm
volume_group = one
[thin]
volume_driver = lvm-thin
volume_group = one
max_over_subscription_ratio = 10
[other]
volume_driver = lvm-thin
volume_group = two
max_over_subscription_ratio = 10
[files]
volume_driver = raw
max_over_subscription_ratio = 10
"""


def test_a_volume_moves_between_volume_groups_and_files(tmp_path: Path, disks: Callable[[int], list[str]]) -> None:
    first, second, third = disks(3)
    groups.create("one", [first, second], clean=True)
    run("lvm", "lvcreate", "-q", "-L", "300M", "-T", "one/one-pool")
    groups.create("two", [third], thin=True)
    service = Service(tmp_path, CONFIG)
    service.start()
    try:
        until(lambda: all(pool["up"] for pool in service.pools().values()) and len(service.pools()) == 4, "all are up")
        for backend in ("thin", "other", "files"):
            service.ask("PATCH", f"/v1/pools/h1@{backend}", {"enabled": False})
        id = service.ask("POST", "/v3/volumes", {"volume": {"size": 1}}, 202)["volume"]["id"]
        until(lambda: service.ask("GET", f"/v3/volumes/{id}")["volume"]["status"] == "available", "it is made")
        for backend in ("thin", "other", "files"):
            service.ask("PATCH", f"/v1/pools/h1@{backend}", {"enabled": True})
        run("lvm", "lvchange", "-ay", "-K", f"one/volume-{id}")
        with open(f"/dev/one/volume-{id}", "r+b") as device:
            device.seek(GIB - len(BLOCK))
            device.write(BLOCK)
        run("lvm", "lvchange", "-an", f"one/volume-{id}")

        def migrate(backend: str, status: int = 202) -> Any:
            body = {"os-migrate_volume": {"host": f"h1@{backend}#{backend}"}}
            return service.ask("POST", f"/v3/volumes/{id}/action", body, status)

        assert "one volume group" in str(migrate("thin", 400))
        for backend in ("other", "files", "thin"):
            migrate(backend)
            shown: dict[str, Any] = until(
                lambda: (v := service.ask("GET", f"/v3/volumes/{id}")["volume"])["status"] == "available" and v,
                "it is moved",
            )
            found = (shown["migration_status"], shown["os-vol-host-attr:host"])
            assert found == ("success", f"h1@{backend}#{backend}"), service.ask("GET", "/v1/flows")
            until(lambda: not work(service), "the old copy is gone")
        assert volumes("one") == {"one-pool", f"volume-{id}"}
        assert volumes("two") == {"two-pool"}
        assert not list((tmp_path / "state").glob(f"bricks/**/volume-{id}"))
        run("lvm", "lvchange", "-ay", "-K", f"one/volume-{id}")
        with open(f"/dev/one/volume-{id}", "rb") as device:
            device.seek(GIB - len(BLOCK))
            assert device.read() == BLOCK
        run("lvm", "lvchange", "-an", f"one/volume-{id}")
        receipts = service.ask("GET", "/v1/receipts")["receipts"]
        assert [receipt["method"] == "none" for receipt in receipts if "thick" in receipt["pool"]] == [False]
        service.drop_volume(id)
        assert volumes("one") == {"one-pool"}
    finally:
        service.end(signal.SIGKILL)
        for group in ("one", "two"):
            run("lvm", "vgremove", "-q", "-f", "-y", group)
    assert run("dmsetup", "ls") == "No devices found"


def work(service: Service) -> list[Any]:
    return [flow for flow in service.ask("GET", "/v1/flows")["flows"] if flow["status"] in ("running", "unwinding")]


def volumes(group: str) -> set[str]:
    return set(run("lvm", "lvs", "--noheadings", "-o", "lv_name", group).split())
