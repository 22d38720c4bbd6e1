"""The log of a daemon: one JSON object per line on standard error, for people with jq and for machines.

Lines of single requests are written some at a time, because a write for each costs as much as a small request. All
other lines go out at once, with those that wait before them, so the order of lines is the order of events.
"""

from __future__ import annotations

import collections
import functools
import logging
import sys
import threading
import time
import warnings
from typing import Any, TextIO

import msgspec

from brickyard.core import trace

# What every record has by itself; whatever else it carries was given by `extra=` and belongs into the line.
OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
MANY = "brickyard.request"  # the logger whose lines may wait
WAIT_S = 0.1


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": f"{_second(int(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **trace.now(),
        }
        line.update((name, value) for name, value in vars(record).items() if name not in OWN)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


@functools.lru_cache(maxsize=4)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


class Lines(logging.StreamHandler[TextIO]):
    """Writes to a stream. Threads that log wait for each other only while something is written."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._waiting: collections.deque[str] = collections.deque()
        self._some, self._writing = threading.Event(), threading.Lock()
        threading.Thread(target=self._write_late, name="log", daemon=True).start()

    def createLock(self) -> None:
        self.lock = None  # of the whole handler: not needed, and lines would be formatted one at a time under it

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._waiting.append(self.format(record))
            if record.name != MANY:
                self.flush()
            elif not self._some.is_set():
                self._some.set()
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        with self._writing:
            lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
            if lines and not self.stream.closed:
                self.stream.write("\n".join(lines) + "\n")
                self.stream.flush()

    def _write_late(self) -> None:
        while self._some.wait():
            time.sleep(WAIT_S)
            self._some.clear()
            self.flush()


def configure(stream: TextIO | None = None, *, debug: bool = False) -> None:
    """Send everything from INFO on to `stream`; with `debug`, what our own modules say below that as well. Safe to call
    twice."""
    handler = Lines(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("brickyard").setLevel(logging.DEBUG if debug else logging.INFO)
    # What no line of ours shows need not be found out for each: the caller's file, and its thread and process.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.captureWarnings(True)
    warnings.simplefilter("ignore", DeprecationWarning)  # of libraries; tests turn them into errors instead
    for chatty in ("httpx", "httpcore", "oslo_policy", "alembic.runtime.migration", "qemu.qmp"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
