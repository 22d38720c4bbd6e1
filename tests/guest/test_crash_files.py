"""Power cuts under a pool of files: XFS, where clones share blocks, and ext4. See docs/crash-consistency.md."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from brickyard import brick
from brickyard.brick.guard import Guard

from . import crashing
from .write_log import Entry

pytestmark = pytest.mark.guest
MKFS = {"xfs": ["mkfs.xfs", "-q"], "ext4": ["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0"]}
POOL_BYTES = 352 * crashing.MIB  # mkfs.xfs refuses less than 300 MiB


@dataclass
class Files:
    system: str
    driver: str
    options: dict[str, str] = field(default_factory=dict)
    wipes: bool = False

    @property
    def point(self) -> str:
        return f"/tmp/brickyard-crash-{os.getpid()}"

    def make(self, disk: str) -> None:
        crashing.run(*MKFS[self.system], disk)

    def up(self, disk: str) -> Guard:
        os.makedirs(self.point, exist_ok=True)
        crashing.run("mount", "-t", self.system, disk, self.point)
        return brick.load(self.driver, {"path": f"{self.point}/pool", **self.options})

    def down(self, disk: str) -> None:
        subprocess.run(["umount", self.point], check=False, capture_output=True)
        os.rmdir(self.point)

    def left(self, disk: str) -> list[str]:
        return [name for name in os.listdir(Path(self.point, "pool")) if name != ".lock"]

    def is_ordered(self, entry: Entry) -> bool:
        return False


@pytest.mark.parametrize(
    ("driver", "system"),
    [*itertools.product(("raw", "qcow2"), ("xfs", "ext4")), pytest.param("vdi", "xfs", marks=pytest.mark.thorough)],
)
def test_every_moment_of_every_verb_can_be_the_last(
    disks: Callable[[int], list[str]], system: str, driver: str
) -> None:
    assert crashing.run_states(Files(system, driver), disks(4), POOL_BYTES)
