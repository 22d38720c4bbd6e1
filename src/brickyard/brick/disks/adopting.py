"""Partitions of a pool that have no owner, somebody else's or bricks whose slot says nothing: they may become ours."""

from __future__ import annotations

import dataclasses
import re

from brickyard.brick import blkpg
from brickyard.brick.disks import disk as disks
from brickyard.brick.disks import slots
from brickyard.brick.disks.disk import Brick, Disk
from brickyard.brick.disks.pool import Pool
from brickyard.brick.disks.slots import Record, State
from brickyard.brick.guard import FOREIGN_NAME
from brickyard.core import bricks, errors
from brickyard.core.bricks import Found, Label


def listed(disk: Disk) -> list[Found]:
    """What on a disk is not ours, by the name in the table or, where that is none to go by, that of its node."""
    found = []
    for number, entry in disk.strangers():
        name = entry.name if FOREIGN_NAME.fullmatch(entry.name) else node(disk, number)
        length = disk.table.length(number)
        found.append(Found(name, length, length, None))
    return found


def strangers(pool: Pool, name: str) -> list[tuple[str, int]]:
    """Disk and number of everything without an owner that is called so: by the name in the table, by the name of a
    brick whose slot says nothing, or by that of its node in /dev."""
    found = []
    for disk in pool.opened():
        for number, entry in disk.strangers():
            if name in (entry.name, node(disk, number)):
                found.append((disk.path, number))
        brick = disk.find(name) if bricks.parse(name) else None
        if brick is not None and brick.record is None:
            found.append((disk.path, brick.number))
    return found


def adopt(pool: Pool, name: str, label: Label) -> None:
    """Give what is called `name` our type and this label. DeviceInUse while it is mounted or open."""
    path, number = _adoptable(pool, name)
    with disks.changing(path) as disk:
        old = disk.table.entries[number]
        if number >= slots.SLOTS:
            raise errors.Invalid(
                f"{node(disk, number)} is the last entry of its table and has no slot: copy it instead"
            )
        if number in blkpg.known(path):
            disk.hide(number)
        # The record first: until the table has our type and the name, it speaks of nothing.
        disk.keep(number, Record(str(old.guid), label, disk.table.length(number), "adopted", State.THERE))
        begin, length = disk.table.begin(number), disk.table.length(number)
        new = disks.entry_of(label, begin, length, disk.table.sector_bytes, old.guid)
        table = disk.table.with_entry(number, dataclasses.replace(new, attributes=old.attributes))
        disk.commit(table, disk.clean())
        disk.show(number)


def disown(brick: Brick) -> None:
    """Let the slot of a brick say nothing. The partition stays, with its type and its name."""
    with disks.changing(brick.disk) as disk:
        if str(disk.table.entries[brick.number].guid) != brick.partition:
            raise errors.BrickMismatch(f"{brick.path} is another partition now: look at the disk, then repeat")
        slots.write(disk.descriptor, disk.area, brick.number, {})


def node(disk: Disk, number: int) -> str:
    """The name of a partition in /dev."""
    return re.sub(r"^/dev/", "", blkpg.path_of(disk.path, number)).replace("/", "!")


def _adoptable(pool: Pool, name: str) -> tuple[str, int]:
    found = strangers(pool, name)
    if len(found) == 1:
        return found[0]
    if found:
        nodes = ", ".join(blkpg.path_of(disk, number) for disk, number in found)
        raise errors.BrickMismatch(f"{name} is the name of several partitions: name one of {nodes} without /dev/")
    if bricks.parse(name) and pool.find(name) is not None:
        raise errors.BrickMismatch(f"{name} has a label already: it belongs to somebody")
    raise errors.NotFound(f"there is no partition {name} on the disks of this pool")
