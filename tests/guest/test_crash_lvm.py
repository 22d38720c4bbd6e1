"""Power cuts under a volume group, thick and thin. See docs/crash-consistency.md."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from brickyard import brick
from brickyard.brick.guard import Guard
from brickyard.brick.lvm import groups
from brickyard.core.sizes import MIB

from . import crashing
from .write_log import Entry

pytestmark = pytest.mark.guest
GROUP = "crash"
POOL_BYTES = {"lvm": 128 * MIB, "lvm-thin": 224 * MIB}
DATA_BEGINS = 33 * MIB  # behind the label and the metadata area of LVM


@dataclass
class Group:
    driver: str

    @property
    def wipes(self) -> bool:
        return self.driver == "lvm"

    def make(self, disk: str) -> None:
        groups.create(GROUP, [disk], thin=self.driver == "lvm-thin")

    def up(self, disk: str) -> Guard:
        return brick.load(self.driver, {"volume_group": GROUP, "devices": disk})

    def down(self, disk: str) -> None:
        subprocess.run(["lvm", "vgchange", "-an", "--devices", disk, GROUP], check=False, capture_output=True)
        for name in self._mapped():  # a group that cannot be read
            subprocess.run(["dmsetup", "remove", "--force", "--retry", name], check=False, capture_output=True)
        assert not self._mapped()

    def _mapped(self) -> list[str]:
        names = crashing.run("dmsetup", "info", "-c", "--noheadings", "-o", "name").split()
        return [name for name in names if name.startswith(f"{GROUP}-")]

    def left(self, disk: str) -> list[str]:
        rows = crashing.run("lvm", "lvs", "-a", "--noheadings", "-o", "lv_name", "--devices", os.path.realpath(disk), GROUP)  # fmt: skip # noqa: E501
        own = (f"{GROUP}-pool", f"[{GROUP}-pool_", "[lvol0_pmspare]")
        return [name for name in rows.split() if not name.startswith(own)]

    def is_ordered(self, entry: Entry) -> bool:
        """LVM writes its metadata, and then the header that points to it, and never flushes between the two: a disk
        that turns them round and loses power loses the group, whatever is done above LVM."""
        return entry.begin < DATA_BEGINS


@pytest.mark.parametrize("driver", ["lvm", "lvm-thin"])
def test_every_moment_of_every_verb_can_be_the_last(disks: Callable[[int], list[str]], driver: str) -> None:
    assert crashing.run_states(Group(driver), disks(4), POOL_BYTES[driver])
