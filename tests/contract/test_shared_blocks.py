"""Where the file system can share blocks, clones and snapshots take constant time and no space."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from brickyard.brick import qcow2, raw
from brickyard.brick.files import FileDriver
from brickyard.brick.guard import Guard
from brickyard.core import errors
from brickyard.core.sizes import GIB

from .content import MIB, fill, holds, snapshot_of, volume
from .suite import DriverContract


class SharedBlocks:
    def make(self, pool: Path) -> FileDriver:
        raise NotImplementedError

    @pytest.fixture
    def mounted(self) -> Path:
        raise NotImplementedError

    @pytest.fixture
    def pool(self, mounted: Path, tmp_path: Path) -> Iterator[Path]:
        pool = mounted / f"{type(self).__name__}-{tmp_path.name}"
        pool.mkdir()
        yield pool
        shutil.rmtree(pool)

    def test_clones_take_no_space_and_are_independent_afterwards(self, pool: Path) -> None:
        driver: Any = self.make(pool)
        assert driver.capabilities.constant_time_clones
        source, clone = volume(), volume()
        snapshot = snapshot_of(source)
        driver.create(source, 32 * MIB)
        fill(driver, source.name, 1, 0, 24 * MIB)
        driver.clone(source.name, clone, 32 * MIB)
        driver.snapshot(source.name, snapshot)
        assert self._own_bytes(driver, clone.name) < 4 * MIB
        assert self._own_bytes(driver, snapshot.name) < 4 * MIB
        fill(driver, clone.name, 2)
        driver.delete(source.name)
        assert holds(driver, snapshot.name, 1, 0, 24 * MIB)
        assert holds(driver, clone.name, 2)
        assert holds(driver, clone.name, 1, MIB, 23 * MIB)
        for label in (clone, snapshot):
            driver.delete(label.name)

    def test_a_pool_that_is_full_refuses_and_nothing_is_left_behind(self, pool: Path) -> None:
        driver = Guard(raw.driver(str(pool), preallocate=True), "under test")
        label, larger = volume(), volume()
        driver.create(label, MIB)
        for verb in (
            lambda: driver.create(larger, 4 * GIB),
            lambda: driver.clone(label.name, larger, 4 * GIB),
            lambda: driver.grow(label.name, 4 * GIB),
        ):
            with pytest.raises(errors.NoSpace):
                verb()
        assert driver.open(label.name).size_bytes == MIB
        assert sorted(os.listdir(pool)) == sorted([".lock", label.name, f".{label.name}.label"])

    def _own_bytes(self, driver: Any, name: str) -> int:
        """What a brick has allocated and shares with no other file.

        Asked of the file itself: the free space of the file system also changes when it gets round to earlier files.
        """
        path = driver.open(name).path
        subprocess.run(["sync", path], check=True)
        table = subprocess.run(["filefrag", "-v", "-b1", path], check=True, capture_output=True, text=True).stdout
        extents = [line.split(":") for line in table.splitlines() if re.match(r" *[0-9]+: ", line)]
        assert extents, table
        return sum(int(extent[3]) for extent in extents if "shared" not in extent[-1])

    def test_blocks_that_are_allocated_in_advance_are_never_shared(self, pool: Path) -> None:
        driver = raw.driver(str(pool), preallocate=True)
        assert not driver.capabilities.constant_time_clones
        source, clone = volume(), volume()
        driver.create(source, 32 * MIB)
        driver.clone(source.name, clone, 32 * MIB)
        assert self._own_bytes(driver, clone.name) >= 24 * MIB


class TestRawOnXfs(SharedBlocks, DriverContract):
    @pytest.fixture
    def mounted(self, xfs: Path) -> Path:
        return xfs

    def make(self, pool: Path) -> FileDriver:
        return raw.driver(str(pool))


class TestRawOnBtrfs(SharedBlocks, DriverContract):
    @pytest.fixture
    def mounted(self, btrfs: Path) -> Path:
        return btrfs

    def make(self, pool: Path) -> FileDriver:
        return raw.driver(str(pool))


class TestQcow2OnXfs(SharedBlocks):
    @pytest.fixture
    def mounted(self, xfs: Path) -> Path:
        return xfs

    def make(self, pool: Path) -> FileDriver:
        return qcow2.driver(str(pool))
