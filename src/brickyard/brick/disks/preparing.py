"""How a disk becomes one of a pool, and how it stops being one.

A prepared disk has a GPT with a label area, in whose slot 0 the pool and its driver stand. It is written before the
table, so that whoever finds the table after a death knows already whose it is.
"""

from __future__ import annotations

import uuid
from typing import Any

from brickyard.brick import blkpg, devices, direct, faults
from brickyard.brick.disks import disk as disks
from brickyard.brick.disks import gpt, slots
from brickyard.brick.disks.disk import Disk
from brickyard.brick.disks.gpt import Table
from brickyard.core import errors
from brickyard.core.bricks import Did


def facts(path: str) -> dict[str, Any] | None:
    """What a disk says of the pool that it belongs to (`pool`, `driver`); None when it is none of ours."""
    with direct.reading(devices.resolve(path)) as descriptor:
        if not _has_labels(gpt.read(descriptor)):
            return None
        return Disk(path, descriptor).facts()


def prepare(path: str, *, pool: str, driver: str, shared: bool = False) -> Did:
    """Make a disk one of a pool: one that `devices.claim` found to be free, or made so.

    With `shared` it may have a partition table of others, who keep what they have: the label area and the bricks get a
    place in what is free. DeviceInUse when it belongs to another pool, or is not empty.
    """
    real = devices.resolve(path)
    with devices.locked(real):
        with direct.reading(real) as descriptor:
            table = gpt.read(descriptor)
        if not _has_labels(table) and not (shared and table is not None):
            if found := devices.inspect(real).found:
                raise errors.DeviceInUse(f"{path} is not empty: {'; '.join(found)}; claim it first", found)
            table = None
        with direct.writing(real) as descriptor:
            if _has_labels(table):
                return _complete(Disk(real, descriptor), pool, driver)
            _label(real, descriptor, table or gpt.blank(descriptor), pool, driver)
        return Did.CHANGED


def forget(path: str, *, pool: str, driver: str) -> Did:
    """Give a disk back that holds no brick any more; it is empty afterwards, or what others had on it alone is left."""
    real = devices.resolve(path)
    with devices.locked(real), direct.writing(real) as descriptor:
        if not _has_labels(gpt.read(descriptor)):
            return Did.ALREADY
        disk = Disk(real, descriptor)
        _check_whose(disk, pool, driver)
        ours = [number for number, entry in disk.table.entries.items() if entry.type in disks.OURS]
        wiped = [brick.number for brick in disk.moved(disks.LEAVING) if brick.record and brick.record.finished_at]
        empty = {number for number in ours if disk.table.entries[number].type == disks.LABELS}.union(wiped)
        if left := [blkpg.path_of(real, number) for number in ours if number not in empty]:
            raise errors.DeviceInUse(
                f"{path} still holds bricks: {', '.join(left)}; delete them, or move them, then repeat", left
            )
        for number in ours:
            disk.hide(number)
        if len(ours) < len(disk.table.entries):
            table = disk.table
            for number in ours:
                table = table.with_entry(number, None)
            gpt.write(descriptor, table)
        else:
            gpt.erase(descriptor, disk.table)
        with faults.step("erase the labels"):
            direct.write(descriptor, disk.area, bytes(slots.AREA_BYTES))
        return Did.CHANGED


def _complete(disk: Disk, pool: str, driver: str) -> Did:
    """A death may have left one copy of the table, or no protection of it."""
    _check_whose(disk, pool, driver)
    done = gpt.is_protected(disk.descriptor)
    if not done:
        gpt.protect(disk.descriptor, disk.table)
    gpt.write(disk.descriptor, disk.table)
    _show_labels(disk)
    return Did.ALREADY if done else Did.CHANGED


def _label(path: str, descriptor: int, table: Table, pool: str, driver: str) -> None:
    places = [begin for begin, end in table.free() if end - begin >= slots.AREA_BYTES]
    number = table.vacant()
    gpt.check_plain(table)
    if not places or number is None:
        raise errors.NoSpace(f"{path} has no MiB left for labels, or no entry in its table: use another disk")
    area, size = places[0], table.sector_bytes
    with faults.step("empty the labels"):
        direct.write(descriptor, area, bytes(slots.AREA_BYTES))
    slots.write(descriptor, area, 0, {"version": 1, "pool": pool, "driver": driver})
    entry = gpt.entry(disks.LABELS, uuid.uuid4(), area // size, (area + slots.AREA_BYTES) // size - 1, "brickyard")
    gpt.write(descriptor, table.with_entry(number, entry))
    if not gpt.is_protected(descriptor):
        gpt.protect(descriptor, table)
    _show_labels(Disk(path, descriptor))


def _show_labels(disk: Disk) -> None:
    """While the kernel knows the label area nobody takes the disk for one that has no partitions."""
    for number, entry in disk.table.entries.items():
        if entry.type == disks.LABELS:
            disk.show(number)


def _has_labels(table: Table | None) -> bool:
    return table is not None and any(entry.type == disks.LABELS for entry in table.entries.values())


def _check_whose(disk: Disk, pool: str, driver: str) -> None:
    said = disk.facts()
    if (said.get("pool"), said.get("driver")) != (pool, driver):
        raise errors.DeviceInUse(
            f"{disk.path} belongs to the pool {said.get('pool')} of driver {said.get('driver')}: remove it there first",
            [f"label area of the pool {said.get('pool')}"],
        )
