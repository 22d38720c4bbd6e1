"""Power cuts under a disk whose partitions are the bricks. See docs/crash-consistency.md.

A mapped device has no partitions, so there is a loop device on it, which keeps nothing back and hands on each flush.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from brickyard import brick
from brickyard.brick.disks import preparing
from brickyard.brick.guard import Guard
from brickyard.core.sizes import MIB

from . import crashing
from .write_log import Entry

pytestmark = pytest.mark.guest
POOL_BYTES = 64 * MIB


class Partitions:
    wipes = True

    def __init__(self) -> None:
        self.loop = ""

    def make(self, disk: str) -> None:
        self._attach(disk)
        preparing.prepare(self.loop, pool="crash", driver="partition")
        self.down(disk)

    def up(self, disk: str) -> Guard:
        self._attach(disk)
        return brick.load("partition", {"devices": self.loop})

    def _attach(self, disk: str) -> None:
        self.loop = crashing.run("losetup", "--find", "--show", "--direct-io=on", disk).strip()

    def down(self, disk: str) -> None:
        if self.loop:
            crashing.run("udevadm", "settle")
            subprocess.run(["partx", "-d", self.loop], check=False, capture_output=True)
            crashing.run("losetup", "-d", self.loop)
            crashing.run("udevadm", "settle")
            self.loop = ""

    def left(self, disk: str) -> list[str]:
        listed = crashing.run("sfdisk", "-d", self.loop).splitlines()
        return [line for line in listed if line.startswith(self.loop)][1:]  # the first holds the labels

    def is_ordered(self, entry: Entry) -> bool:
        return False


def test_every_moment_of_every_verb_can_be_the_last(disks: Callable[[int], list[str]]) -> None:
    assert crashing.run_states(Partitions(), disks(4), POOL_BYTES)
