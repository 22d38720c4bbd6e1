"""How far long steps are. Not a status and nobody's truth: it may be late, and it may be lost.

A node tells its progress as often as it likes, and that costs an assignment here, in the memory of the conductor that
runs the step. Once a second the conductor writes what has moved, of all its flows in one transaction, into the rows of
the flows, where every API process finds it. So a copy never waits for the database, and a step that is over sooner
writes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from brickyard.db import flows as rows
from brickyard.db.database import Database, Tx
from brickyard.flows import trail

if TYPE_CHECKING:
    from brickyard.flows.engine import Run

    Shown = Callable[[Run, Tx, int], None]  # writes the percent of a step into the row of its resource


@dataclass(frozen=True, slots=True)
class Moved:
    """A step is so far with `what`, a brick or a device. `total_bytes` is what there is to do, which need not be its
    size; a step that works on several, one after the other, begins anew with each."""

    step: str
    what: str
    done_bytes: int
    total_bytes: int


def moved(step: str, what: str, done_bytes: int, total_bytes: int) -> Moved:
    """What a node told, as it is kept: whatever it says, nothing is more than done or less than begun."""
    total = max(0, total_bytes)
    return Moved(step, what, min(max(0, done_bytes), total), total)


def percent(done_bytes: int, total_bytes: int) -> int:
    """Whole percent, 100 only at the end; of nothing, all is done."""
    return 100 * done_bytes // total_bytes if total_bytes else 100


class Board:
    """The steps that run in one conductor."""

    def __init__(self) -> None:
        self._at_work: dict[str, tuple[Run, Shown | None]] = {}
        self._written: dict[str, Moved] = {}
        self._writing = threading.Lock()

    @contextmanager
    def at(self, run: Run, step: str, shown: Shown | None = None) -> Iterator[None]:
        """While the block runs, `step` may tell how far it is; what it tells later is not heard. `shown` has the
        percent written to another row as well."""
        run.step = step
        self._at_work[run.id] = (run, shown)
        try:
            with trail.step(step):
                yield
        finally:
            # Before the transaction that ends the step, and never while `write` is at it: none of it comes afterwards.
            with self._writing:
                self._at_work.pop(run.id, None)
            run.step = run.moved = None

    def write(self, db: Database, owner: str) -> None:
        """Write what has moved since the last time, as the owner of the flows."""
        with self._writing:
            self._written = {id: known for id, known in self._written.items() if id in self._at_work}
            news = self._news()
            if not news:
                return
            with db.begin() as tx:
                for run, shown, now in news:
                    if rows.hold(tx, run.id, owner, run.epoch, progress=asdict(now)) and shown is not None:
                        shown(run, tx, percent(now.done_bytes, now.total_bytes))
            self._written.update({run.id: now for run, _, now in news})

    def _news(self) -> list[tuple[Run, Shown | None, Moved]]:
        found = [(run, shown, run.moved) for run, shown in list(self._at_work.values())]
        return [(run, shown, now) for run, shown, now in found if now and self._written.get(run.id) is not now]
