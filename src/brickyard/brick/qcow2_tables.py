"""The header and the tables of a qcow2 image from outside, read before any tool does.

qemu reads zeros where a file ends before its tables say, and would make a volume with holes of a broken upload; and
what it says of an absurd header helps nobody. So everything that a table of the image itself points to must lie in the
file. Tables of snapshots inside the image are not looked at: nobody reads them here. Features have been looked at
before: what is left are those that change nothing here, and compression.
"""

from __future__ import annotations

import array
import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from brickyard.brick import steps
from brickyard.core import errors, sizes

# After the magic: version, place and length of the backing file's name, cluster bits, virtual size, encryption, entries
# and place of the L1 table, place and clusters of the refcount table, number and place of the snapshots.
HEADER = struct.Struct(">4xIQIIQIIQQIIQ")
HEADER_3 = struct.Struct(">QQQII")  # incompatible, compatible and autoclear features, refcount order, header length
HEADER_3_BYTES = HEADER.size + HEADER_3.size
CLUSTER_BITS = (9, 21)
L1_BYTES_MAX, REFCOUNT_TABLE_BYTES_MAX = 32 * sizes.MIB, 8 * sizes.MIB
SNAPSHOTS_MAX, SNAPSHOT_BYTES_MIN = 65536, 40
REFCOUNT_ORDER_MAX = 6
CORRUPT, COMPRESSION = 1 << 1, 1 << 3  # of the incompatible features
PLACE = 0x00FF_FFFF_FFFF_FE00  # of an entry: where what it speaks of begins
COMPRESSED, READS_AS_ZEROS = 1 << 62, 1
SECTOR_BYTES = 512
AGAIN = "upload it again"


@dataclass(frozen=True, slots=True)
class Header:
    size_bytes: int  # of the disk in it
    cluster_bits: int
    l1_entries: int
    l1_at: int

    @property
    def cluster_bytes(self) -> int:
        return 1 << self.cluster_bits

    @property
    def l2_entries(self) -> int:
        return self.cluster_bytes // 8


def check(path: str) -> None:
    """UnsafeImage for an image that is encrypted; DamagedImage for one with a header that cannot be, or with less in
    the file than its tables speak of."""
    with steps.opened(path, os.O_RDONLY) as descriptor:
        file_bytes = os.fstat(descriptor).st_size
        header = _header(descriptor, file_bytes)
        covered = header.cluster_bytes * header.l2_entries  # by one L2 table
        for number, place in enumerate(_l1(descriptor, header)):
            if place == 0:
                continue
            if place % header.cluster_bytes or place + header.cluster_bytes > file_bytes:
                raise _cut_off("a table of clusters", place, place + header.cluster_bytes, file_bytes)
            table = _numbers(os.pread(descriptor, header.cluster_bytes, place))
            for what, begin, end in _clusters(header, table, number * covered):
                if end > file_bytes:
                    raise _cut_off(what, begin, end, file_bytes)


