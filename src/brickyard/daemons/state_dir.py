"""The state directory: made when it is missing, and held by one service at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from brickyard.core import errors


def prepare(path: Path) -> None:
    """Make the directories that a service needs. They are the owner's alone: bricks and tokens are in there."""
    try:
        for directory in (path, path / "bricks", path / "images"):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise errors.Invalid(
            f"The state directory {path} cannot be made: {error.strerror}; choose another one with --state-dir",
            field="state_dir",
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise errors.Invalid(
            f"The state directory {path} is not writable for this user; choose another one with --state-dir",
            field="state_dir",
        )


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the directory. The kernel lets go when the process ends, however it ends, so nothing can be left behind."""
    descriptor = os.open(path / "serve.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            raise errors.Conflict(
                f"Another brickyard serve (process {owner}) runs in {path}: stop it, or choose another --state-dir."
            ) from None
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)
