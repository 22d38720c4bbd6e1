"""Where backups are kept: objects with a name and a content, in a directory or in an object store (see `s3`).

Names have the form container/backup/object and are made by `manifest` only.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from brickyard.core import errors

MARK = "brickyard-backups"  # says which place this is, so that two hosts know whether they share one
PART = ".part"
MODE = 0o700


class Place(Protocol):
    """`id`: the same on every host that reaches the same objects. BrickError where the place does not work."""

    @property
    def id(self) -> str: ...

    def check(self) -> None:
        """Raise BrickError, saying what to do, unless objects can be kept here."""

    def put(self, name: str, content: bytes) -> None:
        """Keep an object: all of it, or nothing; it is safe when this returns."""

    def get(self, name: str) -> bytes:
        """NotFound when there is no such object."""

    def list(self, prefix: str) -> dict[str, int]:
        """Name → bytes of the objects whose names begin with `prefix`, which ends with a slash."""

    def delete(self, prefix: str, names: Sequence[str]) -> None:
        """Remove objects of a prefix; those that are not there are fine."""


class Directory:
    """Objects are files below `root`, for its owner only."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def id(self) -> str:
        return (self._root / MARK).read_text(encoding="ascii").strip()

    def check(self) -> None:
        try:
            self._root.mkdir(MODE, exist_ok=True)
            self._mark()
        except OSError as error:
            raise errors.BrickError(
                f"no backups can be kept in {self._root}: {error.strerror}; mount or create its parent, or set "
                "backup_posix_path to another directory"
            ) from error

    def _mark(self) -> None:
        """Whoever comes first gives the place its id: a link never replaces what is there."""
        part = self._root / f"{MARK}.{uuid.uuid4()}{PART}"
        if (self._root / MARK).exists() and os.access(self._root, os.W_OK | os.X_OK):
            return
        _write(part, str(uuid.uuid4()).encode())
        with contextlib.suppress(FileExistsError):
            os.link(part, self._root / MARK)
        part.unlink()
        _sync(self._root)

    def put(self, name: str, content: bytes) -> None:
        path = self._root / name
        if not path.parent.is_dir():
            for directory in (path.parent.parent, path.parent):
                directory.mkdir(MODE, exist_ok=True)
                _sync(directory.parent)
        part = path.with_name(path.name + PART)
        _write(part, content)
        part.replace(path)
        _sync(path.parent)

    def get(self, name: str) -> bytes:
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            raise errors.NotFound(f"There is no {name} in {self._root}.") from None

    def list(self, prefix: str) -> dict[str, int]:
        try:
            with os.scandir(self._root / prefix) as entries:
                return {prefix + e.name: e.stat().st_size for e in entries if not e.name.endswith(PART)}
        except FileNotFoundError:
            return {}

    def delete(self, prefix: str, names: Sequence[str]) -> None:
        for name in names:
            (self._root / name).unlink(missing_ok=True)
        directory = self._root / prefix
        with contextlib.suppress(FileNotFoundError):
            for left in directory.glob(f"*{PART}"):  # of a put that died
                left.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty, or gone
            directory.rmdir()


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
