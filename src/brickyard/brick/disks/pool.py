"""The disks of one pool together: where a brick is, where one fits, and how it gets and gives back its place.

With `whole` each disk holds one brick at most, and the smallest disk that is large enough takes it. Otherwise bricks
are partitions beside each other. The smallest free stretch takes one that has no brick before it, and so leaves the new
one room to grow; where there is none a brick is put at the end of a stretch, to leave its room to the one before it.
Either way what stays free stays in one piece.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator, Sequence

from brickyard.brick import devices
from brickyard.brick.disks import disk as disks
from brickyard.brick.disks import gpt
from brickyard.brick.disks.disk import Brick, Disk, Stretch
from brickyard.brick.disks.slots import Record, State
from brickyard.core import errors
from brickyard.core.bricks import Label
from brickyard.core.sizes import MIB

TRIES = 16  # of an allocation, while others take the place that was seen


class Pool:
    def __init__(self, paths: Sequence[str], *, whole: bool) -> None:
        self.paths = tuple(paths)
        self.whole = whole

    def check(self) -> None:
        """Raise, saying what to do, unless every disk is there and carries our labels."""
        present, missing = self._present()
        if missing:
            raise errors.BrickError(f"of this pool {', '.join(missing)} is missing: connect it, or remove it")
        for path in present:
            with disks.opened(path):
                pass

    def opened(self) -> Iterator[Disk]:
        """Every disk in turn. BrickError when one is missing: without it nobody knows what the pool holds."""
        present, missing = self._present()
        if missing:
            raise errors.BrickError(f"of this pool {', '.join(missing)} is missing: connect it, or remove it")
        for path in present:
            with disks.opened(path) as disk:
                yield disk

    def find(self, name: str) -> Brick | None:
        """The brick of this name. BrickError when it is not on the disks that are there, and one is missing."""
        present, missing = self._present()
        found, arrived, left = [], [], set()
        for path in present:
            with disks.opened(path) as disk:
                if (brick := disk.find(name)) is not None:
                    found.append(brick)
                arrived += [brick for brick in disk.moved(disks.ARRIVING) if brick.name == name]
                left |= {brick.record.moving for brick in disk.moved(disks.LEAVING) if brick.record}
        found = found or [brick for brick in arrived if brick.partition in left]
        if len(found) > 1:
            places = ", ".join(brick.path for brick in found)
            raise errors.BrickMismatch(f"{name} is there twice, as {places}: take the disk away that is the copy")
        if not found and missing:
            raise errors.BrickError(f"{name} may be on {', '.join(missing)}, which is missing: connect it, then repeat")
        return found[0] if found else None

    def capacity(self, disk: Disk) -> list[Stretch]:
        """Where on a disk a brick could be put now."""
        free = disk.free() if not disk.is_drained else []
        if self.whole:
            alone = all(entry.type == disks.LABELS for entry in disk.table.entries.values())
            return [max(free, key=_length)] if alone and free else []
        return free if disk.table.vacant() is not None else []

    def arriving(self) -> list[Brick]:
        """What may become a brick, or has, on the disks that are there."""
        found = []
        for path in self._present()[0]:
            with disks.opened(path) as disk:
                found += disk.moved(disks.ARRIVING)
        return found

    def arrived(self) -> list[Brick]:
        """The bricks that have moved and whose partition does not say so yet, because somebody died in between."""
        arrived, left = [], set()
        for disk in self.opened():
            arrived += disk.moved(disks.ARRIVING)
            left |= {brick.record.moving for brick in disk.moved(disks.LEAVING) if brick.record}
        return [brick for brick in arrived if brick.partition in left]

    def allocate(
        self, label: Label, size_bytes: int, source: str, *, moving: Brick | None = None
    ) -> tuple[Brick, bool]:
        """A partition for a brick in the making, and whether it is known to read as zeros. NoSpace with figures.

        With `moving` it is for that brick to arrive at, on another disk with sectors of the same size.
        """
        length = -(-size_bytes // MIB) * MIB
        record = Record("", label, size_bytes, source, State.MAKING)
        if moving is not None and moving.record is not None:
            record = dataclasses.replace(moving.record, state=State.MAKING, moving="", position=0)
        type = disks.TYPES[label.kind] if moving is None else disks.ARRIVING
        for attempt in range(TRIES):
            seen = [(*_rank(disk, one), disk.path) for disk in self.fitting(moving) for one in self.capacity(disk)]
            fits = [rank for rank in seen if rank[1] >= length]
            if not fits:
                largest = max((rank[1] for rank in seen), default=0)
                unit = "disk" if self.whole else "stretch"
                raise errors.NoSpace(
                    f"{length} bytes do not fit: the largest free {unit} of the pool has {largest}; delete something "
                    "or add a disk"
                )
            follows, _, path = min(fits)
            with disks.changing(path) as disk:
                stretches = [stretch for stretch in self.capacity(disk) if _length(stretch) >= length]
                best = min((_rank(disk, stretch) for stretch in stretches), default=None)
                # Another verb may have been quicker; then there may be a better place on another disk.
                if best is not None and (best[0] == follows or attempt == TRIES - 1):
                    first, after = min(stretches, key=lambda stretch: _rank(disk, stretch))
                    begin = after - length if _follows(disk, first) else first
                    return _take(disk, type, record, begin, length)
        raise errors.LostRace("others took the free space of the pool each time: repeat the request")

    def fitting(self, moving: Brick | None) -> Iterator[Disk]:
        """The disks that a new brick may lie on; of one that moves, those of another name with sectors of its size."""
        size = 0
        if moving is not None:
            with disks.opened(moving.disk) as disk:
                size = disk.table.sector_bytes
        for disk in self.opened():
            if moving is None or (disk.path != moving.disk and disk.table.sector_bytes == size):
                yield disk

    def release(self, brick: Brick, *, clean: bool) -> None:
        """Give the place of a brick back; `clean` says that it reads as zeros."""
        with disks.changing(brick.disk) as disk:
            same(disk, brick)
            disk.hide(brick.number)
            stretches = disk.clean()
            if clean:
                stretches.append((brick.begin, brick.end))
            disk.commit(disk.table.with_entry(brick.number, None), stretches)

    def show(self, brick: Brick) -> None:
        """Make sure that the kernel knows the partition as it is."""
        with disks.changing(brick.disk) as disk:
            same(disk, brick)
            disk.show(brick.number)

    def begin_alone(self, brick: Brick, record: Record) -> Brick:
        """Write a record at a moment when nobody has the brick open; DeviceInUse otherwise."""
        with disks.changing(brick.disk) as disk:
            same(disk, brick)
            disk.hide(brick.number)
            disk.keep(brick.number, record)
            disk.show(brick.number)
        return dataclasses.replace(brick, record=record)

    # growing --------------------------------------------------------------------------------------------------------

    def take_behind(self, brick: Brick, length: int) -> tuple[str, bool]:
        """Reserve what a brick is going to grow into, up to `length` in all: the path of that stretch, and whether it
        is known to read as zeros. The brick itself becomes larger only when it does."""
        with disks.changing(brick.disk) as disk:
            same(disk, brick)
            end = brick.begin + length
            room = [after for first, after in disk.free() if brick.end <= first < brick.end + MIB]
            if not room or room[0] < end:
                behind = room[0] - brick.end if room else 0
                raise errors.NoSpace(
                    f"{brick.name} needs {length - brick.length} bytes more and only {behind} are free behind it on "
                    f"{brick.disk}: clone it into a larger one, or delete what follows it"
                )
            clean, number = disk.is_clean(brick.end, end), _vacant(disk)
            size = disk.table.sector_bytes
            id = brick.name[-36:]
            entry = gpt.entry(disks.SPARE, uuid.uuid4(), brick.end // size, end // size - 1, id)
            disk.commit(disk.table.with_entry(number, entry), disks.without(disk.clean(), brick.end, end))
            disk.show(number)
            return Brick(brick.disk, number, "", brick.end, end - brick.end, "", None).path, clean

    def join(self, brick: Brick, length: int) -> Brick:
        """The reserved stretch becomes part of the brick, in one change of the table."""
        with disks.changing(brick.disk) as disk:
            same(disk, brick)
            old = disk.table.entries[brick.number]
            last = (brick.begin + length) // disk.table.sector_bytes - 1
            table = disk.table.with_entry(brick.number, dataclasses.replace(old, last=last))
            for number, id in disk.spares():
                if id == brick.name[-36:]:
                    disk.hide(number)
                    table = table.with_entry(number, None)
            disk.commit(table, disks.without(disk.clean(), brick.begin, brick.begin + length))
            disk.show(brick.number)
        return dataclasses.replace(brick, length=length)

    def drop_spares(self, name: str) -> bool:
        """Give back what a grow of this brick reserved before it died. Nothing of anybody was ever written there."""
        dropped = False
        for path in self._present()[0]:
            with disks.opened(path) as seen:
                mine = [number for number, id in seen.spares() if id == name[-36:]]
            if mine:
                with disks.changing(path) as disk:
                    table = disk.table
                    for number, id in disk.spares():
                        if id == name[-36:]:
                            disk.hide(number)
                            table, dropped = table.with_entry(number, None), True
                    disk.commit(table, disk.clean())
        return dropped

    # inside ---------------------------------------------------------------------------------------------------------

    def _present(self) -> tuple[list[str], list[str]]:
        """The kernel's paths of the disks, each once, and the names of those that are not there."""
        present: list[str] = []
        missing = []
        for path in self.paths:
            try:
                real = devices.resolve(path)
            except (errors.NotFound, errors.Invalid):
                missing.append(path)
                continue
            if real not in present:
                present.append(real)
        return present, missing


