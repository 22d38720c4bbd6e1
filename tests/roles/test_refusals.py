"""What an API or a conductor says when it is started where it cannot work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests import engines

from brickyard.db.database import Database

BROKER = "transport_url = rabbit://nobody:nothing@127.0.0.1:1/\n"


def refused(role: str, room: Path, config: str) -> str:
    (room / "brickyard.conf").write_text(config)
    command = [sys.executable, "-m", "brickyard", role, "--state-dir", str(room / "state")]
    done = subprocess.run(
        [*command, "--config-file", str(room / "brickyard.conf")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    return done.stderr


@pytest.mark.parametrize("role", ["api", "conductor"])
def test_sqlite_is_for_one_process(role: str, tmp_path: Path) -> None:
    said = refused(role, tmp_path, f"[DEFAULT]\n{BROKER}")
    assert f"`brickyard {role}` shares its database with others, and SQLite is for one process" in said
    assert not list(tmp_path.rglob("*.db"))


@pytest.mark.slow
@pytest.mark.parametrize("role", ["api", "conductor"])
def test_a_database_that_is_empty_is_not_made_by_many_at_a_time(role: str, tmp_path: Path) -> None:
    server = engines.server("mariadb")
    db = Database(server.url)
    with db.begin() as tx:
        engines.forget_all(tx)
    db.close()
    database = f"[database]\nconnection = {server.url}\n"
    assert "is empty: run `brickyard db upgrade`" in refused(role, tmp_path, f"[DEFAULT]\n{BROKER}{database}")
    assert "reaches the nodes of hosts over a message broker: set transport_url" in refused(role, tmp_path, database)
