"""One database: how to open it, and what a transaction is on each engine.

`begin()` is a write transaction, `read()` a connection for reading. On SQLite there is one writer at a time, whatever
we do; a lock in this process makes the others wait in line instead of sleeping and trying again, and BEGIN IMMEDIATE
takes the write lock first, so that a transaction never fails halfway because another one wrote. Every commit is
synchronous: what was acknowledged survives a kill and a power cut.

PostgreSQL and MariaDB run at READ COMMITTED. That is enough, because whatever must hold is a condition of the very
statement that writes, or is read after the lock of a row (store.hold, quotas.lock). Two transactions that wait for
each other are ended by the server, one of them with an error: `repeating` runs that one again, from its beginning.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql

from brickyard.core import clock, errors

Row = sa.Row[Any]  # frozen; attributes are named as the columns of schema.py
Tx = sa.Connection

Result = TypeVar("Result")
BUSY_TIMEOUT_S = 30
CONNECT_TIMEOUT_S = 10
IDLE_S = 5.0  # a connection that lay unused for longer is asked whether it still is one
REPEATS = 8  # of a transaction that a deadlock ended
PAUSE_S = 0.02  # before the first repeat; each one waits twice as long

# What servers say when a transaction lost against another one: SQLSTATE of PostgreSQL, numbers of MariaDB.
DEADLOCKS = {"40001", "40P01", "55P03", 1205, 1213}
FULL = {"53100", 1021, 1114, sqlite3.SQLITE_FULL}
MARIADB = ("mysql", "mariadb")
EXTRAS = {"postgresql": "postgresql", "mysql": "mariadb", "mariadb": "mariadb"}


class Database:
    """A pool of connections to `url`, for example sqlite:////var/lib/brickyard/brickyard.db."""

    def __init__(self, url: str) -> None:
        self.url = sa.make_url(url)
        self.dialect = self.url.get_backend_name()
        self._writer: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        self._commits = threading.local()  # .number: how many transactions this thread has committed
        options: dict[str, Any] = {"pool_size": 64, "max_overflow": 64}
        if self.dialect == "sqlite":
            self._writer = threading.Lock()
            options["connect_args"] = {"timeout": BUSY_TIMEOUT_S, "check_same_thread": False, "isolation_level": None}
            options["poolclass"] = sa.pool.QueuePool
            options["pool_reset_on_return"] = None  # whoever gives a connection back has ended its transaction
        else:
            options["isolation_level"] = "READ COMMITTED"
            options["connect_args"] = {"connect_timeout": CONNECT_TIMEOUT_S}
        try:
            self.engine = sa.create_engine(
                self.url, json_serializer=_encode, json_deserializer=msgspec.json.decode, **options
            )
        except ImportError as error:
            raise errors.Invalid(
                f"The driver of {self.dialect} is not installed: pip install 'brickyard[{EXTRAS.get(self.dialect)}]'",
                field="connection",
            ) from error
        if self.dialect == "sqlite":
            event.listen(self.engine, "connect", _prepare_sqlite)
        self._idle: list[tuple[Tx, float]] = []  # with the time at which it was given back

    @contextlib.contextmanager
    def begin(self) -> Iterator[Tx]:
        """A write transaction; committed when the block ends, rolled back when it raises."""
        callbacks: list[Callable[[], None]] = []
        with self._writer, _told(), self._connection() as connection:
            if self.dialect == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            connection.info["after_commit"] = callbacks
            try:
                yield connection
            except BaseException:
                with contextlib.suppress(sa.exc.DBAPIError):  # a server that is gone has rolled back
                    connection.rollback()
                raise
            _commit(connection)
        self._commits.number = self._committed() + 1
        for callback in callbacks:
            callback()

    def repeating(self, work: Callable[[], Result]) -> Result:
        """`work()`, and again when a deadlock ended its transaction before it had committed any; LostRace in the end.

        What it did outside the database is done again as well, so there should be nothing.
        """
        pause_s = PAUSE_S
        for _ in range(REPEATS):
            before = self._committed()
            try:
                return work()
            except errors.Deadlock:
                if self._committed() != before:
                    raise
                threading.Event().wait(pause_s * (1 + random.random()))
                pause_s *= 2
        return work()

    def _committed(self) -> int:
        number: int = getattr(self._commits, "number", 0)
        return number

    @contextlib.contextmanager
    def read(self) -> Iterator[Tx]:
        """A connection for reading; each statement sees what is committed when it starts."""
        with _told(), self._connection() as connection:
            yield connection

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Tx]:
        """A connection that nobody else uses now; the one used last first, for what it has in its caches.

        They stay open here and do not go through the pool for each use, which costs more than a small statement does.
        """
        connection = self._taken()
        try:
            yield connection
            connection.rollback()
        except BaseException:
            let_go(connection)
            raise
        self._idle.append((connection, clock.monotonic()))

    def _taken(self) -> Tx:
        try:
            connection, since = self._idle.pop()
        except IndexError:
            return self.engine.connect()
        if self.dialect == "sqlite" or clock.monotonic() < since + IDLE_S:
            return connection
        try:
            connection.exec_driver_sql("SELECT 1")
            connection.rollback()
        except sa.exc.DBAPIError:  # the server was away; the others are as dead as this one
            self.close()
            let_go(connection)
            return self.engine.connect()
        return connection

    def close(self) -> None:
        while self._idle:
            let_go(self._idle.pop()[0])
        self.engine.dispose()


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What is wrong with the database is told as what it is, and not as an error of ours."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        code = _code(error.orig)
        if code in FULL:
            raise errors.Unavailable(
                "The file system of the database is full, so nothing was changed: give it space, then repeat."
            ) from error
        if code in DEADLOCKS:
            raise errors.Deadlock(
                "Others changed the same things at the same time, so nothing was changed: repeat the request."
            ) from error
        if error.connection_invalidated or (isinstance(error, sa.exc.OperationalError) and error.statement is None):
            raise errors.Unavailable(
                "The database does not answer, so nothing was changed: look whether it runs, then repeat."
            ) from error
        raise
    except sa.exc.TimeoutError as error:
        raise errors.Unavailable("Every connection to the database is in use: repeat the request later.") from error


def let_go(connection: Tx) -> None:
    """Close a connection, also one whose server is gone."""
    with contextlib.suppress(sa.exc.DBAPIError):
        connection.close()


def _commit(connection: Tx) -> None:
    try:
        connection.commit()
    except sa.exc.DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise errors.Unavailable(
            "The database went away while it was told to commit; look whether the change was made, then repeat."
        ) from error


def _code(error: BaseException | None) -> Any:
    """SQLSTATE, MariaDB's number, or SQLite's code."""
    if state := getattr(error, "sqlstate", None) or getattr(error, "sqlite_errorcode", None):
        return state
    return error.args[0] if error is not None and error.args else None


def after_commit(tx: Tx, callback: Callable[[], None]) -> None:
    """Run `callback` when the transaction has been committed, and not otherwise: wake-ups, never truth."""
    tx.info["after_commit"].append(callback)


def insert_or_leave(tx: Tx, table: sa.Table, **values: Any) -> None:
    """Insert a row, unless one with its key or another unique value of it is there, or is being inserted by others."""
    statement: sa.Insert = sa.insert(table).prefix_with("IGNORE" if tx.dialect.name in MARIADB else "OR IGNORE")
    if tx.dialect.name == "postgresql":
        statement = postgresql.insert(table).on_conflict_do_nothing()
    tx.execute(statement, values)


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{path}"


def _encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-8000", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}")
