"""Partitions and whole disks keep the contract, on loop devices whose sectors all held something before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from brickyard.brick.disks import disk as disks
from brickyard.brick.disks import gpt
from brickyard.brick.disks.driver import DiskDriver

from . import loops
from .adoption import AdoptionContract
from .content import MIB, SIZE
from .suite import DriverContract

pytestmark = pytest.mark.root
FORMER = b"former owner's\n\0" * 256


class DiskContract(DriverContract, AdoptionContract):
    whole: bool
    size_bytes: int  # of a disk
    disks = 5  # sixteen threads want more
    stride = 3  # each point makes all disks anew

    @pytest.fixture(autouse=True)
    def _loops(self, request: pytest.FixtureRequest) -> Iterator[None]:
        self.disks = 18 if "sixteen" in request.node.name else 5
        yield
        loops.forget_all()

    def make(self, pool: Path) -> DiskDriver:
        if pool not in loops.DISKS:
            loops.new_pool(pool, "under test", [self.size_bytes] * self.disks, dirty=FORMER)
        return DiskDriver(loops.DISKS[pool], whole=self.whole)

    def duplicate(self, pool: Path, copy: Path) -> None:
        loops.duplicate(pool, copy)

    def forget(self, pool: Path) -> None:
        loops.forget(pool)

    def leftovers(self, pool: Path) -> list[str]:
        left = []
        for path in loops.DISKS[pool]:
            with disks.opened(path) as disk:
                left += [e.name for e in disk.table.entries.values() if e.type != disks.LABELS]
        return left

    def strange(self, pool: Path, name: str) -> None:
        driver = self.make(pool)
        place = next(d for d in loops.DISKS[pool] if _is_empty(d) or not driver._pool.whole)
        with disks.changing(place) as disk:
            begin = disk.free()[0][0]
            kind = disks.TYPES["volume"] if name.startswith("volume-") else gpt.uuid.uuid4()
            size = disk.table.sector_bytes
            entry = gpt.entry(
                kind, gpt.uuid.uuid4(), begin // size, (begin + SIZE) // size - 1, name.removeprefix("volume-")
            )
            number = disk.table.vacant()
            assert number is not None
            disk.commit(disk.table.with_entry(number, entry), [])
            disk.show(number)
        with open(f"{place}p{number}", "r+b") as file:
            file.write(b"\3" * MIB)
            file.write(bytes(SIZE - MIB))


def _is_empty(path: str) -> bool:
    with disks.opened(path) as disk:
        return len(disk.table.entries) == 1


class TestPartition(DiskContract):
    whole = False
    side_by_side = True
    size_bytes = 24 * MIB


class TestDisk(DiskContract):
    whole = True
    size_bytes = 20 * MIB
