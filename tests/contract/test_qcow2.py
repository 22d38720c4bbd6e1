"""qcow2 files keep the contract."""

from pathlib import Path

from brickyard.brick import qcow2
from brickyard.brick.files import FileDriver

from .adoption import AdoptionContract
from .content import strange_file
from .keeping import KeepingContract
from .looking import LookingContract
from .suite import DriverContract


class TestQcow2(DriverContract, AdoptionContract, KeepingContract, LookingContract):
    def make(self, pool: Path) -> FileDriver:
        return qcow2.driver(str(pool))

    def strange(self, pool: Path, name: str) -> None:
        strange_file(pool / name, "qcow2")
