"""Work that may take hours gets a part of a conductor's threads, so that the rest of the work goes on meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from brickyard.flows import engine


class Lane:
    """Lets so many in at a time; who comes when it is full is asked to come later, and holds no thread until then."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0

    @contextmanager
    def entered(self, threads: int) -> Iterator[None]:
        """Be one of those that work long, half of `threads` at most; engine.Later when there is no room."""
        with self._lock:
            if self._inside >= max(1, threads // 2):
                raise engine.Later
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