def _take(disk: Disk, type: uuid.UUID, record: Record, begin: int, length: int) -> tuple[Brick, bool]:
    """The slot first: until the table has the partition, the record speaks of nothing."""
    clean, number, guid = disk.is_clean(begin, begin + length), _vacant(disk), uuid.uuid4()
    record = dataclasses.replace(record, partition=str(guid))
    disk.keep(number, record)
    entry = disks.entry_of(record.label, begin, length, disk.table.sector_bytes, guid)
    entry = dataclasses.replace(entry, type=type)
    disk.commit(disk.table.with_entry(number, entry), disks.without(disk.clean(), begin, begin + length))
    disk.show(number)
    return Brick(disk.path, number, record.label.name, begin, length, str(guid), record), clean


def _vacant(disk: Disk) -> int:
    number = disk.table.vacant()
    if number is None:
        raise errors.NoSpace(f"the partition table of {disk.path} is full: delete something, or add a disk to the pool")
    return number


def same(disk: Disk, brick: Brick) -> None:
    """BrickMismatch unless the brick is where it was seen."""
    entry = disk.table.entries.get(brick.number)
    if entry is None or str(entry.guid) != brick.partition or disk.table.begin(brick.number) != brick.begin:
        raise errors.BrickMismatch(f"{brick.path} is another partition now: look at the disk, then repeat")


def _rank(disk: Disk, stretch: Stretch) -> tuple[bool, int]:
    """The least is taken first."""
    return _follows(disk, stretch[0]), _length(stretch)


def _follows(disk: Disk, begin: int) -> bool:
    """Whether a brick of ours ends where this stretch begins."""
    size = disk.table.sector_bytes
    ends = [(entry.last + 1) * size for entry in disk.table.entries.values() if entry.type in disks.KINDS]
    return any(begin - MIB < end <= begin for end in ends)


def _length(stretch: Stretch) -> int:
    return stretch[1] - stretch[0]
