"""The schema is written twice, as tables to read and as revisions to walk: they lead to the same database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import autogenerate
from alembic.runtime.migration import MigrationContext

from brickyard.core import errors
from brickyard.db import database, migrate, schema
from brickyard.db.database import Database


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    opened = Database(database.sqlite_url(tmp_path / "x.db"))
    yield opened
    opened.close()


@pytest.fixture
def walked(tmp_path: Path) -> Iterator[Database]:
    """A database that went through every revision."""
    opened = Database(database.sqlite_url(tmp_path / "walked.db"))
    migrate.run(opened, "head")
    yield opened
    opened.close()


def facts(db: Database) -> dict[str, Any]:
    """Everything that a database says of its tables, in an order that does not depend on how they were made."""
    with db.read() as tx:
        look = sa.inspect(tx)
        return {
            table: {
                "columns": {
                    column["name"]: (str(column["type"]), column["nullable"], column["default"], column["primary_key"])
                    for column in look.get_columns(table)
                },
                "primary key": look.get_pk_constraint(table)["constrained_columns"],
                "foreign keys": ordered(look.get_foreign_keys(table)),
                "unique": ordered(look.get_unique_constraints(table)),
                "checks": ordered(look.get_check_constraints(table)),
                "indexes": ordered(look.get_indexes(table)),
            }
            for table in look.get_table_names()
            if table not in (migrate.VERSION_TABLE.name, migrate.STEPS_TABLE.name)
        }


def ordered(rows: list[Any]) -> list[str]:
    return sorted(str(sorted(row.items(), key=str)) for row in rows)


def test_revisions_and_tables_make_the_same_database(db: Database, walked: Database) -> None:
    with db.begin() as tx:
        schema.metadata.create_all(tx)
    assert facts(walked) == facts(db)
    assert set(facts(db)) == set(schema.metadata.tables)


def test_a_new_database_is_the_one_that_the_revisions_lead_to(db: Database, walked: Database) -> None:
    assert migrate.upgrade(db) == (None, migrate.head())
    assert facts(db) == facts(walked)
    assert migrate.current(db) == migrate.current(walked) == migrate.head()


def test_nothing_is_left_for_a_next_revision(walked: Database) -> None:
    """When this fails, the tables were changed: run scripts/migration."""
    with walked.read() as tx:
        context = MigrationContext.configure(tx, opts=migrate.OPTIONS)
        assert autogenerate.compare_metadata(context, schema.metadata) == []


def test_upgrade_twice_changes_nothing(db: Database) -> None:
    migrate.upgrade(db)
    before = facts(db)
    assert migrate.upgrade(db) == (migrate.head(), migrate.head())
    assert facts(db) == before
    migrate.check(db)


def test_revisions_are_numbered_without_a_gap() -> None:
    assert migrate.revisions() == [f"{n + 1:04}" for n in range(len(migrate.revisions()))]


def test_check_says_how_to_make_an_empty_database(db: Database) -> None:
    with pytest.raises(errors.Conflict, match="brickyard db upgrade"):
        migrate.check(db)


def test_check_says_that_a_newer_release_was_here(db: Database) -> None:
    migrate.upgrade(db)
    with db.begin() as tx:
        tx.execute(sa.update(migrate.VERSION_TABLE).values(version_num="9999"))
    with pytest.raises(errors.Conflict, match=r"9999.*newer"):
        migrate.check(db)
    with pytest.raises(errors.Conflict, match=r"9999.*newer"):
        migrate.upgrade(db)


def test_a_database_of_somebody_else_is_left_alone(db: Database) -> None:
    with db.begin() as tx:
        tx.exec_driver_sql("CREATE TABLE volumes (id INTEGER)")
    with pytest.raises(errors.Conflict, match="not made by Brickyard"):
        migrate.upgrade(db)


def test_statuses_of_the_schema_are_those_of_the_states(walked: Database) -> None:
    with pytest.raises(sa.exc.IntegrityError), walked.begin() as tx:
        tx.execute(
            sa.insert(schema.volumes).values(
                id="x", project_id="p", user_id="u", size_gib=1, status="nonsense",
                image_metadata={}, metadata={}, created_at="2026",
            )
        )  # fmt: skip
