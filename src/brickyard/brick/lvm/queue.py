"""Turns: who may change a volume group now. One at a time per group, among threads and among processes.

LVM takes locks of its own, but whoever waits for one of them has scanned the devices before and scans them again after.
So the changes of a group stand in a queue here, and a process of LVM begins when it can go on to its end. Locks on
single bricks, which are held through long copies and wipes, are others (`brick_lock`).

The lock files lie in a directory that a boot empties, as it ends every activation; the marks of the bricks that
somebody opened lie beside them and live as long.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

from brickyard.brick import locks, steps

RUN = os.environ.get("BRICKYARD_RUN_DIR", "/run/brickyard")
_queues: dict[str, threading.Lock] = {}
_making = threading.Lock()


class Queue:
    """The queue of the volume group with this uuid."""

    def __init__(self, uuid: str) -> None:
        with _making:
            self._turn = _queues.setdefault(uuid, threading.Lock())
        self._directory = os.path.join(RUN, "lvm", uuid)
        self._group = os.path.join(self._directory, "group")
        self._opened = os.path.join(self._directory, "opened")
        for directory in (self._group, self._opened):
            os.makedirs(directory, mode=0o700, exist_ok=True)

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the group for one change of its metadata."""
        with self._turn, locks.held(self._group, "group"):
            yield

    @contextlib.contextmanager
    def brick_lock(self, name: str, *, reading: str | None = None) -> Iterator[None]:
        """Hold one brick against every other verb; `reading` is held against those that change it."""
        with locks.held(self._directory, name, reading=reading):
            yield

    def is_busy(self, name: str) -> bool:
        """Whether a verb works on this brick now."""
        return locks.is_held(self._directory, name)

    @contextlib.contextmanager
    def activation(self, name: str) -> Iterator[None]:
        """Hold the right to activate and deactivate one brick, and its mark."""
        with locks.held(self._opened, name):
            yield

    def mark_opened(self, name: str) -> None:
        with steps.opened(self._mark(name), os.O_CREAT | os.O_WRONLY):
            pass

    def unmark_opened(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._mark(name))

    def is_opened(self, name: str) -> bool:
        return os.path.exists(self._mark(name))

    def _mark(self, name: str) -> str:
        return os.path.join(self._opened, name)
