"""A copy of the database that SQLite keeps, taken while it is used; and the way back. Servers have tools of their own.

A copy is one file, whole or not there: it is written beside its name, looked through, and renamed when it is on the
disk. It holds what was committed when it was begun, and holds up nobody meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from brickyard.core import errors
from brickyard.db import migrate
from brickyard.db.database import Database

WAIT_S = 60.0
BESIDE = ("-wal", "-shm")  # what SQLite keeps next to a database that is in use
TOOLS = {"postgresql": "pg_dump and pg_restore", "mysql": "mariadb-dump", "mariadb": "mariadb-dump"}


def backup(db: Database, to: Path) -> str:
    """Copy the database to a new file; the revision that it is at. Conflict when the file is there already."""
    source = _file(db)
    if not source.exists():
        raise errors.NotFound(f"There is no database {source}: name its directory with --state-dir.")
    if to.exists():
        raise errors.Conflict(f"{to} is there already: name another file, or remove that one.")
    if to.resolve().parent == source.resolve().parent and to.name.startswith(source.name):
        raise errors.Invalid(f"{to} would lie among the files of the database itself: name another file.", field="file")
    with _new(to) as new:
        try:
            with (
                contextlib.closing(sqlite3.connect(f"{source.as_uri()}?mode=rw", uri=True, timeout=WAIT_S)) as old,
                contextlib.closing(sqlite3.connect(new)) as copy,
            ):
                old.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")  # one file, which needs no other one
        except sqlite3.Error as error:
            raise errors.Unavailable(f"{source} cannot be copied to {to}: {error}") from error
        return _revision(new, said=source)


def restore(db: Database, copy: Path) -> tuple[str, Path | None]:
    """Put a copy in the place of the database, which nobody may use now: its revision, and where the old one is.

    It may be repeated after a death at any line: the database is the old one until it is the new one.
    """
    target = _file(db)
    revision = _revision(copy, said=copy)
    if revision not in migrate.revisions():
        raise errors.Conflict(
            f"{copy} is at revision {revision}, which this release does not know: install a newer one."
        )
    kept = _set_aside(target)
    with _new(target) as new:
        shutil.copyfile(copy, new)
        if os.geteuid() == 0:  # the service may run as somebody else
            owner = target.parent.stat()
            os.chown(new, owner.st_uid, owner.st_gid)
    return revision, kept


def _set_aside(target: Path) -> Path | None:
    """Keep the database that is there under another name, and leave nothing of it that the next one would read."""
    if not target.exists():
        _forget_beside(target)
        return None
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(target, timeout=WAIT_S)) as old:
        old.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # all that was committed is in the one file now
    number = 1
    while (kept := target.with_name(f"{target.name}.replaced-{number}")).exists():
        if kept.samefile(target):
            break  # set aside by a restore that died
        number += 1
    else:
        os.link(target, kept)
    for end in BESIDE:  # only there when it could not be read: then they belong to what is kept
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{target}{end}", f"{kept}{end}")
    return kept


def _forget_beside(target: Path) -> None:
    for end in BESIDE:
        Path(f"{target}{end}").unlink(missing_ok=True)


@contextlib.contextmanager
def _new(path: Path) -> Iterator[Path]:
    """A file to be filled, its owner's alone, that has the name `path` once the block has ended well."""
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        yield new
        _sync(new)
        os.replace(new, path)
        _sync(path.parent)
    except OSError as error:
        raise errors.Unavailable(
            f"{path} cannot be written: {error.strerror}; give it space, or name another."
        ) from error
    finally:
        new.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _revision(file: Path, *, said: Path) -> str:
    """The revision of a database in a file; Invalid unless it is a whole one of ours."""
    if not file.is_file():
        raise errors.NotFound(f"There is no file {said}.")
    try:
        with contextlib.closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as found:
            wrong = [line for (line,) in found.execute("PRAGMA integrity_check(3)") if line != "ok"]
            revision = None if wrong else found.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        raise errors.Invalid(f"{said} is not a database of Brickyard: {error}", field="file") from error
    if wrong or revision is None:
        raise errors.Invalid(f"{said} is damaged: {'; '.join(wrong) or 'it has no revision'}", field="file")
    return str(revision[0])


def _file(db: Database) -> Path:
    if db.dialect != "sqlite":
        raise errors.Invalid(
            f"The database is on a server, whose own tools copy it: {TOOLS[db.dialect]}; "
            "see docs/howto/back-up-and-restore.md"
        )
    return Path(str(db.url.database))
