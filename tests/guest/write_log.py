"""The log that the kernel's dm-log-writes keeps of every write to a disk, and how a disk looked at any moment of it.

The form is in Documentation/admin-guide/device-mapper/log-writes.rst: a super block, then entries of one sector each,
an entry's data behind it. What matters here is the order. A write is logged when the next flush has ended, before that
flush, and only if it had ended when the flush began; a FUA write is logged as it ends. So all that stands before a
flush or a FUA write was safe when that ended, and the plain writes between two of them were in the disk's cache: after
a power cut some of them are there and some are not.
"""

from __future__ import annotations

import enum
import os
import random
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

MAGIC = 0x6A736677736872
VERSION = 1
SUPER = struct.Struct("<QQQI")  # magic, version, entries, bytes of a sector
ENTRY = struct.Struct("<QQQQ")  # sector, sectors, flags, bytes of data behind a mark
PIECE_BYTES = 4 * 1024 * 1024
TORN_BYTES = 512  # what a disk writes wholly or not at all
ZEROS = bytes(TORN_BYTES)


class Flag(enum.IntFlag):
    FLUSH = 1
    FUA = 2
    DISCARD = 4
    MARK = 8
    METADATA = 16


@dataclass(frozen=True, slots=True)
class Entry:
    """One write, discard, flush or mark. `begin` and `length` are bytes of the disk, `at` is where the data lies in
    the log."""

    begin: int
    length: int
    flags: Flag
    at: int
    mark: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether a power cut may lose it although it has ended."""
        return not self.flags & (Flag.FLUSH | Flag.FUA | Flag.MARK)


class NoLog(Exception):
    """It is no log of dm-log-writes, or one that is cut off."""


class Log:
    """A log that is complete: its dm device is gone."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.entries = self._read(path)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        os.close(self._descriptor)

    def _read(self, path: str) -> list[Entry]:
        magic, version, number, sector_bytes = SUPER.unpack(os.pread(self._descriptor, SUPER.size, 0))
        if (magic, version) != (MAGIC, VERSION):
            raise NoLog(f"{path}: magic {magic:x}, version {version}")
        found, at = [], sector_bytes
        for _ in range(number):
            head = os.pread(self._descriptor, sector_bytes, at)
            if len(head) < sector_bytes:
                raise NoLog(f"{path} ends after {len(found)} of {number} entries")
            sector, sectors, flags, data_bytes = ENTRY.unpack_from(head)
            mark = head[ENTRY.size : ENTRY.size + data_bytes].rstrip(b"\0").decode() if flags & Flag.MARK else ""
            at += sector_bytes
            found.append(Entry(sector * sector_bytes, sectors * sector_bytes, Flag(flags), at, mark))
            if not flags & Flag.DISCARD:
                at += sectors * sector_bytes
        return found

    def marked(self, mark: str) -> int:
        """The number of entries up to this mark, itself included."""
        return next(n for n, entry in enumerate(self.entries, 1) if entry.mark == mark)

    def replay(self, entry: Entry, disk: int) -> None:
        """Do to the open `disk` what the entry says. A discard makes zeros."""
        for begin, length in _pieces(entry.length):
            if entry.flags & Flag.DISCARD:
                content = bytes(length)
            else:
                content = os.pread(self._descriptor, length, entry.at + begin)
                if len(content) < length:
                    raise NoLog(f"the data of {entry} is cut off")
            os.pwrite(disk, content, entry.begin + begin)

    def replay_torn(self, entry: Entry, disk: int, crash: Crash) -> None:
        """Only some sectors of it, as when the power goes in the middle: always the same ones for the same crash."""
        for begin, content in self.sectors(entry, crash):
            os.pwrite(disk, content, begin)

    def sectors(self, entry: Entry, torn_by: Crash | None = None) -> Iterator[tuple[int, bytes]]:
        """Where each sector that the entry writes lies on the disk, and its content; of one that is torn, some."""
        chance = random.Random(str(torn_by)) if torn_by else None
        for piece, length in _pieces(entry.length):
            content = bytes(length)
            if not entry.flags & Flag.DISCARD:
                content = os.pread(self._descriptor, length, entry.at + piece)
            for begin in range(0, length, TORN_BYTES):
                if chance is None or chance.random() < 0.5:
                    yield entry.begin + piece + begin, content[begin : begin + TORN_BYTES]


