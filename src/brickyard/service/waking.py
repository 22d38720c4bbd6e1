"""How an API process tells conductors elsewhere of a flow, and waits for the end of one.

Nothing depends on it: conductors look for flows themselves, once a second, and the end of a flow is in its row.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from brickyard.core import clock, errors
from brickyard.db import flows
from brickyard.db.database import Database

LOG = logging.getLogger(__name__)
WAITING_MAX = 1000  # wake-ups that wait for the broker; a later one is left out
LOOK_S = (0.01, 0.02, 0.05, 0.1, 0.2)


class Elsewhere:
    """A service.site.Waker. `tell(id)` publishes, from a thread of this object: a request waits for no broker."""

    here = False

    def __init__(self, db: Database, tell: Callable[[str], None]) -> None:
        self.db, self.tell = db, tell
        self._queue: queue.Queue[str | None] = queue.Queue(WAITING_MAX)
        self._thread = threading.Thread(target=self._work, name="waker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 5) -> None:
        try:
            self._queue.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def wake(self, id: str) -> None:
        try:
            self._queue.put_nowait(id)
        except queue.Full:
            LOG.debug("flow %s is not told of: a conductor finds it", id)

    def wait(self, id: str, timeout_s: float) -> str | None:
        """Wait until the flow is over; its status, or None when the time ran out first."""
        deadline, looks, pause = clock.monotonic() + timeout_s, 0, threading.Event()
        while True:
            with self.db.read() as tx:
                row = flows.find(tx, id)
            if row is None or row.status not in flows.OPEN:
                return row.status if row else None
            left_s = deadline - clock.monotonic()
            if left_s <= 0:
                return None
            pause.wait(min(left_s, LOOK_S[min(looks, len(LOOK_S) - 1)]))
            looks += 1

    def dead(self) -> list[str]:
        return [] if self._thread.is_alive() else [self._thread.name]

    def _work(self) -> None:
        while (id := self._queue.get()) is not None:
            try:
                self.tell(id)
            except errors.Unavailable as error:
                LOG.debug("flow %s is not told of, a conductor finds it: %s", id, error)
            except Exception:
                LOG.exception("flow %s could not be told of; a conductor finds it", id)
