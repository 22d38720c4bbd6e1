"""The databases that tests run on: SQLite, or a PostgreSQL or MariaDB that is started for them and stopped after.

BRICKYARD_TEST_DATABASE=postgresql|mariadb chooses. Such a server lies in a directory of its own, under a user of its
own where we are root, and is reached over a socket in that directory only. It ends with this process. All of them do
without what makes them survive a power cut; a service that tests start as a process has it.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import sqlalchemy as sa

from brickyard.db import database, schema

KIND = os.environ.get("BRICKYARD_TEST_DATABASE", "sqlite")
KINDS = ("sqlite", "postgresql", "mariadb")
START_S = 60
STOP_S = 120


def empty(directory: Path) -> database.Database:
    """An empty database with our tables. One at a time, where it is a server."""
    if KIND == "sqlite":
        db = database.Database(database.sqlite_url(directory / "brickyard.db"))
        sa.event.listen(db.engine, "connect", _hurry)
        return emptied(db)
    return emptied(database.Database(url(KIND)))


def emptied(db: database.Database) -> database.Database:
    """The same database, as new. Its statements stay compiled, which is most of what a small test would spend."""
    if db.dialect != "sqlite":
        with db.begin() as tx:
            _forget(tx)
        return db
    db.close()
    file = Path(str(db.url.database))
    for part in ("-wal", "-shm"):
        file.with_name(file.name + part).unlink(missing_ok=True)
    file.write_bytes(_empty_sqlite())
    return db


def _hurry(connection: sqlite3.Connection, record: object) -> None:
    connection.execute("PRAGMA synchronous = OFF")


def forget_all(tx: database.Tx) -> None:
    """Not a table left, whoever made it."""
    found = sa.MetaData()
    found.reflect(tx)
    found.drop_all(tx)


def _forget(tx: database.Tx) -> None:
    tables = schema.metadata.sorted_tables
    if not set(sa.inspect(tx).get_table_names()) >= {table.name for table in tables}:
        schema.metadata.drop_all(tx)
        schema.metadata.create_all(tx)
    for table in reversed(tables):
        tx.execute(sa.delete(table))


@functools.cache
def _empty_sqlite() -> bytes:
    """The schema, made once for all tests of this process."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "empty.db")
        db = database.Database(database.sqlite_url(file))
        schema.metadata.create_all(db.engine)
        db.close()
        return file.read_bytes()


def server(kind: str) -> Server:
    """A server of this kind that runs until this process ends; started again if a test has stopped it."""
    made = _server(kind)
    if not made.runs():
        made.start()
    return made


@functools.cache
def _server(kind: str) -> Server:
    closing = contextlib.ExitStack()
    atexit.register(closing.close)
    return closing.enter_context(SERVERS[kind]())


def url(kind: str) -> str:
    return server(kind).url


class Server:
    """A process that serves one database, in a directory of its own. It may be stopped and started again."""

    def __init__(
        self, command: list[str], log: Path, url: str, first_url: str | None = None, ends: int = signal.SIGTERM
    ) -> None:
        self.ends = ends
        self.command, self.log, self.url, self.first_url = command, log, url, first_url or url
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(self.command, stdout=out, stderr=out, cwd="/", start_new_session=True)
        deadline = time.monotonic() + START_S
        while not _answers(self.first_url):
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self, signum: int = 0) -> None:
        """In order, or by this signal."""
        if self.process is None or not self.runs():
            return
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signum or self.ends)
        for child in children if signum == signal.SIGKILL else ():  # all of it, as in a power cut
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def directory_of(user: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="brickyard-db-", dir="/dev/shm") as name:
        if os.geteuid() == 0:
            shutil.chown(name, user, user)
        yield Path(name)


def as_user(user: str, *command: str) -> list[str]:
    """Neither server runs as root."""
    ids = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if os.geteuid() == 0 else []
    return [*ids, *command]


@contextlib.contextmanager
def postgresql() -> Iterator[Server]:
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    with directory_of("postgres") as room:
        data = room / "data"
        make = [str(programs / "initdb"), "-D", str(data), "-U", "brickyard", "-A", "trust", "-E", "UTF8", "--no-sync"]
        _run(as_user("postgres", *make, "--locale=C.UTF-8"))
        options = {
            "unix_socket_directories": str(room), "listen_addresses": "", "fsync": "off", "full_page_writes": "off",
            "max_connections": "300", "shared_buffers": "32MB",
        }  # fmt: skip
        given = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        command = as_user("postgres", str(programs / "postgres"), "-D", str(data), *given)
        at = f"postgresql+psycopg://brickyard@/postgres?host={room}"
        with _served(Server(command, room / "log", at, ends=signal.SIGINT)) as made:  # waits for no client
            yield made


@contextlib.contextmanager
def mariadb() -> Iterator[Server]:
    with directory_of("mysql") as room:
        data, socket = room / "data", room / "socket"
        common = ["--no-defaults", f"--datadir={data}"]
        _run(
            as_user(
                "mysql", "mariadb-install-db", *common, "--auth-root-authentication-method=normal", "--skip-test-db"
            )
        )
        options = [
            f"--socket={socket}", "--skip-networking", "--innodb-flush-log-at-trx-commit=2", "--skip-log-bin",
            "--innodb-buffer-pool-size=64M", "--max-connections=300", f"--pid-file={room / 'pid'}",
            "--skip-name-resolve",
        ]  # fmt: skip
        where = "mariadb+pymysql://root@localhost/{}?unix_socket=" + str(socket)
        command = as_user("mysql", "/usr/sbin/mariadbd", *common, *options)
        made = Server(command, room / "log", where.format("brickyard"), where.format("mysql"))
        with _served(made):
            engine = sa.create_engine(made.first_url)
            with engine.begin() as tx:
                tx.exec_driver_sql("CREATE DATABASE brickyard CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
            engine.dispose()
            yield made


SERVERS = {"postgresql": postgresql, "mariadb": mariadb}


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def _served(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _answers(where: str) -> bool:
    engine = sa.create_engine(where)
    try:
        with engine.connect() as connection:
            return connection.exec_driver_sql("SELECT 1").scalar() == 1
    except sa.exc.DBAPIError:
        return False
    finally:
        engine.dispose()
