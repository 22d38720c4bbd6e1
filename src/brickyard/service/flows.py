"""Flows as their owners see them: what runs, what each step did, and the steps as they happen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from brickyard.core import clock, errors
from brickyard.db import flows
from brickyard.db.database import Row, Tx
from brickyard.service.site import Caller, Site

Event = Row | dict[str, Any] | None  # an entry of the log or the flow; its progress; a sign of life
WATCHERS_MAX = 16  # each holds a thread of the server while it waits
WATCH_S_MAX = 600.0
LOOK_S_FIRST, LOOK_S_MAX = 0.02, 0.5
HEARTBEAT_S = 5.0
_watchers = threading.BoundedSemaphore(WATCHERS_MAX)


def require(tx: Tx, caller: Caller, id: str) -> Row:
    row = flows.find(tx, id)
    if row is None or caller.sees not in (None, row.project_id):
        raise errors.NotFound(f"Flow {id} could not be found; flows are kept for a week after their end.")
    return row


def list_(site: Site, project_id: str | None, *, open_only: bool, resource_id: str | None, limit: int) -> list[Row]:
    """The newest first; those of one resource if `resource_id` is given."""
    with site.db.read() as tx:
        if resource_id is None:
            return flows.list_(tx, project_id=project_id, open_only=open_only, limit=limit)
        found = [row for row in reversed(flows.of_resource(tx, resource_id)) if project_id in (None, row.project_id)]
        return [row for row in found if not open_only or row.status in flows.OPEN][:limit]


def show(site: Site, caller: Caller, id: str) -> tuple[Row, list[Row]]:
    """The flow and its log."""
    with site.db.read() as tx:
        return require(tx, caller, id), flows.log(tx, id)


def watch(site: Site, caller: Caller, id: str, after_seq: int = -1) -> Watch:
    """Log entries after `after_seq` as they happen, how far a step is that takes long, None as a sign of life, and the
    flow itself once it is over.

    Looks at the database again and again and holds no connection between; ends after WATCH_S_MAX in any case.
    """
    show(site, caller, id)  # refuse before the first byte is sent
    if not _watchers.acquire(blocking=False):
        raise errors.Unavailable(f"{WATCHERS_MAX} flows are being watched already; ask for the flow itself instead.")
    return Watch(_look(site, caller, id, after_seq))


class Watch:
    """The entries, and the place among the watchers, which is given back even if nothing was ever read."""

    def __init__(self, entries: Iterator[Event]) -> None:
        self._entries, self._open = entries, True

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        if not self._open:
            raise StopIteration
        try:
            return next(self._entries)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._open:
            self._open = False
            _watchers.release()

    def __del__(self) -> None:
        self.close()


def _look(site: Site, caller: Caller, id: str, seq: int) -> Iterator[Event]:
    start = told = clock.monotonic()
    pause_s, waiting, progress = LOOK_S_FIRST, threading.Event(), None
    while clock.monotonic() - start < WATCH_S_MAX:
        flow, log = show(site, caller, id)  # the flow first: when it is over, its log is complete
        news = [entry for entry in log if entry.seq > seq]
        yield from news
        if flow.status not in flows.OPEN:
            yield flow
            return
        if news:
            seq, pause_s, told = news[-1].seq, LOOK_S_FIRST, clock.monotonic()
        elif flow.progress and flow.progress != progress:  # without news: the step has not ended since it was written
            progress, told = flow.progress, clock.monotonic()
            yield progress
        elif clock.monotonic() - told > HEARTBEAT_S:
            told = clock.monotonic()
            yield None
        waiting.wait(pause_s)
        pause_s = min(pause_s * 1.5, LOOK_S_MAX)
