"""Raw files that are allocated in advance keep the contract, and really take their space."""

from pathlib import Path

from brickyard.brick import raw
from brickyard.brick.files import FileDriver

from .content import SIZE, snapshot_of, volume
from .suite import DriverContract


class TestRawPreallocated(DriverContract):
    def make(self, pool: Path) -> FileDriver:
        return raw.driver(str(pool), preallocate=True)

    def test_every_byte_is_allocated_after_create_grow_clone_and_snapshot(self, pool: Path) -> None:
        driver = self.make(pool)
        one, clone = volume(), volume()
        driver.create(one, SIZE)
        driver.grow(one.name, 2 * SIZE)
        driver.clone(one.name, clone, 3 * SIZE)
        snapshot = snapshot_of(one)
        driver.snapshot(one.name, snapshot)
        for found in driver.list():
            assert found.used_bytes >= found.size_bytes
        assert not driver.capabilities.thin
