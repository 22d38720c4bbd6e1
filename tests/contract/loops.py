"""Disks for tests: loop devices over files that are in memory, one directory of files per pool."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from brickyard.brick import blkpg, steps
from brickyard.brick.disks import preparing

DISKS: dict[Path, list[str]] = {}  # of a pool, the loop devices in the order of their files
LOOP_CLR_FD = 0x4C01


def attach(image: Path) -> str:
    """A loop device over a file, with partitions."""
    if os.geteuid() != 0:
        pytest.skip("only root makes loop devices")
    done = subprocess.run(["losetup", "-P", "-f", "--show", image], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no loop devices here: {done.stderr}")
    return done.stdout.strip()


def detach(disk: str) -> None:
    descriptor = os.open(disk, os.O_RDONLY)
    try:
        for number in blkpg.known(disk):
            blkpg.delete(disk, descriptor, number)
        fcntl.ioctl(descriptor, LOOP_CLR_FD)
    finally:
        os.close(descriptor)


def new_disk(image: Path, size_bytes: int) -> str:
    with open(image, "wb") as file:
        file.truncate(size_bytes)
    return attach(image)


def new_pool(pool: Path, driver: str, sizes: Sequence[int], *, dirty: bytes = b"") -> list[str]:
    """Prepared disks of these sizes; `dirty` is what they held before. Disks of one size are copies of one disk."""
    template = pool / "template"
    for number, size_bytes in enumerate(sizes):
        image = pool / f"disk-{number:02}"
        if number and sizes[number - 1] == size_bytes:
            steps.copy(str(template), str(image), share=True)
            DISKS[pool].append(attach(image))
            continue
        disk = new_disk(image, size_bytes)
        DISKS.setdefault(pool, []).append(disk)
        preparing.prepare(disk, pool="under test", driver=driver)
        if dirty:
            soil(disk, dirty)
        steps.sync(disk)
        template.unlink(missing_ok=True)
        steps.copy(str(image), str(template), share=True)
    template.unlink()
    return DISKS[pool]


def soil(disk: str, content: bytes) -> None:
    """Put into what is free on a disk, every 64 KiB, what a former owner might have left."""
    from brickyard.brick.disks import disk as disks

    with disks.opened(disk) as seen, open(disk, "r+b") as file:
        for begin, end in seen.free():
            for place in range(begin, end, 65536):
                file.seek(place)
                file.write(content)


def duplicate(pool: Path, copy: Path) -> None:
    copy.mkdir()
    for disk in DISKS[pool]:
        for path in (disk, *(blkpg.path_of(disk, number) for number in blkpg.known(disk))):
            steps.sync(path)
    for number in range(len(DISKS[pool])):
        image = f"disk-{number:02}"
        steps.copy(str(pool / image), str(copy / image), share=True)
        DISKS.setdefault(copy, []).append(attach(copy / image))


def forget(pool: Path) -> None:
    for disk in DISKS.pop(pool, []):
        detach(disk)
    for image in pool.glob("disk-*"):
        image.unlink()
    pool.rmdir()


def forget_all() -> None:
    for pool in list(DISKS):
        for disk in DISKS.pop(pool):
            detach(disk)
