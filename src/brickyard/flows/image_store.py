"""The image store: a directory with one file per content, named by its SHA-256.

Which images have it is in the database. Renaming a file into the store and recording it, and forgetting a file and
removing it, exclude each other by a lock on the store, so that no image ever names a file that is gone. What is being
written has a temporary name.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from brickyard.core import clock
from brickyard.db import overviews
from brickyard.db.database import Database

CHUNK_BYTES = 1024 * 1024
LOCK, TEMPORARY = ".lock", ".upload-"
ABANDONED_S = 86400  # an upload that wrote nothing for so long is dead
T = TypeVar("T")


def made(store: Path) -> Path:
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    return store


def temporary(store: Path, id: str) -> Path:
    """Where what will be in the store is written."""
    return store / f"{TEMPORARY}{id}"


def discard(store: Path, id: str) -> None:
    """Remove what was written under a temporary name, whole or not."""
    for path in store.glob(f"{TEMPORARY}{id}*"):
        path.unlink(missing_ok=True)


def sweep(store: Path) -> None:
    """Remove what uploads left behind whose process died."""
    oldest = clock.now().replace(tzinfo=datetime.UTC).timestamp() - ABANDONED_S
    for path in store.glob(f"{TEMPORARY}*"):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < oldest:
                path.unlink()


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def keep(db: Database, store: Path, path: Path, sha256: str, record: Callable[[], T]) -> T:
    """Move a file, which is on the disk, into the store and record that it is there; if that fails it is not."""
    with locked(store):
        new = not (store / sha256).exists()
        if new:
            os.rename(path, store / sha256)
            _sync(store)
        try:
            return record()
        except BaseException:
            remove_unused(db, store, [sha256] if new else [])
            raise


def remove_unused(db: Database, store: Path, files: list[str]) -> None:
    """Remove those that no image has; the lock is held."""
    with db.read() as tx:
        used = overviews.image_files(tx)
    for sha256 in set(files) - used:
        (store / sha256).unlink(missing_ok=True)


@contextlib.contextmanager
def locked(store: Path) -> Iterator[None]:
    """One at a time, between threads and processes; the kernel lets go when a process dies."""
    with open(store / LOCK, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
