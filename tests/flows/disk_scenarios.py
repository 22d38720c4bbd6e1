"""Scenarios of pools that are made of disks: on loop devices, with partitions, which needs root and nothing else."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.flows.scenarios import ME, Scenario

from brickyard.brick import devices
from brickyard.core import errors
from brickyard.db import flows, hosts
from brickyard.flows import grow_pool
from brickyard.service import new_pools, pool_devices, pools, work
from brickyard.service.site import Site

DISK_BYTES = 64 * 1024 * 1024
FIRST = 4000  # of the numbers of our loop devices
LOOP_CTL_REMOVE = 0x4C81  # <linux/loop.h>
Facts = dict[str, Any]


def attach(file: Path) -> str:
    """A loop device of a number of its own, far from those that a program gets which asks for any free one: such a
    program opens it for a moment before it sees that somebody else was faster."""
    for number in range(FIRST + os.getpid() % 500, FIRST + 1000):
        path = f"/dev/loop{number}"
        if not os.path.exists(path):
            subprocess.run(["losetup", path, str(file)], check=True, capture_output=True)
            return path
    raise AssertionError("no loop device is free")


def detach(directory: Path) -> None:
    """End the loop devices that a scenario made of files in this directory, and their partitions with them."""
    for file in directory.glob("disk*.img"):
        listed = ["losetup", "-j", str(file), "-n", "-O", "NAME"]
        for loop in subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split():
            subprocess.run(["losetup", "-d", loop], check=True, capture_output=True)
            _forget(int(loop.removeprefix("/dev/loop")))
        file.unlink()


def _forget(number: int) -> None:
    """Remove a loop device; whoever lists the disks of this machine has it open for a moment, and is waited for."""
    with open("/dev/loop-control", "rb") as control:
        for last in [False] * 1000 + [True]:
            try:
                fcntl.ioctl(control, LOOP_CTL_REMOVE, number)
                return
            except OSError as error:
                if error.errno != errno.EBUSY or last:
                    raise
            time.sleep(0.02)


def with_disks(site: Site) -> Facts:
    if os.geteuid() != 0:
        pytest.skip("disks need root")
    found = []
    for number in range(3):
        file = site.world.images.parent / f"disk{number}.img"
        with open(file, "wb") as disk:
            disk.truncate(DISK_BYTES)
        found.append(attach(file))
    return {"disks": found}


def with_pool(site: Site) -> Facts:
    facts = with_disks(site)
    pools.create(site, ME, wanted(facts))
    assert members(site) == facts["disks"][:2]
    return facts


def quietly(call: Callable[..., object], *arguments: Any) -> None:
    """The caller hears of the failure; what matters here is the world."""
    with contextlib.suppress(errors.BrickyardError):
        call(*arguments)


def wanted(facts: Facts) -> new_pools.NewPool:
    return new_pools.NewPool(host="h1", name="disks", driver="partition", devices=tuple(facts["disks"][:2]))


def make(site: Site, facts: Facts) -> None:
    quietly(pools.create, site, ME, wanted(facts))


def extend(site: Site, facts: Facts) -> None:
    quietly(pool_devices.extend, site, ME, "h1@disks", facts["disks"][2], ())


def grow(site: Site, facts: Facts) -> None:
    """As after a device was added to a thin pool; on partitions there is nothing to do."""
    params = grow_pool.params(host="h1", backend="disks", device=facts["disks"][1])
    with site.db.begin() as tx:
        pool = hosts.require_pool(tx, "h1@disks")
        facts["flow"] = work.queue(site, ME, tx, "grow_pool", params, resource_id=pool.id, project_id=ME.project_id)


def drain(site: Site, facts: Facts) -> None:
    facts["flow"] = pool_devices.drain(site, ME, "h1@disks", facts["disks"][1])


def remove(site: Site, facts: Facts) -> None:
    quietly(pool_devices.remove, site, ME, "h1@disks", facts["disks"][1])


def destroy(site: Site, facts: Facts) -> None:
    quietly(pools.delete, site, ME, "h1@disks")


def members(site: Site) -> list[str]:
    """The devices of the pool, as its row and its host agree; none if neither knows it."""
    with site.db.read() as tx:
        row = hosts.find_backend(tx, "h1@disks")
    served = site.world.nodes["h1"].report().backends
    told = [backend for backend in served if backend.name == "disks"]
    assert (row is not None) == bool(told)
    if row is None:
        return []
    assert row.up
    assert told[0].up, told[0].why_down
    assert told[0].options["devices"] == ",".join(row.place["devices"])
    return list(row.place["devices"])


def has(*numbers: int) -> Callable[[Site, Facts], None]:
    """The pool has these of the three disks, and the others are blank."""

    def check(site: Site, facts: Facts) -> None:
        assert sorted(members(site)) == sorted(facts["disks"][number] for number in numbers)
        for number in {0, 1, 2} - set(numbers):
            assert devices.inspect(facts["disks"][number]).found == ()

    return check


def over(status: str) -> Callable[[Site, Facts], None]:
    def check(site: Site, facts: Facts) -> None:
        with site.db.read() as tx:
            assert flows.find(tx, facts["flow"]).status == status
        has(0, 1)(site, facts)

    return check


def not_destroyed(site: Site, facts: Facts) -> None:
    """It is there again and says why; deleting it again goes on."""
    with site.db.read() as tx:
        row = hosts.require_pool(tx, "h1@disks")
    assert not row.up
    assert "broken on purpose" in row.why_down
    destroy(site, facts)
    has()(site, facts)


SCENARIOS = (
    Scenario("make_pool", with_disks, make, has(0, 1), has()),
    Scenario("extend_pool", with_pool, extend, has(0, 1, 2), has(0, 1)),
    Scenario("grow_pool", with_pool, grow, over("done"), over("failed")),
    Scenario("drain_device", with_pool, drain, over("done"), over("failed")),
    Scenario("remove_device", with_pool, remove, has(0), has(0, 1)),
    Scenario("destroy_pool", with_pool, destroy, has(), not_destroyed),
)
