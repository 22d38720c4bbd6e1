"""What a transaction does when the database cannot be written."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from brickyard.core import errors
from brickyard.db.database import Database, sqlite_url

LONG = sa.text("INSERT INTO things VALUES (:text)")


def test_a_full_disk_is_told_and_nothing_is_changed(tmp_path: Path) -> None:
    db = Database(sqlite_url(tmp_path / "full.db"))
    with db.begin() as tx:
        tx.execute(sa.text("CREATE TABLE things (text TEXT)"))
    with pytest.raises(errors.Unavailable, match="full"):
        _write_too_much(db)
    with db.begin() as tx:
        tx.exec_driver_sql("PRAGMA max_page_count = 1000")
        assert tx.scalar(sa.text("SELECT count(*) FROM things")) == 0
        tx.execute(LONG, {"text": "x" * 100_000})
    db.close()


def _write_too_much(db: Database) -> None:
    with db.begin() as tx:
        tx.exec_driver_sql("PRAGMA max_page_count = 1")  # as few as there are: the next page is one too many
        tx.execute(LONG, {"text": "kept?"})
        tx.execute(LONG, {"text": "x" * 100_000})
