"""qcow2 files keep the contract."""

from pathlib import Path

from brickyard.brick import qcow2
from brickyard.brick.files import FileDriver

from .suite import DriverContract


class TestQcow2(DriverContract):
    def make(self, pool: Path) -> FileDriver:
        return qcow2.driver(str(pool))
