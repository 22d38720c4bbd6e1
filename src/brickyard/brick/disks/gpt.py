"""GPT partition tables: read from either copy, and written so that a death at any moment leaves one that is whole.

A table is changed by us and not by a tool for three reasons: sgdisk sleeps and syncs every file system of the host on
each change, the tools make the kernel read the whole table again, and none of them says when the first copy and the
second are on the disk. Here the second copy is, before the first is touched. Readers take the first copy that is
whole, as the kernel does, so a change has happened at the moment when the first copy is torn or new.

Whatever we do not know in a table is kept as it is, bit by bit.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import struct
import uuid
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from brickyard.brick import direct, faults
from brickyard.core import clock, errors
from brickyard.core.sizes import MIB

BLKSSZGET = 0x1268  # <linux/fs.h>: bytes of a sector
SIGNATURE, REVISION = b"EFI PART", 0x00010000
HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
CHECKSUM_AT = 16
ENTRY = struct.Struct("<16s16sQQQ72s")
ENTRIES = 128
NAME_CHARACTERS = 36
PROTECTIVE = struct.Struct("<446xB3sB3sII48xH")  # of type 0xEE: for old tools the disk is full
LOOKS_MAX, PAUSE_S = 20, 0.01  # at a table that is written under our eyes


@dataclass(frozen=True, slots=True)
class Entry:
    type: uuid.UUID
    guid: uuid.UUID
    first: int  # sectors; the last one included
    last: int
    attributes: int
    name_bytes: bytes

    @property
    def name(self) -> str:
        return self.name_bytes.decode("utf-16-le", errors="replace").partition("\0")[0]


def entry(type: uuid.UUID, guid: uuid.UUID, first: int, last: int, name: str) -> Entry:
    """A new entry. The name is cut at 36 characters, which a uuid has exactly."""
    encoded = name[:NAME_CHARACTERS].encode("utf-16-le")
    return Entry(type, guid, first, last, 0, encoded.ljust(2 * NAME_CHARACTERS, b"\0"))


@dataclass(frozen=True, slots=True)
class Table:
    """A partition table. Figures are sectors of `sector_bytes`; entries are numbered from 1."""

    sector_bytes: int
    sectors: int  # of the whole disk
    guid: uuid.UUID
    first_usable: int
    last_usable: int
    second: int  # where the header of the second copy is
    entries: Mapping[int, Entry]
    plain: bool = True  # False for one of another shape than ours, which is read and never written

    def begin(self, number: int) -> int:
        """First byte of a partition."""
        return self.entries[number].first * self.sector_bytes

    def length(self, number: int) -> int:
        """Its bytes."""
        entry = self.entries[number]
        return (entry.last - entry.first + 1) * self.sector_bytes

    def checksum(self) -> int:
        return zlib.crc32(_array(self))

    def with_entry(self, number: int, entry: Entry | None) -> Table:
        """The table with one entry new, replaced, or (None) gone."""
        entries = {**self.entries}
        entries.pop(number, None)
        if entry is not None:
            entries[number] = entry
        return dataclasses.replace(self, entries=entries)

    def vacant(self) -> int | None:
        """The lowest number that no entry has; the last one of the table is left to others. None when it is full."""
        return next((number for number in range(1, ENTRIES) if number not in self.entries), None)

    def free(self) -> list[tuple[int, int]]:
        """The stretches that no partition has, as first byte and byte after the last, in whole MiBs."""
        taken = sorted((entry.first, entry.last + 1) for entry in self.entries.values())
        found, position = [], self.first_usable
        for first, after in (*taken, (self.last_usable + 1, self.last_usable + 1)):
            begin = -(-position * self.sector_bytes // MIB) * MIB
            end = first * self.sector_bytes // MIB * MIB
            if end > begin:
                found.append((begin, end))
            position = max(position, after)
        return found


def blank(descriptor: int) -> Table:
    """An empty table for a disk."""
    sector_bytes, sectors = _geometry(descriptor)
    reserved = 1 + ENTRIES * ENTRY.size // sector_bytes
    return Table(sector_bytes, sectors, uuid.uuid4(), 1 + reserved, sectors - 1 - reserved, sectors - 1, {})


def read(descriptor: int) -> Table | None:
    """The table of a disk that is open for direct reads; None when neither copy is whole."""
    sector_bytes, sectors = _geometry(descriptor)
    for look in range(LOOKS_MAX):
        if look:
            clock.sleep(PAUSE_S)
        for place in (1, sectors - 1):
            if (table := _parse(descriptor, sector_bytes, sectors, place)) is not None:
                return table
        first, second = (direct.read(descriptor, place * sector_bytes, sector_bytes) for place in (1, sectors - 1))
        if not first.startswith(SIGNATURE) and not second.startswith(SIGNATURE):
            return None
    return None


def check_plain(table: Table) -> None:
    """Raise BrickMismatch unless the table has the shape that we write."""
    if not table.plain:
        raise errors.BrickMismatch("the partition table has an unusual shape and is not changed: use another disk")


def write(descriptor: int, table: Table) -> None:
    """Replace both copies, the second one first; at no moment is there none that is whole."""
    check_plain(table)
    array, size = _array(table), table.sector_bytes
    length = ENTRIES * ENTRY.size // size
    with faults.step("write the second table"):
        direct.write(descriptor, (table.second - length) * size, array)
    with faults.step("write the second header"):
        direct.write(descriptor, table.second * size, _header(table, table.second, 1, table.second - length))
    with faults.step("write the first table"):
        direct.write(descriptor, 2 * size, array)
    with faults.step("write the first header"):
        direct.write(descriptor, size, _header(table, 1, table.second, 2))


def erase(descriptor: int, table: Table) -> None:
    """Remove a table, the first copy last: until then whoever looks sees whose disk it is."""
    size, length = table.sector_bytes, ENTRIES * ENTRY.size // table.sector_bytes
    with faults.step("erase the second table"):
        direct.write(descriptor, (table.second - length) * size, bytes((length + 1) * size))
    with faults.step("erase the first table"):
        direct.write(descriptor, 0, bytes((2 + length) * size))


def protect(descriptor: int, table: Table) -> None:
    """The protective record in the first sector, without which nobody looks for a GPT."""
    length = min(table.sectors - 1, 0xFFFFFFFF)
    record = PROTECTIVE.pack(0, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1, length, 0xAA55)
    with faults.step("protect"):
        direct.write(descriptor, 0, record.ljust(table.sector_bytes, b"\0"))


def is_protected(descriptor: int) -> bool:
    sector_bytes, _ = _geometry(descriptor)
    record = PROTECTIVE.unpack_from(direct.read(descriptor, 0, sector_bytes))
    return (record[2], record[-1]) == (0xEE, 0xAA55)


def _geometry(descriptor: int) -> tuple[int, int]:
    """Bytes of a sector, and the number of sectors."""
    answer = fcntl.ioctl(descriptor, BLKSSZGET, bytes(4))
    sector_bytes = int(struct.unpack("i", answer)[0])
    return sector_bytes, os.lseek(descriptor, 0, os.SEEK_END) // sector_bytes


def _parse(descriptor: int, sector_bytes: int, sectors: int, place: int) -> Table | None:
    sector = direct.read(descriptor, place * sector_bytes, sector_bytes)
    if len(sector) < HEADER.size or not sector.startswith(SIGNATURE):
        return None
    (_, revision, size, checksum, _, own, other, first, last, guid, array_at, count, entry_bytes, array_checksum) = (
        HEADER.unpack_from(sector)
    )
    if not HEADER.size <= size <= sector_bytes or own != place:
        return None
    blanked = sector[:CHECKSUM_AT] + bytes(4) + sector[CHECKSUM_AT + 4 : size]
    if zlib.crc32(blanked) != checksum or entry_bytes < ENTRY.size or not 0 < count * entry_bytes <= MIB:
        return None
    whole = -(-count * entry_bytes // sector_bytes) * sector_bytes
    array = direct.read(descriptor, array_at * sector_bytes, whole)[: count * entry_bytes]
    if zlib.crc32(array) != array_checksum:
        return None
    entries = {}
    for number in range(count):
        kind, partition, begin, end, attributes, name = ENTRY.unpack_from(array, number * entry_bytes)
        if any(kind):
            entries[number + 1] = Entry(
                uuid.UUID(bytes_le=kind), uuid.UUID(bytes_le=partition), begin, end, attributes, name
            )
    second = place if place != 1 else other
    shape = (count, entry_bytes, size, revision, min(first, array_at if place == 1 else 2))
    plain = shape == (ENTRIES, ENTRY.size, HEADER.size, REVISION, 2) and second < sectors
    return Table(sector_bytes, sectors, uuid.UUID(bytes_le=guid), first, last, second, entries, plain)


def _array(table: Table) -> bytes:
    array = bytearray(ENTRIES * ENTRY.size)
    for number, one in table.entries.items():
        ENTRY.pack_into(
            array,
            (number - 1) * ENTRY.size,
            one.type.bytes_le,
            one.guid.bytes_le,
            one.first,
            one.last,
            one.attributes,
            one.name_bytes,
        )
    return bytes(array)


def _header(table: Table, own: int, other: int, array_at: int) -> bytes:
    fields = [SIGNATURE, REVISION, HEADER.size, 0, 0, own, other, table.first_usable, table.last_usable]
    rest = [table.guid.bytes_le, array_at, ENTRIES, ENTRY.size, table.checksum()]
    header = HEADER.pack(*fields, *rest)
    checksum = struct.pack("<I", zlib.crc32(header))
    return (header[:CHECKSUM_AT] + checksum + header[CHECKSUM_AT + 4 :]).ljust(table.sector_bytes, b"\0")