def _pieces(length: int) -> Iterator[tuple[int, int]]:
    return ((begin, min(PIECE_BYTES, length - begin)) for begin in range(0, length, PIECE_BYTES))


@dataclass(frozen=True, slots=True)
class Crash:
    """The disk after a power cut: the first `safe` entries, those of `kept` (numbers of entries that were in the
    cache), and a part of those of `torn`. It is `sampled` where chance has said what was kept of the cache."""

    safe: int
    kept: tuple[int, ...] = ()
    torn: tuple[int, ...] = ()
    sampled: bool = False

    def __str__(self) -> str:
        shown = [f"with {_short(self.kept)}"] if self.kept else []
        shown += [f"with parts of {_short(self.torn)}"] if self.torn else []
        return ", ".join([f"after {self.safe} entries", *shown])


class Fingerprint:
    """The content of a disk as one number, followed from write to write: the same for the same content. The disk was
    zeros before the log began."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._sectors: dict[int, int] = {}
        self._done = self._value = 0

    def after(self, crash: Crash) -> int:
        """Of the disk as `Replay.crashed` makes it. Only forward: `crash.safe` never falls."""
        assert crash.safe >= self._done
        for entry in self._log.entries[self._done : crash.safe]:
            self._value = _written(self._log.sectors(entry), self._value, self._sectors, self._sectors)
        self._done = crash.safe
        value, above = self._value, dict[int, int]()
        for number in sorted((*crash.kept, *crash.torn)):
            torn_by = crash if number in crash.torn else None
            written = self._log.sectors(self._log.entries[number], torn_by)
            value = _written(written, value, above, self._sectors)
        return value


def _written(sectors: Iterator[tuple[int, bytes]], value: int, above: dict[int, int], base: dict[int, int]) -> int:
    for begin, content in sectors:
        now = hash((begin, content)) if content != ZEROS else 0
        before = above[begin] if begin in above else base.get(begin, 0)
        above[begin] = now
        value ^= before ^ now
    return value


def _short(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) if len(numbers) < 9 else f"{len(numbers)} of {numbers[0]}-{numbers[-1]}"


def crashes(
    entries: Sequence[Entry],
    begin: int,
    end: int,
    chance: random.Random,
    *,
    samples: int,
    is_ordered: Callable[[Entry], bool] = lambda entry: False,
) -> list[Crash]:
    """How a disk may look after a power cut between entry `begin` and entry `end` (numbers of entries before it).

    One state for every moment at which something became safe, and `samples` for every set of writes in the cache: the
    first with all of them, the others with some, of which one may be torn. Of the writes that are ordered none is kept
    without those before it.
    """
    found, at = [Crash(begin)], begin
    while at < end:
        group = _cached(entries, at)
        found += _states(entries, at, group, chance, samples, is_ordered)
        at = max(at + 1, group.stop)
        if not entries[at - 1].is_plain and not entries[at - 1].flags & Flag.MARK:
            found.append(Crash(at))
    # What had ended by `end` and was not safe stands behind it in the log.
    found.append(Crash(end))
    found += _states(entries, end, _cached(entries, end), chance, samples, is_ordered)
    return list(dict.fromkeys(found))


def _cached(entries: Sequence[Entry], begin: int) -> range:
    """The plain writes from `begin` up to whatever makes them safe."""
    return range(begin, next((n for n in range(begin, len(entries)) if not entries[n].is_plain), len(entries)))


def _states(
    entries: Sequence[Entry],
    safe: int,
    group: range,
    chance: random.Random,
    samples: int,
    is_ordered: Callable[[Entry], bool],
) -> list[Crash]:
    if not group or not samples:
        return []
    ordered = [n for n in group if is_ordered(entries[n])]
    free = [n for n in group if not is_ordered(entries[n])]
    found = [Crash(safe, tuple(group))]
    for _ in range(samples - 1):
        share = chance.choice((0.1, 0.5, 0.9))
        kept = {n for n in free if chance.random() < share} | set(ordered[: chance.randint(0, len(ordered))])
        torn = {chance.choice(free)} if free and chance.random() < 0.3 else set()
        found.append(Crash(safe, tuple(sorted(kept - torn)), tuple(torn), sampled=True))
    return found
