"""The conductor: threads that claim flows and run them, one that looks for flows and writes how far long steps are, and
a janitor that keeps leases and clears what expired.

Any number of conductors may share a database. A wake-up carries the id of a flow and only saves the wait until the next
look at the database: losing one costs a delay and nothing else.
"""

from __future__ import annotations

import logging
import queue
import threading
import uuid
from collections.abc import Mapping
from typing import Any

from brickyard.core import clock
from brickyard.db import flows as rows
from brickyard.db import messages, processes, receipts, reservations
from brickyard.db.database import Database
from brickyard.flows import engine

LOG = logging.getLogger(__name__)
POLL_S = 1.0
JANITOR_S = 5.0
RENEWALS = 4  # in the time of a lease, at least
KEEP_FLOWS_S = 7 * 86400
KEEP_SILENT_S = 86400  # processes that have died and were not started again
FORGET_AT_ONCE = 100  # receipts: whoever waits for the database waits for so many
FORGET_ROUNDS = 20  # at a time; the rest is removed the next time


class Conductor:
    """`start()` it, `wake()` it when a flow is committed, `stop()` it: running steps end, the rest waits in the log."""

    here = True

    def __init__(
        self, db: Database, world: Any, catalogue: Mapping[str, engine.Flow], threads: int = 8, lease_s: float = 60
    ) -> None:
        self.db, self.lease_s = db, lease_s
        self.owner = str(uuid.uuid4())
        self.engine = engine.Engine(db, world, catalogue, self.owner)
        world.bell.ring = self.wake
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._queued: set[str] = set()
        self._running: set[str] = set()
        self._lock = threading.Lock()
        self._finished: dict[str, threading.Event] = {}
        self._stopping = threading.Event()
        names = [f"conductor-{n}" for n in range(threads)]
        self._threads = [threading.Thread(target=self._work, name=name, daemon=True) for name in names]
        self._threads.append(threading.Thread(target=self._tidy, name="janitor", daemon=True))
        self._threads.append(threading.Thread(target=self._poll, name="poller", daemon=True))

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Begin nothing new: what runs is given back at its next step, and at once where a node does not answer."""
        self._stopping.set()
        self.engine.stopping = True

    def stop(self, timeout_s: float = 20) -> None:
        """Finish the steps that run, and give back the flows; safe to call twice."""
        self.end()
        for _ in self._threads:
            self._queue.put(None)
        deadline = clock.monotonic() + timeout_s
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - clock.monotonic()))

    def dead(self) -> list[str]:
        """The threads that should run and do not."""
        return [thread.name for thread in self._threads if not thread.is_alive()]

    def wake(self, id: str) -> None:
        """A flow was committed: run it now rather than at the next look."""
        with self._lock:
            if id in self._queued:
                return
            self._queued.add(id)
        self._queue.put(id)

    def wait(self, id: str, timeout_s: float) -> str | None:
        """Wait until the flow is over; its status, or None when the time ran out first."""
        event = self._finished.setdefault(id, threading.Event())
        deadline = clock.monotonic() + timeout_s
        try:
            while True:
                with self.db.read() as tx:
                    row = rows.find(tx, id)
                if row is None or row.status not in rows.OPEN:
                    return row.status if row else None
                left_s = deadline - clock.monotonic()
                if left_s <= 0:
                    return None
                event.wait(min(left_s, POLL_S))
        finally:
            self._finished.pop(id, None)

    def _work(self) -> None:
        while (id := self._queue.get()) is not None and not self._stopping.is_set():
            with self._lock:
                self._queued.discard(id)
                if id in self._running:
                    continue  # its lease has run out while this process was suspended, and nobody else took it
                self._running.add(id)
            try:
                self.engine.run(id, self.lease_s)
            except Exception:
                LOG.exception("flow %s stopped; it is resumed from its log", id)
            with self._lock:
                self._running.discard(id)
            if event := self._finished.get(id):
                event.set()

    def _poll(self) -> None:
        while not self._stopping.wait(POLL_S):
            try:
                with self.db.read() as tx:
                    for id in rows.ready(tx, limit=100):
                        self.wake(id)
            except Exception:
                LOG.exception("looking for flows failed; the next look is in %s s", POLL_S)
            try:
                self.engine.board.write(self.db, self.owner)
            except Exception:
                LOG.exception("how far long steps are could not be written; it is tried again in %s s", POLL_S)

    def _tidy(self) -> None:
        pause_s = min(JANITOR_S, self.lease_s / RENEWALS)
        while not self._stopping.wait(pause_s):
            for task in (self._renew, self._clear, self._forget_receipts):  # the leases first, and whatever else fails
                try:
                    self.db.repeating(task)
                except Exception:
                    LOG.exception("tidying failed; it is repeated in %s s", pause_s)

    def _renew(self) -> None:
        with self._lock:
            running = list(self._running)
        if running:
            with self.db.begin() as tx:
                rows.renew(tx, self.owner, running, self.lease_s)

    def _clear(self) -> None:
        """Every conductor does so: what is gone already is no work for the next."""
        with self.db.begin() as tx:
            reservations.clear_expired(tx, renew_s=self.lease_s)
            messages.forget_expired(tx)
            rows.forget(tx, clock.stamp(-KEEP_FLOWS_S))
            processes.forget_silent(tx, clock.stamp(-KEEP_SILENT_S))

    def _forget_receipts(self) -> None:
        """A few old ones in a transaction each, and not all that there are: years of them may be due at once."""
        days = self.engine.world.settings.receipt_retention_days
        for _ in range(FORGET_ROUNDS if days else 0):
            with self.db.begin() as tx:
                gone = receipts.forget(tx, clock.stamp(-days * 86400), FORGET_AT_ONCE)
            if gone < FORGET_AT_ONCE or self._stopping.is_set():
                return
