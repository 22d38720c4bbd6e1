"""That one service only runs on a database: a lock on the server, kept by a connection of its own.

A service whose node is in its own process may not run the flows of another one. On SQLite the lock on the state
directory says the same (daemons/state_dir.py), and nothing is done here.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType

import sqlalchemy as sa

from brickyard.core import errors
from brickyard.db.database import MARIADB, Database, Tx, let_go

LOG = logging.getLogger(__name__)
NAME = "brickyard"
NUMBER = 0x627269636B  # what PostgreSQL calls it
LOOK_S = 5.0


class Alone:
    """Holds the lock while the block runs. `lost` is called once, when the server was away and somebody else has it."""

    def __init__(self, db: Database, lost: Callable[[], None]) -> None:
        self.db, self.lost = db, lost
        self._connection: Tx | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="alone", daemon=True)

    def __enter__(self) -> Alone:
        if self.db.dialect != "sqlite":
            self._connection = self._locked()
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._connection is not None:
            let_go(self._connection)

    def _locked(self) -> Tx:
        """A connection that has the lock; Conflict when another one has it."""
        lock = "SELECT GET_LOCK(:name, 0)" if self.db.dialect in MARIADB else "SELECT pg_try_advisory_lock(:number)"
        try:
            # It is never given back to the pool: whoever got it next would have the lock as well.
            connection = self.db.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            connection.detach()
            given = {"name": NAME} if self.db.dialect in MARIADB else {"number": NUMBER}
            if connection.scalar(sa.text(lock), given):
                return connection
        except sa.exc.OperationalError as error:
            raise errors.Unavailable(
                f"The database {self.db.url.render_as_string()} does not answer: {error.orig}"
            ) from error
        connection.close()
        raise errors.Conflict(
            f"Another service runs on the database {self.db.url.render_as_string()}: stop it, or name another one."
        )

    def _watch(self) -> None:
        while not self._stopping.wait(LOOK_S):
            try:
                assert self._connection is not None
                self._connection.exec_driver_sql("SELECT 1")
            except Exception:
                if not self._again():
                    return

    def _again(self) -> bool:
        """The connection is gone, and the lock with it; False when another service has it now."""
        assert self._connection is not None
        let_go(self._connection)
        try:
            self._connection = self._locked()
            LOG.warning("the database was away; this service has its lock again")
        except errors.Conflict as error:
            LOG.error("this service has lost its database: %s", error)
            self.lost()
            return False
        except errors.Unavailable as error:
            LOG.error("%s", error)
        return True
