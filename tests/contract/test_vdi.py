"""vdi files keep the contract."""

from pathlib import Path

from brickyard.brick import vdi
from brickyard.brick.files import FileDriver

from .suite import DriverContract


class TestVdi(DriverContract):
    def make(self, pool: Path) -> FileDriver:
        return vdi.driver(str(pool))
