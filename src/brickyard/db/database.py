"""One database: how to open it, and what a transaction is on each engine.

`begin()` is a write transaction, `read()` a connection for reading. On SQLite there is one writer at a time, whatever
we do; a lock in this process makes the others wait in line instead of sleeping and trying again, and BEGIN IMMEDIATE
takes the write lock first, so that a transaction never fails halfway because another one wrote. Every commit is
synchronous: what was acknowledged survives a kill and a power cut.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import event

from brickyard.core import errors

Row = sa.Row[Any]  # frozen; attributes are named as the columns of schema.py
Tx = sa.Connection

BUSY_TIMEOUT_S = 30


class Database:
    """A pool of connections to `url`, for example sqlite:////var/lib/brickyard/brickyard.db."""

    def __init__(self, url: str) -> None:
        self.url = sa.make_url(url)
        self.dialect = self.url.get_backend_name()
        self._writer: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        options: dict[str, Any] = {"pool_size": 64, "max_overflow": 64}
        if self.dialect == "sqlite":
            self._writer = threading.Lock()
            options["connect_args"] = {"timeout": BUSY_TIMEOUT_S, "check_same_thread": False, "isolation_level": None}
            options["poolclass"] = sa.pool.QueuePool
            options["pool_reset_on_return"] = None  # whoever gives a connection back has ended its transaction
        self.engine = sa.create_engine(
            self.url, json_serializer=_encode, json_deserializer=msgspec.json.decode, pool_pre_ping=False, **options
        )
        if self.dialect == "sqlite":
            event.listen(self.engine, "connect", _prepare_sqlite)
        self._idle: list[Tx] = []

    @contextlib.contextmanager
    def begin(self) -> Iterator[Tx]:
        """A write transaction; committed when the block ends, rolled back when it raises."""
        callbacks: list[Callable[[], None]] = []
        with self._writer, _full_told(), self._connection() as connection:
            if self.dialect == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            connection.info["after_commit"] = callbacks
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()
        for callback in callbacks:
            callback()

    @contextlib.contextmanager
    def read(self) -> Iterator[Tx]:
        """A connection for reading; each statement sees what is committed when it starts."""
        with self._connection() as connection:
            yield connection

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Tx]:
        """A connection that nobody else uses now; the one used last first, for what it has in its caches.

        They stay open here and do not go through the pool for each use, which costs more than a small statement does.
        """
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self.engine.connect()
        try:
            yield connection
            connection.rollback()
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()
        self.engine.dispose()


@contextlib.contextmanager
def _full_told() -> Iterator[None]:
    """A full disk is told as what it is, and not as an error of the server."""
    try:
        yield
    except sa.exc.OperationalError as error:
        if getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_FULL:
            raise
        raise errors.Unavailable(
            "The file system of the database is full, so nothing was changed: give it space, then repeat."
        ) from error


def after_commit(tx: Tx, callback: Callable[[], None]) -> None:
    """Run `callback` when the transaction has been committed, and not otherwise: wake-ups, never truth."""
    tx.info["after_commit"].append(callback)


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{path}"


def _encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-8000", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}")
