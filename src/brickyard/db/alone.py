"""Who may run on a database: one service alone, or any number of processes that share it (`brickyard api` and
`brickyard conductor`). A lock on the server says so, kept by a connection of its own.

A service whose node is in its own process may not run the flows of another one. On SQLite the lock on the state
directory says the same (daemons/state_dir.py), and nothing is done here.

PostgreSQL has locks that are shared or exclusive. MariaDB has exclusive ones with a name: whoever shares takes one of
SLOTS and looks that nobody has the lock of who is alone, and whoever is alone takes that and then every slot.
"""

from __future__ import annotations

import contextlib
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
UNLOCK = {"postgresql": "SELECT pg_advisory_unlock_all()", **dict.fromkeys(MARIADB, "SELECT RELEASE_ALL_LOCKS()")}
SLOTS = 64  # on MariaDB, so many processes may share a database


class Alone:
    """Holds the lock while the block runs; `shared`, with others that share it. `lost` is called once, when the server
    was away and somebody else has it."""

    def __init__(self, db: Database, lost: Callable[[], None], *, shared: bool = False) -> None:
        self.db, self.lost, self.shared = db, lost, shared
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
            # before the server has noticed that the connection is closed; it may be gone already, with the lock
            with contextlib.suppress(sa.exc.DBAPIError, sa.exc.ResourceClosedError):
                self._connection.exec_driver_sql(UNLOCK[self.db.dialect])
            let_go(self._connection)

    def _locked(self) -> Tx:
        """A connection that has the lock; Conflict when another one has it."""
        take = _take_named if self.db.dialect in MARIADB else _take_numbered
        try:
            # It is never given back to the pool: whoever got it next would have the lock as well.
            connection = self.db.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            connection.detach()
            if take(connection, self.shared):
                return connection
        except sa.exc.OperationalError as error:
            raise errors.Unavailable(
                f"The database {self.db.url.render_as_string()} does not answer: {error.orig}"
            ) from error
        connection.close()
        who = "`brickyard serve`, which must be alone," if self.shared else "Another service"
        raise errors.Conflict(
            f"{who} runs on the database {self.db.url.render_as_string()}: stop it, or name another one."
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


def _take_numbered(connection: Tx, shared: bool) -> bool:
    suffix = "_shared" if shared else ""
    return bool(connection.scalar(sa.text(f"SELECT pg_try_advisory_lock{suffix}(:number)"), {"number": NUMBER}))


def _take_named(connection: Tx, shared: bool) -> bool:
    def take(name: str) -> bool:
        return bool(connection.scalar(sa.text("SELECT GET_LOCK(:name, 0)"), {"name": name}))

    if not shared:
        return take(NAME) and all(take(f"{NAME}.{slot}") for slot in range(SLOTS))
    if not any(take(f"{NAME}.{slot}") for slot in range(SLOTS)):
        return False
    return bool(connection.scalar(sa.text("SELECT IS_FREE_LOCK(:name)"), {"name": NAME}))
