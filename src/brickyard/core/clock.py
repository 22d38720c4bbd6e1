"""The one reader of the clock. Tests replace `now`, `monotonic` and `sleep` here."""

from __future__ import annotations

import datetime
import time


def now() -> datetime.datetime:
    """The time in UTC, without a zone, with microseconds: the form of the wire and of the database."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)


def stamp(after_s: float = 0) -> str:
    """Now, or so many seconds later, as the text that the wire and the database hold; such texts sort by time."""
    moment = now()
    return (moment + datetime.timedelta(seconds=after_s) if after_s else moment).isoformat(timespec="microseconds")


def earlier(stamp: str, by_s: float) -> str:
    """The time so many seconds before another one."""
    moment = datetime.datetime.fromisoformat(stamp) - datetime.timedelta(seconds=by_s)
    return moment.isoformat(timespec="microseconds")


def monotonic() -> float:
    """Seconds that never go back, for deadlines and durations."""
    return time.monotonic()


def sleep(seconds: float) -> None:
    """Wait, on the clock that `monotonic` reads."""
    time.sleep(seconds)
