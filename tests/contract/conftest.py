"""Where the pools of the tests lie: in memory where that is possible, and on file systems that can share blocks.

A contract run makes thousands of fsyncs; whether they are in their place is proved by dying at each of them, and not
by waiting for a disk. The file systems are files on loop devices, mounted once per session.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SIZE_BYTES = 400 * 1024 * 1024  # mkfs.xfs refuses less than 300 MiB
MEMORY = "/dev/shm"


def _quick_directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="brickyard-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None)


@pytest.fixture
def pool() -> Iterator[Path]:
    with _quick_directory() as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def xfs() -> Iterator[Path]:
    yield from _mounted("xfs")


@pytest.fixture(scope="session")
def btrfs() -> Iterator[Path]:
    yield from _mounted("btrfs")


def _mounted(kind: str) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip(f"only root can mount a {kind} image")
    with _quick_directory() as directory:
        image, point = Path(directory, "image"), Path(directory, "mounted")
        point.mkdir()
        with open(image, "wb") as file:
            file.truncate(SIZE_BYTES)
        for command in ([f"mkfs.{kind}", "-q", str(image)], ["mount", "-o", "loop", str(image), str(point)]):
            try:
                subprocess.run(command, check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError) as error:
                pytest.skip(f"no {kind} here: {error}")
        try:
            yield point
        finally:
            subprocess.run(["umount", str(point)], check=True)
