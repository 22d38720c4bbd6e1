"""The newest claim of each flow that a host has heard of: what is asked under an older one is refused.

A conductor that was suspended for longer than its lease finds its flow taken when it writes to the database. Before
that it may still ask a host, where the next conductor has asked already: make the brick that the other one has undone
by now. So a host remembers the epoch of each flow. Calls that change the same thing run one after the other anyway
(agent.py), and the new owner of a flow repeats or undoes the very step that was under way; so it comes to each host
that the old one could still disturb, and from then on the old one is refused there.

It must be remembered when the agent starts again: who sleeps for long may outsleep that. The first claim of a flow has
none before it, so it is not remembered at all; the others are rare, and each is on the disk before it is served.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

from brickyard.core import errors
from brickyard.core.fence import Claim

LOG = logging.getLogger(__name__)
KEPT_MAX = 4096  # flows; whoever sleeps for longer than so many later ones were taken over may be heard again


class Fences:
    """In `file`, one line for each claim, the newest last; without one in memory only."""

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self._lock = threading.Lock()
        self._newest: dict[str, int] = {}
        self._lines = 0
        if file is not None:
            self._read(file)

    def admit(self, claim: Claim) -> None:
        """Remember this claim; Superseded when there is a newer one."""
        with self._lock:
            self._refuse(claim)
            if claim.epoch <= 1 or self._newest.get(claim.flow) == claim.epoch:
                return
            self._newest.pop(claim.flow, None)
            self._newest[claim.flow] = claim.epoch
            while len(self._newest) > KEPT_MAX:
                del self._newest[next(iter(self._newest))]
            try:
                self._append(claim)
            except OSError as error:  # a full disk must not keep anybody from deleting
                LOG.error("that flow %s was taken over is remembered until the agent ends: %s", claim.flow, error)

    def check(self, claim: Claim) -> None:
        """Superseded when there is a newer one."""
        with self._lock:
            self._refuse(claim)

    def _refuse(self, claim: Claim) -> None:
        newest = self._newest.get(claim.flow, 0)
        if claim.epoch < newest:
            raise errors.Superseded(
                f"This is of claim {claim.epoch} of flow {claim.flow}, which is at claim {newest}: another conductor "
                "has it now."
            )

    def _read(self, file: Path) -> None:
        """What cannot be read is left out; then the file is as new, so that nothing is added to half a line."""
        try:
            text = file.read_text(encoding="ascii", errors="replace")
        except FileNotFoundError:
            return
        except OSError as error:
            LOG.error("%s cannot be read, so earlier claims of flows are not known: %s", file, error)
            return
        for line in text.splitlines():
            flow, _, epoch = line.partition(" ")
            if epoch.isdecimal():
                self._newest.pop(flow, None)
                self._newest[flow] = int(epoch)
        for flow in list(self._newest)[:-KEPT_MAX]:
            del self._newest[flow]
        try:
            self._write(file)
        except OSError as error:
            LOG.error("%s cannot be written: %s", file, error)

    def _append(self, claim: Claim) -> None:
        if self.file is None:
            return
        if self._lines >= 2 * KEPT_MAX:
            self._write(self.file)
            return
        fresh = not self.file.exists()
        with open(self.file, "a", encoding="ascii", opener=_private) as out:
            out.write(f"{claim.flow} {claim.epoch}\n")
            out.flush()
            os.fsync(out.fileno())
        self._lines += 1
        if fresh:
            _sync(self.file.parent)

    def _write(self, file: Path) -> None:
        part = file.with_name(file.name + ".part")
        with open(part, "w", encoding="ascii", opener=_private) as out:
            out.writelines(f"{flow} {epoch}\n" for flow, epoch in self._newest.items())
            out.flush()
            os.fsync(out.fileno())
        part.replace(file)
        _sync(file.parent)
        self._lines = len(self._newest)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
