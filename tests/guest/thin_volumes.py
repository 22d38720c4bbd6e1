"""A thin pool for tests, its volumes and what they hold, and the picture of its map that it may keep."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from tests.contract.content import MIB, snapshot_of, volume

from brickyard.brick import content
from brickyard.brick.guard import Guard
from brickyard.brick.lvm import deltas, groups
from brickyard.brick.lvm.thin import ThinDriver
from brickyard.core.bricks import Label

from .lvm import lvm, run

POOL, TPOOL = "ours/ours-pool", "ours-ours--pool-tpool"
BLOCK = 65536
Take = Callable[[int], list[str]]


def thin() -> Guard:
    return Guard(ThinDriver("ours", "ours-pool"), "thin")


def one_volume(take: Take) -> tuple[str, Guard, Label]:
    """A disk with a pool, and a volume of 16 MiB in it."""
    [disk] = take(1)
    groups.create("ours", [disk], thin=True)
    driver, label = thin(), volume()
    driver.create(label, 16 * MIB)
    return disk, driver, label


def put(driver: Guard, name: str, parts: dict[int, bytes], *, zero: tuple[int, int] | None = None) -> None:
    with content.opened(driver, name, writable=True) as opened:
        for at, text in parts.items():
            opened.write(at, text)
        if zero is not None:
            opened.zero(*zero)
        opened.flush()


def held(driver: Guard, name: str) -> bytes:
    with content.opened(driver, name) as opened:
        return b"".join(opened.read(begin, MIB) for begin in range(0, opened.size_bytes, MIB))


def digest(driver: Guard, name: str) -> str:
    return hashlib.sha256(held(driver, name)).hexdigest()


def kept_snapshot(driver: Guard, label: Label) -> Label:
    made = snapshot_of(label)
    driver.snapshot(label.name, made)
    return made


def picture() -> str:
    """What the pool keeps of its map."""
    return run("dmsetup", "status", TPOOL).split()[deltas.KEPT]


def is_marked(disk: str) -> bool:
    return deltas.TAG in lvm(disk, "lvs", "--noheadings", "-o", "lv_tags", POOL)


def read_bytes() -> int:
    """What was read of the data of the pool."""
    device = os.path.basename(os.path.realpath("/dev/mapper/ours-ours--pool_tdata"))
    return int(Path("/sys/block", device, "stat").read_text().split()[2]) * 512
