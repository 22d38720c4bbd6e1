"""That this process is there, for the others that share its database: a row that it touches now and then."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from brickyard.core import clock
from brickyard.core.settings import Service
from brickyard.db import processes
from brickyard.db.database import Database

LOG = logging.getLogger(__name__)


@contextmanager
def shown(db: Database, settings: Service, binary: str, host: str, dead: Callable[[], list[str]]) -> Iterator[None]:
    """While the block runs this process counts as one `binary` on `host`, unless threads of it are `dead`."""
    id, stopping = str(uuid.uuid4()), threading.Event()

    def beat() -> None:
        if names := dead():
            LOG.error("not running: %s; restart this process", ", ".join(names))
            return
        with db.begin() as tx:
            processes.beat(tx, id, binary, host)

    def go_on() -> None:
        while not stopping.wait(settings.report_interval_s):
            try:
                beat()
            except Exception:
                LOG.exception("that this process is there could not be written; it is tried again")

    with db.begin() as tx:
        processes.forget(tx, binary, host, clock.stamp(-settings.service_down_time_s))
    beat()
    thread = threading.Thread(target=go_on, name="presence", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(5)
        try:
            with db.begin() as tx:
                processes.remove(tx, id)
        except Exception:
            LOG.exception("that this process has ended could not be written; it counts as down soon")
