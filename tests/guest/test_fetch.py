"""A volume that nobody uses comes from another host into a volume group, to the byte, and takes no room for zeros."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from tests import exporting

from brickyard.brick import content, registry
from brickyard.brick.driver import Driver
from brickyard.brick.exports import Exports
from brickyard.brick.lvm import groups
from brickyard.core.bricks import Connection, Did, Exported, Kind, Label
from brickyard.core.sizes import MIB
from brickyard.nodes.local import Backend, LocalNode

from .test_pools import run

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]
SIZE = 256 * MIB
WRITTEN = {0: os.urandom(MIB), SIZE // 2 - 4096: os.urandom(8192), SIZE - 512: os.urandom(512)}


def backend(name: str, driver: str, **options: str) -> Backend:
    return Backend(
        name=name,
        driver_name=driver,
        volume_backend_name=name,
        availability_zone="nova",
        load=lambda: registry.load(driver, options),
        options=options,
    )


def same(one: Driver, other: Driver, name: str) -> bool:
    with content.opened(one, name) as source, content.opened(other, name) as target:
        return all(source.read(at, MIB) == target.read(at, MIB) for at in range(0, SIZE, MIB))


def test_what_another_host_exports_is_fetched_into_volume_groups(
    tmp_path: Path, disks: Callable[[int], list[str]]
) -> None:
    first, second = disks(2)
    groups.create("one", [first])
    groups.create("two", [second], thin=True)
    files = registry.load("raw", {"path": str(tmp_path / "files")})
    east = LocalNode(
        host="east",
        labels={},
        vcpus=1,
        memory_mib=1,
        backends=[backend("thick", "lvm", volume_group="one"), backend("thin", "lvm-thin", volume_group="two")],
        hypervisor=None,
        make=lambda name, options: backend(name, "raw"),
    )

    def opened(backend: str, name: str) -> Connection:
        return files.open(name)

    west = Exports(tmp_path / "exports", exporting.here(0), opened)
    old = Label(Kind.VOLUME, str(uuid.uuid4()), "project", 1)
    new, client = Label(Kind.VOLUME, old.id, "project", 2), str(uuid.uuid4())
    try:
        east.start()
        files.create(old, SIZE)
        with content.opened(files, old.name, writable=True) as target:
            for at, data in WRITTEN.items():
                target.write(at, data)
            target.flush()
        export = west.make(Exported("files", old.name, client, True))
        for name in ("thick", "thin"):
            assert east.fetch_brick(name, new, SIZE, export) is Did.CHANGED
            assert east.fetch_brick(name, new, SIZE, export) is Did.ALREADY
            driver = east.backends[name].driver
            assert driver is not None
            assert same(files, driver, new.name)
        usage = driver.usage()
        assert usage.allocated_bytes < 8 * MIB, usage
        for name in ("thick", "thin"):
            east.delete_brick(name, new.name)
    finally:
        west.end("files", old.name, client)
        for group in ("one", "two"):
            run("lvm", "vgremove", "-q", "-f", "-y", group)
