"""vdi files keep the contract."""

from pathlib import Path

from brickyard.brick import vdi
from brickyard.brick.files import FileDriver

from .adoption import AdoptionContract
from .content import strange_file
from .keeping import KeepingContract
from .looking import LookingContract
from .suite import DriverContract


class TestVdi(DriverContract, AdoptionContract, KeepingContract, LookingContract):
    gives_back = False  # the format has no blocks that are free again

    def make(self, pool: Path) -> FileDriver:
        return vdi.driver(str(pool))

    def strange(self, pool: Path, name: str) -> None:
        strange_file(pool / name, "vdi")