def _header(descriptor: int, file_bytes: int) -> Header:
    content = os.pread(descriptor, HEADER_3_BYTES + 8, 0)
    if len(content) < HEADER.size:
        raise errors.DamagedImage(f"the qcow2 image ends within its header: {AGAIN}")
    (
        version, _, _, cluster_bits, size_bytes, encryption, l1_entries, l1_at, refcounts_at, refcount_clusters,
        snapshots, snapshots_at,
    ) = HEADER.unpack_from(content)  # fmt: skip
    if encryption:
        raise errors.UnsafeImage("the qcow2 image is encrypted: decrypt it before the upload")
    _must("version", version, (2, 3))
    _must("cluster bits", cluster_bits, range(CLUSTER_BITS[0], CLUSTER_BITS[1] + 1))
    if version == 3:
        _check_third(content, 1 << cluster_bits)
    header = Header(size_bytes, cluster_bits, l1_entries, l1_at)
    cluster = header.cluster_bytes
    needed = -(-size_bytes // (cluster * header.l2_entries))
    _must("size in bytes", size_bytes, range(sizes.MAX_GIB * sizes.GIB + 1))
    _must("entries in the L1 table", l1_entries, range(needed, L1_BYTES_MAX // 8 + 1))
    _must(
        "clusters of the refcount table", refcount_clusters, range(1, max(1, REFCOUNT_TABLE_BYTES_MAX // cluster) + 1)
    )
    _must("snapshots", snapshots, range(SNAPSHOTS_MAX + 1))
    for what, at, length in (
        ("the L1 table", l1_at, l1_entries * 8),
        ("the refcount table", refcounts_at, refcount_clusters * cluster),
        ("the list of snapshots", snapshots_at, snapshots * SNAPSHOT_BYTES_MIN),
    ):
        if length and at % cluster:
            raise errors.DamagedImage(f"the qcow2 image says that {what} is at byte {at}, within a cluster: {AGAIN}")
        if length and at + length > file_bytes:
            raise _cut_off(what, at, at + length, file_bytes)
    return header


def _check_third(content: bytes, cluster_bytes: int) -> None:
    """What the third version has in its header besides."""
    if len(content) < HEADER_3_BYTES:
        raise errors.DamagedImage(f"the qcow2 image ends within its header: {AGAIN}")
    incompatible, _, _, order, length = HEADER_3.unpack_from(content, HEADER.size)
    if incompatible & CORRUPT:
        raise errors.DamagedImage("the qcow2 image says itself that it is damaged: repair it with `qemu-img check -r`")
    _must("refcount order", order, range(REFCOUNT_ORDER_MAX + 1))
    _must("bytes of its header", length, range(HEADER_3_BYTES, cluster_bytes + 1, 8))
    if incompatible & COMPRESSION:
        _must("type of compression", content[HEADER_3_BYTES] if len(content) > HEADER_3_BYTES else -1, (0, 1))


def _must(what: str, value: int, allowed: range | tuple[int, ...]) -> None:
    if value not in allowed:
        shown = f"{allowed[0]} to {allowed[-1]}" if len(allowed) else "none that would fit its size"
        raise errors.DamagedImage(f"the qcow2 image says that its {what} are {value}; possible: {shown}; {AGAIN}")


def _cut_off(what: str, begin: int, end: int, file_bytes: int) -> errors.DamagedImage:
    return errors.DamagedImage(
        f"the qcow2 image is cut off, or damaged: {what} lies from byte {begin} to {end}, and the file has "
        f"{file_bytes}; {AGAIN}"
    )


def _l1(descriptor: int, header: Header) -> Iterator[int]:
    """Where each L2 table is, 0 for none. DamagedImage when two are the same: each would be looked at once more."""
    seen: set[int] = set()
    for entry in _numbers(os.pread(descriptor, header.l1_entries * 8, header.l1_at)):
        place = entry & PLACE
        if place in seen:
            raise errors.DamagedImage(f"the qcow2 image has two entries for its table at byte {place}: {AGAIN}")
        if place:
            seen.add(place)
        yield place


def _clusters(header: Header, table: array.array[int], begin: int) -> Iterator[tuple[str, int, int]]:
    """What the entries of an L2 table speak of: in words, from byte, to byte of the file. `begin` is where the part of
    the disk begins that the table covers; behind the end of the disk a cluster need not be whole."""
    cluster = header.cluster_bytes
    shift = 62 - (header.cluster_bits - 8)
    for number, entry in enumerate(table):
        place, left = entry & PLACE, header.size_bytes - begin - number * cluster
        if entry & COMPRESSED:
            place = entry & ((1 << shift) - 1)
            sectors = ((entry & (COMPRESSED - 1)) >> shift) + 1
            # How much of the last sector it takes is not said; a byte of it is the least.
            yield "a compressed cluster", place, (place & -SECTOR_BYTES) + (sectors - 1) * SECTOR_BYTES + 1
        elif place and left > 0 and not entry & READS_AS_ZEROS:
            yield "a cluster of data", place, place + min(cluster, left)


def _numbers(content: bytes) -> array.array[int]:
    found = array.array("Q", content[: len(content) // 8 * 8])
    if sys.byteorder == "little":
        found.byteswap()
    return found
