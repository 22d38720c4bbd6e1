"""The way from any older schema to the one of schema.py, by Alembic; and whether a database is there already.

Revisions are numbered files in migrations/versions. Alembic is imported only when there is something to do: a start
on a database that is up to date, or on a new one, does without it. A new one is made of schema.py itself, which a test
holds equal to what the revisions lead to.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import sqlalchemy as sa

from brickyard.core import errors
from brickyard.db import schema
from brickyard.db.database import Database

if TYPE_CHECKING:
    from alembic.config import Config

VERSIONS = resources.files("brickyard.db") / "migrations" / "versions"
VERSION_TABLE = sa.Table(
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), primary_key=True),
)


def revisions() -> list[str]:
    """The numbers of all revisions, the oldest first: 0001, 0002 …"""
    names = [file.name for file in VERSIONS.iterdir()]
    return sorted(name.partition("_")[0] for name in names if name[:4].isdigit() and name.endswith(".py"))


def head() -> str:
    return revisions()[-1]


def current(db: Database) -> str | None:
    """The revision that the database is at; None: it is empty."""
    with db.read() as tx:
        tables = sa.inspect(tx).get_table_names()
        version = tx.scalar(sa.select(VERSION_TABLE.c.version_num)) if VERSION_TABLE.name in tables else None
    if version is None and set(tables) & set(schema.metadata.tables):
        raise errors.Conflict(
            "The database has tables and no revision: it was not made by Brickyard; name another one."
        )
    return version


def check(db: Database) -> None:
    """Raise Conflict, saying what to do, unless the database is at the revision of this release."""
    now = current(db)
    if now is None:
        raise errors.Conflict(f"The database {_name(db)} is empty: run `brickyard db upgrade`, or `brickyard serve`.")
    if now not in revisions():
        raise errors.Conflict(
            f"The database {_name(db)} is at revision {now}, which this release does not know: "
            "a newer one has used it. Install that release again."
        )
    if now != head():
        raise errors.Conflict(
            f"The database {_name(db)} is at revision {now} and not {head()}: run `brickyard db upgrade`."
        )


def upgrade(db: Database) -> tuple[str | None, str]:
    """Bring the database to the newest revision; the one that it was at, and the one that it is at now."""
    now, newest = current(db), head()
    if now is None:
        with db.begin() as tx:
            schema.metadata.create_all(tx)
            VERSION_TABLE.create(tx)
            tx.execute(sa.insert(VERSION_TABLE).values(version_num=newest))
    elif now not in revisions():
        check(db)
    elif now != newest:
        run(db, "head")
    return now, newest


def run(db: Database, target: str) -> None:
    """Let Alembic walk to a revision in one transaction, from wherever the database is."""
    from alembic import command

    with db.begin() as tx:
        command.upgrade(config(tx), target)


def config(tx: sa.Connection) -> Config:
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", "brickyard.db:migrations")
    made.attributes["connection"] = tx
    return made


def _name(db: Database) -> str:
    return db.url.render_as_string(hide_password=True)
