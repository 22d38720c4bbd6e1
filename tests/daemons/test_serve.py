"""The life of a service, for real: a process, a port, a directory, and the signals that end it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests import ports

from brickyard.db import database, flows, migrate, tokens

pytestmark = pytest.mark.slow
READY_S = 120.0  # a bound for a busy machine; the benchmark holds the real one


class Service:
    def __init__(self, directory: Path) -> None:
        self.state, self.port = directory / "state", ports.one()
        self.out, self.err = directory / "out", directory / "err"
        self.config = directory / "brickyard.ini"
        self.config.write_text("[DEFAULT]\n[host]\nhypervisor = none\n")
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *arguments: str) -> list[str]:
        where = ["--state-dir", str(self.state), "--config-file", str(self.config)]
        return [sys.executable, "-m", "brickyard", *arguments, *where]

    def start(self) -> None:
        with self.out.open("wb") as out, self.err.open("ab") as err:
            self.process = subprocess.Popen(self.command("serve", "--port", str(self.port)), stdout=out, stderr=err)
        until(lambda: "client" in self.out.read_text() or self.process.poll() is not None, READY_S)  # type: ignore[union-attr]
        assert self.process.poll() is None, self.err.read_text()

    def end(self, signum: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(signum)
        return self.process.wait(READY_S)

    def log(self) -> list[dict[str, Any]]:
        """What is whole by now: the service may be writing the last line at this moment."""
        whole, _, _ = self.err.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]


def until(true: Callable[[], object], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


def test_it_serves_and_says_where_and_how(service: Service) -> None:
    service.start()
    assert httpx.get(f"{service.url}/v3/volumes", timeout=READY_S).json() == {"volumes": []}
    said = service.out.read_text()
    for words in (service.url, str(service.state), "token", "openstack --os-auth-type none"):
        assert words in said
    assert service.end() == 0


def test_sigterm_and_sigint_end_it_well_and_it_starts_again(service: Service) -> None:
    for signum in (signal.SIGTERM, signal.SIGINT):
        service.start()
        assert service.end(signum) == 0
        assert service.log()[-1]["message"] == "stopped"
    assert not [line for line in service.log() if line["level"] in ("error", "critical")]


def test_every_line_of_the_log_is_json(service: Service) -> None:
    service.start()
    httpx.get(f"{service.url}/v3/volumes", timeout=READY_S)
    service.end()
    for line in service.log():
        assert {"time", "level", "logger", "message"} <= line.keys()


def test_a_second_service_in_the_directory_is_refused(service: Service) -> None:
    service.start()
    second = subprocess.run(service.command("serve", "--port", str(ports.one())), capture_output=True, text=True)
    assert second.returncode == 1
    assert str(service.process.pid) in second.stderr and "--state-dir" in second.stderr  # type: ignore[union-attr]
    assert httpx.get(f"{service.url}/v3/volumes", timeout=READY_S).status_code == 200


def test_a_port_that_is_taken_is_refused(service: Service, tmp_path: Path) -> None:
    service.start()
    other = ["--state-dir", str(tmp_path / "other"), "--port", str(service.port)]
    second = subprocess.run(
        [sys.executable, "-m", "brickyard", "serve", *other], capture_output=True, text=True, timeout=READY_S
    )
    assert second.returncode == 1
    assert "--port" in second.stderr and str(service.port) in second.stderr


def test_a_mistake_in_the_configuration_is_one_line(service: Service) -> None:
    service.config.write_text("[DEFAULT]\nenabled_backends = a\n[a]\nvolume_driver = acme\n")
    done = subprocess.run(service.command("serve"), capture_output=True, text=True)
    assert done.returncode == 1
    assert "acme" in done.stderr and "Traceback" not in done.stderr


def test_a_broken_backend_is_down_and_the_others_serve(service: Service) -> None:
    service.config.write_text(
        "[DEFAULT]\nenabled_backends = good,bad\n[good]\n[bad]\npath = /nowhere/at/all\n[host]\nhypervisor = none\n"
    )
    service.start()
    db = database.Database(database.sqlite_url(service.state / "brickyard.db"))
    with db.read() as tx:
        rows = dict(
            tx.exec_driver_sql("SELECT driver || substr(name, instr(name, '@')), up FROM volume_backends").all()
        )
        [why] = tx.exec_driver_sql("SELECT why_down FROM volume_backends WHERE NOT up").scalars()
    db.close()
    assert rows == {"raw@good": 1, "raw@bad": 0}
    assert "/nowhere/at/all" in why


def test_after_kill_9_it_starts_again_and_takes_up_the_flows(service: Service) -> None:
    service.start()
    assert service.end(signal.SIGKILL) == -signal.SIGKILL
    db = database.Database(database.sqlite_url(service.state / "brickyard.db"))
    id = str(uuid.uuid4())
    with db.begin() as tx:  # a flow that a conductor held when it was killed; nobody knows it, so it can only fail
        flows.insert(
            tx, id=id, name="delete_volume", params={"volume_id": id}, project_id="p", resource_id=id, request_id=None
        )
        flows.claim(tx, id, "a conductor that is dead", 3600)
    service.start()

    def is_taken_up() -> bool:
        with db.read() as tx:
            row = flows.find(tx, id)
        return row is None or row.status not in flows.OPEN or row.owner != "a conductor that is dead"

    until(is_taken_up, READY_S)
    db.close()
    assert any("resumed" in line["message"] for line in service.log())


def test_what_was_acknowledged_survives_kill_9(service: Service) -> None:
    """Volumes that were asked for just before the kill are there afterwards, and come to an end of their creation."""
    service.start()
    asked = []
    with contextlib.suppress(httpx.TransportError), httpx.Client(timeout=READY_S) as client:
        for _ in range(8):
            answer = client.post(f"{service.url}/v3/volumes", json={"volume": {"size": 1}})
            asked.append(answer.json()["volume"]["id"])
    service.end(signal.SIGKILL)
    service.start()
    statuses = {}

    def are_over() -> bool:
        for id in asked:
            shown = httpx.get(f"{service.url}/v3/volumes/{id}", timeout=READY_S).json()
            statuses[id] = shown["volume"]["status"]
        return "creating" not in statuses.values()

    until(are_over, READY_S)
    assert set(statuses.values()) == {"available"} and len(statuses) == 8
    files = [file.name for file in (service.state / "bricks" / "local").iterdir() if not file.name.startswith(".")]
    assert sorted(files) == sorted(f"volume-{id}" for id in asked)


def test_a_pool_that_was_made_through_the_api_is_there_after_a_restart(service: Service, tmp_path: Path) -> None:
    service.start()
    made = httpx.post(
        f"{service.url}/v1/pools",
        json={"host": socket.gethostname(), "name": "extra", "driver": "qcow2", "path": str(tmp_path / "extra")},
        timeout=READY_S,
    )
    assert made.status_code == 201, made.text
    service.end()
    service.start()
    pool = httpx.get(f"{service.url}/v1/pools/{made.json()['id']}", timeout=READY_S).json()
    assert (pool["up"], pool["from_api"], pool["driver"], pool["path"]) == (
        True,
        True,
        "qcow2",
        str(tmp_path / "extra"),
    )
    twice = {"host": socket.gethostname(), "name": "other", "driver": "raw", "path": str(tmp_path / "extra")}
    assert httpx.post(f"{service.url}/v1/pools", json=twice, timeout=READY_S).status_code in (400, 409)


def test_requests_that_run_are_answered_before_it_ends(service: Service) -> None:
    service.start()
    answers: list[int] = []

    def ask(client: httpx.Client) -> None:
        with contextlib.suppress(httpx.TransportError):
            while True:
                answers.append(client.get(f"{service.url}/v3/volumes/detail").status_code)

    with httpx.Client(timeout=READY_S) as client:
        threads = [threading.Thread(target=ask, args=(client,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: len(answers) > 40, READY_S)
        assert service.end() == 0
        for thread in threads:
            thread.join(READY_S)
    assert set(answers) == {200}


def test_a_connection_outlives_a_body_that_nobody_looked_at(service: Service) -> None:
    service.start()
    with httpx.Client(base_url=service.url, timeout=READY_S) as client:
        for _ in range(200):  # without reading it, about one of twelve of this size was cut off
            assert client.request("DELETE", f"/v3/volumes/{uuid.uuid4()}", content=bytes(60000)).status_code == 404
        assert client.post("/v3/nowhere", content=bytes(200000)).status_code == 404
        assert client.get("/healthcheck").status_code == 200


def test_tokens_are_made_listed_and_revoked_beside_a_running_service(service: Service) -> None:
    service.config.write_text("[DEFAULT]\nauth_strategy = token\n[host]\nhypervisor = none\n")
    service.start()

    def run(*arguments: str) -> str:
        return subprocess.run(service.command(*arguments), capture_output=True, text=True, check=True).stdout.strip()

    def status(token: str) -> int:
        headers = {"X-Auth-Token": token}
        return httpx.get(f"{service.url}/v3/volumes", headers=headers, timeout=READY_S).status_code

    token = run("token", "create", "--user", "u", "--project", "p", "--role", "member", "--expires", "1d")
    assert (status(token), status("wrong")) == (200, 401)
    assert "admin_token" in service.out.read_text()
    listed = run("token", "list")
    assert tokens.digest(token)[:12] in listed and token not in listed
    assert run("token", "revoke", tokens.digest(token)[:12]) == "revoked"
    assert status(token) == 401


def test_the_database_commands(service: Service) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(service.command(*arguments), capture_output=True, text=True)

    empty = run("db", "check")
    assert empty.returncode == 1 and "db upgrade" in empty.stderr
    assert run("db", "upgrade").stdout.strip() == f"revision {migrate.head()}, was empty"
    assert run("db", "upgrade").stdout.strip() == f"revision {migrate.head()}, as before"
    assert run("db", "check").returncode == 0


def test_the_state_directory_is_its_owners_alone(service: Service) -> None:
    service.start()
    for path in (service.state, service.state / "bricks", service.state / "images"):
        assert path.stat().st_mode & 0o077 == 0
    assert os.stat(service.state / "brickyard.db").st_size > 0
