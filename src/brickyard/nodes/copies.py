"""No disk is given to a guest while it is copied: what the guest wrote meanwhile would make a copy of no moment at all.

A guest that has the disk already is paused for the time of a copy. Nobody would pause one that starts during it.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from brickyard.core import errors
from brickyard.core.bricks import parse

START_S = 120.0  # longer than a guest takes to start


class Copies:
    """The disks that are copied on this node, and those that a guest is being started with, by serial."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.copied, self._given = Counter[str](), Counter[str]()

    @contextlib.contextmanager
    def copying(self, serial: str) -> Iterator[None]:
        """Wait until no guest is being given the disk; none is inside."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._given[serial], START_S):
                raise errors.GuestError(
                    f"a guest has been starting with disk {serial} for {START_S:g} s; copy it later"
                )
            self.copied[serial] += 1
        yield from self._left(self.copied, (serial,))

    @contextlib.contextmanager
    def giving(self, serials: Sequence[str], has_them: Callable[[], bool]) -> Iterator[None]:
        """No copy of these disks begins inside. GuestError while one is copied, unless the guest has them already."""
        with self._changed:
            copied = [serial for serial in serials if self.copied[serial]]
            if copied and not has_them():
                raise errors.GuestError(f"disk {copied[0]} is being copied; try again when that is done")
            self._given.update(serials)
        yield from self._left(self._given, serials)

    def _left(self, counter: Counter[str], serials: Sequence[str]) -> Iterator[None]:
        try:
            yield
        finally:
            with self._changed:
                counter.subtract(serials)
                for serial in serials:
                    if not counter[serial]:
                        del counter[serial]
                self._changed.notify_all()


def serial_of(name: str) -> str:
    """What a guest knows a brick by: its id."""
    found = parse(name)
    return found[1] if found else name
