"""The way from any older schema to the one of schema.py, by Alembic; and whether a database is there already.

Revisions are numbered files in migrations/versions, each of which either only adds (`phase = "expand"`) or takes away
what no release in use needs any more (decision 30). A release works on the schema of the one before it when that has
what it adds, and on that of the next one as long as that only adds: the database says so in `alembic_version`, the
newest revision that whoever works on it must know, and `schema_revision`, the newest that was made.

Alembic is imported only when there is something to do: a start on a database that is up to date, or on a new one, does
without it. A new one is made of schema.py itself, which a test holds equal to what the revisions lead to.
"""

from __future__ import annotations

import itertools
import re
from importlib import resources
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from brickyard.core import errors
from brickyard.db import schema
from brickyard.db.database import Database, Tx

if TYPE_CHECKING:
    from alembic.config import Config

VERSIONS = resources.files("brickyard.db") / "migrations" / "versions"
VERSION_TABLE = sa.Table(
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), primary_key=True),
)


STEPS_TABLE = sa.Table("schema_revision", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True))
# For Alembic: it walks by the one table, and the other one is not a part of the schema.
OPTIONS: dict[str, Any] = {
    "version_table": STEPS_TABLE.name,
    "include_name": lambda name, kind, parents: name not in (VERSION_TABLE.name, STEPS_TABLE.name),
}
EXPANDS = re.compile(r'^phase = "expand"$', re.MULTILINE)


def revisions() -> list[str]:
    """The numbers of all revisions, the oldest first: 0001, 0002 …"""
    return sorted(_files())


def expansions() -> set[str]:
    """Those that only add, so that the release before works on with them."""
    return {number for number, file in _files().items() if EXPANDS.search(file.read_text(encoding="utf-8"))}


def head() -> str:
    return revisions()[-1]


def _files() -> dict[str, Traversable]:
    found = {file.name.partition("_")[0]: file for file in VERSIONS.iterdir() if file.name.endswith(".py")}
    return {number: file for number, file in found.items() if number.isdigit()}


def current(db: Database) -> str | None:
    """The revision that the database is at; None: it is empty."""
    return _at(db)[0]


def _at(db: Database) -> tuple[str | None, str | None]:
    """The newest revision that was made, and the newest that did not only add: who does not know that must not work."""
    with db.read() as tx:
        tables = sa.inspect(tx).get_table_names()
        must, made = (
            tx.scalar(sa.select(table.c.version_num)) if table.name in tables else None
            for table in (VERSION_TABLE, STEPS_TABLE)
        )
    if must is None and set(tables) & set(schema.metadata.tables):
        raise errors.Conflict(
            "The database has tables and no revision: it was not made by Brickyard; name another one."
        )
    return (made or must if must else None), must


def check(db: Database) -> None:
    """Raise Conflict, saying what to do, unless this release works on the database: it has all that this release adds,
    and what a newer one has changed only adds."""
    now, must = _at(db)
    if now is None:
        raise errors.Conflict(f"The database {_name(db)} is empty: run `brickyard db upgrade`, or `brickyard serve`.")
    if must not in revisions():
        raise errors.Conflict(
            f"The database {_name(db)} is at revision {must}, which this release does not know: "
            "a newer one has used it. Install that release again."
        )
    if now < _needed():
        raise errors.Conflict(
            f"The database {_name(db)} is at revision {now} and not {_needed()}: run `brickyard db upgrade`, or, while "
            "the release before runs, `brickyard db upgrade --expand`."
        )


def _needed() -> str:
    """What the code of this release needs: all but contractions that are still to come."""
    return max(expansions() | {revisions()[0]})


def upgrade(db: Database, *, expand: bool = False) -> tuple[str | None, str]:
    """Bring the database to the newest revision; the one that it was at, and the one that it is at now. With `expand`
    only as far as the release before works on; Conflict when this release needs more than that."""
    now, must = _at(db)
    if now is None:
        with db.begin() as tx:
            schema.metadata.create_all(tx)
            _note(tx, VERSION_TABLE, _must(head()))
            _note(tx, STEPS_TABLE, head())
        return None, head()
    if now not in revisions() or must not in revisions():
        check(db)
        return now, now
    later = [number for number in revisions() if number > now]
    if expand:
        later = list(itertools.takewhile(expansions().__contains__, later))
    if later:
        run(db, later[-1])
    reached = max([now, *later])
    if expand and reached < _needed():
        raise errors.Conflict(
            "This release needs a revision behind one that takes something away: end every process of the releases "
            "before, then run `brickyard db upgrade`."
        )
    return now, reached


def run(db: Database, target: str) -> None:
    """Let Alembic walk to a revision in one transaction, from wherever the database is."""
    from alembic import command

    now, goal = current(db), head() if target == "head" else target
    with db.begin() as tx:
        if now is not None:
            _note(tx, STEPS_TABLE, now)
        command.upgrade(config(tx), goal)
        _note(tx, VERSION_TABLE, _must(goal))


def _must(number: str) -> str:
    """The newest revision up to this one that does not only add."""
    return max(one for one in revisions() if one <= number and one not in expansions())


def _note(tx: Tx, table: sa.Table, number: str) -> None:
    table.create(tx, checkfirst=True)
    tx.execute(sa.delete(table))
    tx.execute(sa.insert(table).values(version_num=number))


def config(tx: sa.Connection) -> Config:
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", "brickyard.db:migrations")
    made.attributes["connection"] = tx
    return made


def _name(db: Database) -> str:
    return db.url.render_as_string(hide_password=True)
