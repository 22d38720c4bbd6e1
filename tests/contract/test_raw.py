"""raw files keep the contract."""

from pathlib import Path

from brickyard.brick import raw
from brickyard.brick.files import FileDriver

from .suite import DriverContract


class TestRaw(DriverContract):
    def make(self, pool: Path) -> FileDriver:
        return raw.driver(str(pool))
