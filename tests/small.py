"""A small file system of its own for tests that fill one: real files, and a real end of the room."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

MIB = 1024 * 1024
FILLER = "filler"


class Small:
    """An XFS of so many MiB, in a sparse file beside it, mounted at `path`."""

    def __init__(self, path: Path, mib: int) -> None:
        if os.geteuid() != 0:
            pytest.skip("a file system is mounted, which needs root")
        self.path, self.image = path, path.with_name(f"{path.name}.img")
        path.mkdir(parents=True)
        with self.image.open("wb") as file:
            file.truncate(mib * MIB)
        self._run("mkfs.xfs", "-q", str(self.image))
        self.device = self._run("losetup", "--find", "--show", str(self.image))
        self._run("mount", self.device, str(path))

    def remove(self) -> None:
        self._run("umount", "-l", str(self.path))
        self._run("losetup", "-d", self.device)
        self.image.unlink()

    def grow(self, mib: int) -> None:
        with self.image.open("r+b") as file:
            file.truncate(self.image.stat().st_size + mib * MIB)
        self._run("losetup", "-c", self.device)
        self._run("xfs_growfs", str(self.path))

    @property
    def percent(self) -> float:
        space = os.statvfs(self.path)
        return 100 * (1 - space.f_bavail / space.f_blocks)

    def fill(self, percent: float) -> None:
        """Let something that is no brick take so much that this much is used; or give back what is too much."""
        space = os.statvfs(self.path)
        filler = self.path / FILLER
        has_bytes = filler.stat().st_blocks * 512 if filler.exists() else 0
        used_bytes = (space.f_blocks - space.f_bavail) * space.f_frsize
        want_bytes = int(space.f_blocks * space.f_frsize * percent / 100) - (used_bytes - has_bytes)
        with filler.open("ab") as file:
            os.ftruncate(file.fileno(), want_bytes)
            if want_bytes > has_bytes:
                os.posix_fallocate(file.fileno(), has_bytes, want_bytes - has_bytes)
        assert abs(self.percent - percent) < 0.5, (self.percent, percent)

    def fill_up(self) -> None:
        """To the last block."""
        with (self.path / "last").open("ab") as file:
            for size in (MIB, 65536, 4096):
                block = b"x" * size
                while True:
                    try:
                        os.write(file.fileno(), block)
                    except OSError:
                        break

    def _run(self, *argv: str) -> str:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (argv, done.stderr)
        return done.stdout.strip()
