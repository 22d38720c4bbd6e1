"""docs/howto/back-up-and-restore.md is followed, on each database: records are copied while the service works, more is
done, the records are lost, and what was done after the copy is found and brought in order."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests import engines

from brickyard.db import database

from .test_serve import Service, until

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "howto" / "back-up-and-restore.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
BACKUP, PG_DUMP, MARIADB_DUMP, RESTORE, PG_RESTORE, MARIADB, START, REPAIR, AGREES, TRY = BLOCKS
# What is promised may exceed what this machine's disk has free: the files are sparse, and some tests make many.
CONFIG = """
[DEFAULT]
quota_volumes = -1
quota_gigabytes = -1
enabled_backends = local
[local]
volume_driver = raw
max_over_subscription_ratio = 1000
[host]
hypervisor = none
"""
VERSION = {"OpenStack-API-Version": "volume 3.67"}


class Operator:
    """Somebody at the shell of the machine: paths are those of the test, and `systemctl` is about its service."""

    def __init__(self, directory: Path, server: engines.Server | None) -> None:
        self.directory, self.server = directory, server
        self.service = Service(directory)
        self.etc, self.backups, self.bin = directory / "etc", directory / "backups", directory / "bin"
        for made in (self.etc, self.bin):
            made.mkdir()
        self.service.config = self.etc / "brickyard.conf"
        connection = f"[database]\nconnection = {server.url}\n" if server else ""
        self.service.config.write_text(CONFIG + connection)
        self._shim("brickyard", f'exec {sys.executable} -m brickyard "$@"')
        self._shim("systemctl", 'echo "$1" >&3')
        self.http = httpx.Client(base_url=self.service.url, headers=VERSION, timeout=60)

    def _shim(self, name: str, text: str) -> None:
        file = self.bin / name
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)

    def environment(self) -> dict[str, str]:
        found = {
            **os.environ,
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "BRICKYARD_URL": self.service.url,
            "BRICKYARD_STATE_DIR": str(self.service.state),
            "BRICKYARD_CONFIG": str(self.service.config),
        }
        if self.server is not None and self.server.url.startswith("postgresql"):
            programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
            room = self.server.url.partition("host=")[2]
            found |= {"PGHOST": room, "PGUSER": "brickyard", "PATH": f"{programs}:{found['PATH']}"}
        elif self.server is not None:
            (self.directory / ".my.cnf").write_text(
                f"[client]\nsocket = {self.server.url.partition('unix_socket=')[2]}\nuser = root\n"
            )
            found |= {"HOME": str(self.directory)}
        return found

    def types(self, block: str, code: int = 0) -> str:
        """The commands of a block, line by line, with the exit code of the last one; what they print."""
        said, done = "", None
        for line in block.splitlines():
            for theirs, ours in (
                ("/var/lib/brickyard", self.service.state),
                ("/etc/brickyard", self.etc),
                ("/var/backups/brickyard", self.backups),
                ("/tmp/restored", self.directory / "restored"),
                ("--dbname=brickyard", "--dbname=postgres"),
            ):
                line = line.replace(theirs, str(ours))
            if line.startswith("systemctl "):
                self._service(line.split()[1])
                continue
            assert done is None or done.returncode == 0, said
            done = subprocess.run(["bash", "-c", line], env=self.environment(), capture_output=True, text=True)
            said += done.stdout + done.stderr
        assert done is not None and done.returncode == code, said
        return said

    def _service(self, what: str) -> None:
        if what == "start":
            self.service.start()
        elif self.service.process is not None and self.service.process.poll() is None:
            assert self.service.end() == 0

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.http.request(method, path, json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def volume(self, name: str, **more: Any) -> str:
        return self.made("volume", name=name, size=1, **more)

    def made(self, noun: str, **values: Any) -> str:
        id = str(self.call("POST", f"/v3/{noun}s", {noun: values})[noun]["id"])
        until(lambda: self.status(noun, id) == "available", 60)
        return id

    def status(self, noun: str, id: str) -> str:
        answer = self.http.get(f"/v3/{noun}s/{id}")
        return answer.json()[noun]["status"] if answer.status_code == 200 else str(answer.status_code)

    def delete(self, noun: str, id: str) -> None:
        self.call("DELETE", f"/v3/{noun}s/{id}")
        until(lambda: self.status(noun, id) == "404", 60)

    def extend(self, id: str, size: int) -> None:
        self.call("POST", f"/v3/volumes/{id}/action", {"os-extend": {"new_size": size}})
        until(lambda: self.status("volume", id) == "available", 60)
        assert self.call("GET", f"/v3/volumes/{id}")["volume"]["size"] == size

    def differences(self) -> set[tuple[str, str]]:
        return {(d["kind"], d["name"].partition("-")[2]) for d in self.call("GET", "/v1/audit")["differences"]}


@pytest.fixture(params=engines.KINDS)
def operator(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Operator]:
    server = engines.server(request.param) if request.param != "sqlite" else None
    if server is not None:
        db = database.Database(server.url)
        with db.begin() as tx:
            engines.forget_all(tx)
        db.close()
    made = Operator(tmp_path, server)
    made.service.start()
    yield made
    made.http.close()
    if made.service.process is not None and made.service.process.poll() is None:
        made.service.process.kill()
        made.service.process.wait()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Operator]:
    made = Operator(tmp_path, None)
    made.service.start()
    yield made
    made.http.close()
    if made.service.process is not None and made.service.process.poll() is None:
        made.service.end()


def is_sqlite(operator: Operator) -> bool:
    return operator.server is None


def back_up(operator: Operator) -> None:
    if is_sqlite(operator):
        operator.types(BACKUP)
        return
    operator.types("\n".join(line for line in BACKUP.splitlines() if "db backup" not in line))
    assert operator.server is not None
    operator.types(PG_DUMP if operator.server.url.startswith("postgresql") else MARIADB_DUMP)


def lose(operator: Operator) -> None:
    """The machine dies, and with it the records."""
    operator.service.end(signal.SIGKILL)
    if operator.server is None:
        for file in operator.service.state.glob("brickyard.db*"):
            file.unlink()
    else:
        db = database.Database(operator.server.url)
        with db.begin() as tx:
            engines.forget_all(tx)
        db.close()


def restore(operator: Operator) -> None:
    if is_sqlite(operator):
        operator.types(RESTORE)
        return
    operator.types("\n".join(line for line in RESTORE.splitlines() if "db restore" not in line))
    assert operator.server is not None
    operator.types(PG_RESTORE if operator.server.url.startswith("postgresql") else MARIADB)


def test_what_happened_between_backup_and_loss_is_found_and_brought_in_order(operator: Operator) -> None:
    kept, doomed, grown, parent = (operator.volume(name) for name in ("kept", "doomed", "grown", "parent"))
    before = operator.made("snapshot", volume_id=parent, name="before")
    back_up(operator)
    made = operator.volume("made")
    after = operator.made("snapshot", volume_id=parent, name="after")
    operator.delete("volume", doomed)
    operator.delete("snapshot", before)
    operator.extend(grown, 3)

    lose(operator)
    restore(operator)
    said = operator.types(START, code=1)
    assert {made, after, doomed, before, grown} <= set(re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", said))
    assert operator.differences() == {
        ("unknown_brick", made),
        ("unknown_brick", after),
        ("missing_brick", doomed),
        ("missing_brick", before),
        ("size", grown),
    }
    operator.types(REPAIR, code=1)
    operator.delete("volume", doomed)
    operator.delete("snapshot", before)
    operator.extend(grown, 3)
    assert "agree" in operator.types(AGREES)
    found = {v["id"]: v["name"] for v in operator.call("GET", "/v3/volumes/detail")["volumes"]}
    assert found == {kept: "kept", grown: "grown", parent: "parent", made: f"recovered-{made[:8]}"}
    assert operator.status("snapshot", after) == "available"
    pool = operator.call("GET", "/v1/pools")["pools"][0]
    assert pool["claimed_gib"] == 1 + 3 + 1 + 1 + 1  # the snapshot is the last one
    operator.volume("it works")


def test_a_copy_that_is_made_while_volumes_come_and_go_agrees_with_the_disks(alone: Operator) -> None:
    """Each copy is one moment: whatever was not over in it is taken up, and nothing is counted twice."""
    stop = threading.Event()

    def work(number: int) -> None:
        with httpx.Client(base_url=alone.service.url, timeout=60) as http:
            while not stop.is_set():
                id = http.post("/v3/volumes", json={"volume": {"size": 1}}).json()["volume"]["id"]
                if number % 2:
                    until(lambda id=id: http.get(f"/v3/volumes/{id}").json()["volume"]["status"] != "creating", 60)  # type: ignore[misc]
                    http.delete(f"/v3/volumes/{id}")

    workers = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for worker in workers:
        worker.start()
    try:
        until(lambda: len(alone.call("GET", "/v3/volumes")["volumes"]) > 10, 60)
        alone.types(BACKUP)
    finally:
        stop.set()
        for worker in workers:
            worker.join(60)
    # what a kill cuts off is another test's matter: the audit waits for a day before it removes what that leaves
    until(lambda: not alone.call("GET", "/v1/flows?open=true")["flows"], 60)
    lose(alone)
    restore(alone)
    alone.types("systemctl start brickyard\nbrickyard flow list --open")
    until(lambda: not alone.call("GET", "/v1/flows?open=true")["flows"], 60)
    alone.types(REPAIR.replace("--repair", "--repair || true"))
    for kind, id in alone.differences():
        assert kind == "missing_brick", "deleted after the copy"
        alone.delete("volume", id)
    assert "agree" in alone.types(AGREES)


def test_a_backup_is_its_owners_alone_never_written_over_and_tried_without_touching_anything(alone: Operator) -> None:
    alone.types(BACKUP)
    copy = alone.backups / "brickyard.db"
    assert copy.stat().st_mode & 0o077 == 0
    content = copy.read_bytes()
    for file, words in (
        (copy, "there already"),
        (alone.service.state / "brickyard.db-wal2", "among the files"),
        (alone.directory / "nowhere" / "file", "cannot be written"),
    ):
        assert words in alone.types(f"brickyard db backup {file}", code=1)
    assert copy.read_bytes() == content
    assert sorted(file.name for file in alone.backups.iterdir()) == ["brickyard.db", "etc", "images"]
    assert "revision" in alone.types(TRY)
    assert alone.call("GET", "/v3/volumes") == {"volumes": []}


def test_a_restore_refuses_what_is_wrong_and_keeps_what_was_there(alone: Operator, tmp_path: Path) -> None:
    alone.types(BACKUP)
    copy = alone.backups / "brickyard.db"
    later = alone.volume("later")
    assert "stop it" in alone.types(f"brickyard db restore {copy}", code=1)
    alone.service.end(signal.SIGKILL)  # what it wrote last is in the -wal still
    (tmp_path / "text").write_text("not a database" * 1000)
    damaged = bytearray(copy.read_bytes())
    damaged[4096 * 3 : 4096 * 9] = os.urandom(4096 * 6)
    (tmp_path / "damaged").write_bytes(damaged)
    for name, words in (("text", "not a database"), ("damaged", "damaged"), ("absent", "no file")):
        assert words in alone.types(f"brickyard db restore {tmp_path / name}", code=1)
    assert not list(alone.service.state.glob("*replaced*"))
    alone.types(RESTORE)
    [kept] = alone.service.state.glob("brickyard.db.replaced-*")
    alone.types("systemctl start brickyard\ntrue")
    assert alone.status("volume", later) == "404"
    alone.types(f"systemctl stop brickyard\nbrickyard db restore {kept}")
    assert len(list(alone.service.state.glob("brickyard.db.replaced-*"))) == 2
    alone.types("systemctl start brickyard\ntrue")
    assert alone.status("volume", later) == "available"


def test_of_a_server_the_commands_name_its_own_tools(tmp_path: Path) -> None:
    config = tmp_path / "brickyard.conf"
    config.write_text("[database]\nconnection = postgresql+psycopg://nobody@nowhere/brickyard\n")
    command = [sys.executable, "-m", "brickyard", "db", "backup", "--config-file", str(config)]
    done = subprocess.run(
        [*command, "--state-dir", str(tmp_path), str(tmp_path / "copy")], capture_output=True, text=True
    )
    assert done.returncode == 1 and "pg_dump" in done.stderr
    assert not (tmp_path / "copy").exists()
    shutil.rmtree(tmp_path / "bricks")
