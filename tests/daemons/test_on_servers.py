"""A real service on a real database server, which is killed under it and comes back."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests import engines

from brickyard.db.database import Database

from .test_serve import Service, until

pytestmark = pytest.mark.slow


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> engines.Server:
    made = engines.server(request.param)
    db = Database(made.url)
    with db.begin() as tx:
        engines.forget_all(tx)
    db.close()
    return made


@pytest.fixture
def service(tmp_path: Path, server: engines.Server) -> Iterator[Service]:
    made = Service(tmp_path)
    url = server.url
    if url.startswith("postgresql"):  # two servers, of which the first one is not there
        url = url.replace("?host=", "?host=/nowhere,")
    made.config.write_text(f"[DEFAULT]\n[host]\nhypervisor = none\n[database]\nconnection = {url}\n")
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


def volume(service: Service) -> Any:
    answer = httpx.post(f"{service.url}/v3/volumes", json={"volume": {"size": 1}}, timeout=60)
    assert answer.status_code == 202, answer.text
    return answer.json()["volume"]["id"]


def status(service: Service, id: str) -> str:
    answer = httpx.get(f"{service.url}/v3/volumes/{id}", timeout=60)
    return answer.json()["volume"]["status"] if answer.status_code == 200 else str(answer.status_code)


def test_the_server_is_killed_and_comes_back(service: Service, server: engines.Server) -> None:
    service.start()
    first = volume(service)
    until(lambda: status(service, first) == "available", 60)
    server.stop(signal.SIGKILL)
    answer = httpx.post(f"{service.url}/v3/volumes", json={"volume": {"size": 1}}, timeout=60)
    assert answer.status_code == 503, answer.text
    assert "database" in answer.text
    server.start()
    until(lambda: status(service, first) == "available", 60)
    second = volume(service)
    until(lambda: status(service, second) == "available", 60)
    assert service.process is not None and service.process.poll() is None
    assert service.end() == 0, service.err.read_text()[-3000:]


def test_a_service_that_is_killed_resumes(service: Service) -> None:
    service.start()
    ids = [volume(service) for _ in range(5)]
    service.end(signal.SIGKILL)
    time.sleep(0.1)
    service.start()
    for id in ids:
        until(lambda id=id: status(service, id) == "available", 60)  # type: ignore[misc]


def test_a_second_service_on_the_database_is_refused(service: Service, tmp_path: Path) -> None:
    service.start()
    (tmp_path / "other").mkdir()
    other = Service(tmp_path / "other")
    other.config.write_text(service.config.read_text())
    done = subprocess.run(other.command("serve", "--port", str(other.port)), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Another service" in done.stderr and "Traceback" not in done.stderr


def test_a_server_that_is_not_there_is_told(service: Service, server: engines.Server) -> None:
    server.stop()
    done = subprocess.run(
        service.command("serve", "--port", str(service.port)), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "does not answer" in done.stderr and "Traceback" not in done.stderr
