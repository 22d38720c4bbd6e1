"""One disk of a pool: its partition table, its label area, and what in it is ours.

Three types of partition are bricks (one for each kind; the name is the id), one is the label area, one is a stretch
that a brick is going to grow into, and two are what becomes a brick that moves, and what was one (see `moving`).
Everything else is somebody else's: it is seen and never changed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from brickyard.brick import blkpg, devices, direct
from brickyard.brick.disks import gpt, slots
from brickyard.brick.disks.gpt import Entry, Table
from brickyard.brick.disks.slots import Record
from brickyard.core import bricks, errors
from brickyard.core.bricks import Kind, Label

LABELS = uuid.UUID("a050ec8d-97ab-4f5a-974b-ffa8d8fc5fef")
SPARE = uuid.UUID("f8ec5bf8-21db-4a42-a688-c18121a59213")
ARRIVING = uuid.UUID("6f1f1a5e-2c0b-4b8e-9f6a-6d4a0a4f2b17")
LEAVING = uuid.UUID("c3f0a0d2-8a55-4d0c-b7a4-0b8e5a1f9e63")
TYPES = {
    Kind.VOLUME: uuid.UUID("6e8f7795-0574-476d-8eb0-7e98a58a3a9a"),
    Kind.SNAPSHOT: uuid.UUID("b26ff595-f061-446e-b0a8-a90cd81211e9"),
    Kind.ROOT: uuid.UUID("ac956ffa-b210-47c3-90b1-4dc0e6536354"),
    Kind.IMAGE: uuid.UUID("6a34bf2e-0136-4f91-b974-a1e5f0e21fec"),
}
KINDS = {type: kind for kind, type in TYPES.items()}
OURS = (LABELS, SPARE, ARRIVING, LEAVING, *KINDS)
Stretch = tuple[int, int]  # first byte, and the byte after the last


@dataclass(frozen=True, slots=True)
class Brick:
    """A partition that is a brick, or becomes or was one; `record` is None where nothing says whose it is."""

    disk: str
    number: int
    name: str
    begin: int
    length: int
    partition: str  # its unique GUID
    record: Record | None

    @property
    def path(self) -> str:
        return blkpg.path_of(self.disk, self.number)

    @property
    def end(self) -> int:
        return self.begin + self.length


class Disk:
    """A disk that is open, for direct reads at least; `table` is as it was read or committed last."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        table = gpt.read(descriptor)
        if table is None or not any(entry.type == LABELS for entry in table.entries.values()):
            raise errors.BrickError(
                f"{path} carries no labels of Brickyard: if it shall belong to this pool, prepare it with "
                "`brickyard pool create --device`; if it did, another disk has taken its name, see `lsblk -o +SERIAL`"
            )
        self.table = table
        self.area = min(table.begin(number) for number, entry in table.entries.items() if entry.type == LABELS)

    # what is there ------------------------------------------------------------------------------------------------

    def bricks(self) -> Iterator[Brick]:
        for number, entry in sorted(self.table.entries.items()):
            if entry.type in KINDS and (name := _name(entry)):
                yield self._brick(number, name)

    def find(self, name: str) -> Brick | None:
        """The brick of this name; reads one slot at most."""
        for number, entry in self.table.entries.items():
            if entry.type in KINDS and _name(entry) == name:
                return self._brick(number, name)
        return None

    def moved(self, type: uuid.UUID) -> list[Brick]:
        """What is ARRIVING here, or LEAVING; the names are what the records say."""
        entries = sorted(self.table.entries.items())
        found = [self._brick(number, None) for number, entry in entries if entry.type == type]
        return [brick for brick in found if brick.record is not None]

    @property
    def is_drained(self) -> bool:
        """Nothing new may lie here."""
        return bool(self.facts().get("draining"))

    def spares(self) -> list[tuple[int, str]]:
        """Number, and id of the brick that was going to grow into it."""
        return [(n, entry.name) for n, entry in sorted(self.table.entries.items()) if entry.type == SPARE]

    def strangers(self) -> list[tuple[int, Entry]]:
        """What is not ours, and what has a type of ours with a name that cannot be."""
        entries = sorted(self.table.entries.items())
        return [(n, e) for n, e in entries if e.type not in OURS or (e.type in KINDS and not _name(e))]

    def free(self) -> list[Stretch]:
        return self.table.free() if self.table.plain else []

    def _brick(self, number: int, name: str | None) -> Brick:
        """Without a name it has that of its record."""
        partition = str(self.table.entries[number].guid)
        record = slots.record(self.descriptor, self.area, number, partition) if number < slots.SLOTS else None
        if record is not None and name is not None and record.label.name != name:
            record = None
        name = name or (record.label.name if record is not None else "")
        return Brick(self.path, number, name, self.table.begin(number), self.table.length(number), partition, record)

    # what of the free space is known to read as zeros -----------------------------------------------------------------

    def clean(self) -> list[Stretch]:
        """Stretches that we have wiped and nobody has had since: it is known of this very table and of no other one,
        so a change that somebody else made to it makes all of it unknown."""
        fields = slots.read(self.descriptor, self.area, 0) or {}
        if fields.get("table") != self.table.checksum():
            return []
        try:
            return [(int(begin), int(end)) for begin, end in fields["clean"]]
        except (KeyError, TypeError, ValueError):
            return []

    def is_clean(self, begin: int, end: int) -> bool:
        return any(first <= begin and end <= after for first, after in self.clean())

    def commit(self, table: Table, clean: list[Stretch]) -> None:
        """Write the table, and before it what will be clean under it: if we die in between, nothing is."""
        fields = slots.read(self.descriptor, self.area, 0) or {}
        kept = merged(clean)[: slots.SLOTS // 2]
        slots.write(self.descriptor, self.area, 0, {**fields, "table": table.checksum(), "clean": kept})
        gpt.write(self.descriptor, table)
        self.table = table

    # changes, on a disk that `changing` opened ------------------------------------------------------------------------

    def keep(self, number: int, record: Record) -> None:
        slots.write(self.descriptor, self.area, number, slots.encode(record))

    def retype(self, number: int, type: uuid.UUID) -> None:
        """Let a partition be something else, in one change of the table."""
        entry = dataclasses.replace(self.table.entries[number], type=type)
        self.commit(self.table.with_entry(number, entry), self.clean())

    def show(self, number: int) -> None:
        """Let the kernel know the partition as the table has it."""
        blkpg.add(self.path, self.descriptor, number, self.table.begin(number), self.table.length(number))

    def hide(self, number: int) -> None:
        """Let the kernel forget the partition. DeviceInUse while anybody has it open."""
        blkpg.delete(self.path, self.descriptor, number)

    def facts(self) -> dict[str, Any]:
        """What slot 0 says of the disk."""
        return slots.read(self.descriptor, self.area, 0) or {}


@contextlib.contextmanager
def opened(path: str) -> Iterator[Disk]:
    with direct.reading(path) as descriptor:
        yield Disk(path, descriptor)


@contextlib.contextmanager
def changing(path: str) -> Iterator[Disk]:
    """The disk, locked against everybody who changes its table, until the block ends: never for long."""
    with devices.locked(path), direct.writing(path) as descriptor:
        yield Disk(path, descriptor)


def keep(brick: Brick, record: Record) -> None:
    """Write the record of one brick, whose own lock is held; the disk need not be locked for it."""
    with direct.writing(brick.disk) as descriptor:
        disk = Disk(brick.disk, descriptor)
        if str(disk.table.entries[brick.number].guid) != brick.partition:
            raise errors.BrickMismatch(f"{brick.path} is another partition now: look at the disk, then repeat")
        disk.keep(brick.number, record)


def record_of(brick: Brick) -> Record:
    """What says whose a brick is; BrickMismatch where nothing does."""
    if brick.record is None:
        raise errors.BrickMismatch(
            f"{brick.name} on {brick.disk} has no label: nothing says whose it is; adopt it, or delete the partition "
            f"{brick.path} by hand"
        )
    return brick.record


def entry_of(label: Label, begin: int, length: int, sector_bytes: int, guid: uuid.UUID) -> Entry:
    """The entry of a brick with this label: from the byte `begin` on so many bytes."""
    first = begin // sector_bytes
    return gpt.entry(TYPES[label.kind], guid, first, first + length // sector_bytes - 1, label.id)


def without(stretches: list[Stretch], begin: int, end: int) -> list[Stretch]:
    """The stretches less what lies between two bytes."""
    left = []
    for first, after in stretches:
        left += [(first, min(after, begin)), (max(first, end), after)]
    return [(first, after) for first, after in left if first < after]


def merged(stretches: list[Stretch]) -> list[Stretch]:
    """The same, the longest first, where neighbours are one."""
    joined: list[Stretch] = []
    for first, after in sorted(stretches):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(after, joined[-1][1]))
        else:
            joined.append((first, after))
    return sorted(joined, key=lambda stretch: stretch[0] - stretch[1])


def _name(entry: Entry) -> str | None:
    """The name of the brick that a partition of our types is."""
    name = bricks.PREFIX[KINDS[entry.type]] + entry.name
    return name if bricks.parse(name) else None
