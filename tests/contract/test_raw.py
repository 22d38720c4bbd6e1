"""raw files keep the contract."""

from pathlib import Path

from brickyard.brick import raw
from brickyard.brick.files import FileDriver

from .adoption import AdoptionContract
from .content import strange_file
from .keeping import KeepingContract
from .looking import LookingContract
from .suite import DriverContract


class TestRaw(DriverContract, AdoptionContract, KeepingContract, LookingContract):
    def make(self, pool: Path) -> FileDriver:
        return raw.driver(str(pool))

    def strange(self, pool: Path, name: str) -> None:
        strange_file(pool / name, "raw")
