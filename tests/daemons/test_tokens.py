"""Static tokens: shown once, kept as hashes, revoked by a hash that fits exactly one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click.testing
import pytest

from brickyard.cli import main
from brickyard.core import clock, errors
from brickyard.daemons import tokens
from brickyard.db import database, migrate
from brickyard.db import tokens as rows
from brickyard.db.database import Database


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    opened = Database(database.sqlite_url(tmp_path / "x.db"))
    migrate.upgrade(opened)
    yield opened
    opened.close()


def test_a_token_is_not_in_the_database(db: Database, tmp_path: Path) -> None:
    token = tokens.create(db, user="u", project="p", roles=["member", "member"])
    assert token.isalnum(), "as an argument, it does not begin with a dash"
    assert token.encode() not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    with db.read() as tx:
        row = rows.find(tx, token)
    assert row is not None and (row.user_id, row.project_id, row.roles) == ("u", "p", ["member"])


def test_revoking_needs_a_beginning_that_fits_one(db: Database) -> None:
    for _ in range(3):
        tokens.create(db, user="u", project="p", roles=["reader"])
    with pytest.raises(errors.Invalid, match="at least 8"):
        tokens.revoke(db, "a")
    with pytest.raises(errors.Invalid, match="at least 8"):
        tokens.revoke(db, "%" * 8)
    with pytest.raises(errors.NotFound):
        tokens.revoke(db, "0" * 64)
    tokens.revoke(db, tokens.list_(db)[0].hash)
    assert len(tokens.list_(db)) == 2


@pytest.mark.parametrize("text", ["15m", "12h", "30d", "2w", "2999-01-31", "2999-01-31T10:00:00+02:00"])
def test_expiry_is_a_time_to_come_in_the_form_of_the_database(text: str) -> None:
    assert tokens.expiry(text) > clock.stamp()
    assert len(tokens.expiry(text)) == len(clock.stamp())


@pytest.mark.parametrize("text", ["", "soon", "0d", "-1d", "2001-01-01", "1y"])
def test_other_expiries_are_refused_with_examples(text: str) -> None:
    with pytest.raises(errors.Invalid, match="expires"):
        tokens.expiry(text)


@pytest.mark.parametrize(("user", "project", "role"), [("", "p", "member"), ("u", "a/b", "member"), ("u", "p", "root")])
def test_names_that_would_not_fit_are_refused(db: Database, user: str, project: str, role: str) -> None:
    with pytest.raises(errors.Invalid, match="allowed"):
        tokens.create(db, user=user, project=project, roles=[role])


@pytest.mark.parametrize("command", [("token", "list"), ("db", "rebuild"), ("db", "check")])
def test_a_state_directory_that_cannot_be_is_refused_in_a_line(command: tuple[str, ...]) -> None:
    done = click.testing.CliRunner().invoke(main.main, [*command, "--state-dir", "a" * 300])
    assert (done.exit_code, "File name too long" in done.output) == (1, True), done.exception
