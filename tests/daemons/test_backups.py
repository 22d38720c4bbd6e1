"""The service is killed while it makes or restores a backup, in a directory and in an object store: it goes on where
it was, and what comes back is what was kept, byte for byte."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests import ports
from tests.backups.conftest import bucket, s3_server

from brickyard.brick import content, registry

MIB = 1024 * 1024
WAIT_S = 120.0
DATA_MIB = 208  # random, so that it takes a while to store
CONFIG = """\
[DEFAULT]
enabled_backends = one
report_interval = 1
{backups}
[host]
hypervisor = none
[one]
volume_driver = {driver}
"""
S3 = """\
backup_driver = cinder.backup.drivers.s3.S3BackupDriver
backup_s3_endpoint_url = {url}
backup_s3_store_access_key = key
backup_s3_store_secret_key = secret
"""


def until(true: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + WAIT_S
    while not (value := true()):
        assert time.monotonic() < deadline, f"{what}: not within {WAIT_S} s"
        time.sleep(0.005)
    return value


class Service:
    """A process of `brickyard serve`; `stored` tells the names of the objects of a backup."""

    def __init__(self, directory: Path, driver: str, backups: str) -> None:
        self.directory, self.driver, self.state = directory, driver, directory / "state"
        port = ports.one()
        config = directory / "brickyard.conf"
        config.write_text(CONFIG.format(driver=driver, backups=backups))
        where = ["--state-dir", str(self.state), "--config-file", str(config)]
        self.command = [sys.executable, "-m", "brickyard", "serve", "--port", str(port), *where]
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{port}/v3", timeout=60, headers={"OpenStack-API-Version": "volume 3.67"}
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        until(self._answers, "the service answers")

    def keeps(self) -> bool:
        """Whether its place for backups was reached."""
        (service,) = self.http.get("/os-services?binary=cinder-backup").json()["services"]
        return bool(service["state"] == "up")

    def _answers(self) -> bool:
        assert self.process is not None and self.process.poll() is None, (self.directory / "log").read_text()
        try:
            return self.http.get("/volumes").status_code == 200
        except httpx.TransportError:
            return False

    def kill(self, signum: int = signal.SIGKILL) -> None:
        assert self.process is not None
        self.process.send_signal(signum)
        self.process.wait(WAIT_S)

    def post(self, path: str, body: Any) -> Any:
        answer = self.http.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def becomes(self, noun: str, id: str, status: str) -> Any:
        def looked() -> Any:
            found = self.http.get(f"/{noun}s/{id}").json()[noun]
            assert not found["status"].startswith("error"), found
            return found["status"] == status and found

        return until(looked, f"{noun} {id} is {status}")

    def volume(self) -> str:
        id = self.post("/volumes", {"volume": {"size": 1}})["volume"]["id"]
        return str(self.becomes("volume", id, "available")["id"])

    def content(self, id: str, **how: Any) -> Any:
        pool = registry.load(self.driver, {"path": str(self.state / "bricks" / "one")})
        return content.opened(pool, f"volume-{id}", **how)

    def fill(self, id: str, seed: int) -> None:
        dice = random.Random(seed)
        with self.content(id, writable=True) as opened:
            for at in range(0, DATA_MIB * MIB, 16 * MIB):
                opened.write(at + 3 * MIB, dice.randbytes(16 * MIB))
            opened.flush()

    def same(self, one_id: str, other_id: str) -> bool:
        with self.content(one_id) as one, self.content(other_id) as other:
            return all(one.read(at, 16 * MIB) == other.read(at, 16 * MIB) for at in range(0, 1024 * MIB, 16 * MIB))


@pytest.fixture(params=["raw-directory", "qcow2-s3"])
def service(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Service, Callable[[str], dict[str, int]]]]:
    """A service, and what tells the objects of a backup with something that changes when one is stored anew."""
    driver, _, kind = request.param.partition("-")
    if kind == "directory":
        with running(Service(tmp_path, driver, f"backup_posix_path = {tmp_path / 'kept'}")) as made:
            yield made, lambda id: {path.name: path.stat().st_mtime_ns for path in _files(tmp_path / "kept", id)}
        return
    with s3_server(tmp_path / "s3.log") as url, running(Service(tmp_path, driver, S3.format(url=url))) as made:
        place = bucket(url)
        yield made, lambda id: place.list(f"volumebackups/{id}/")


def _files(root: Path, id: str) -> list[Path]:
    directory = root / "volumebackups" / id
    return [p for p in directory.iterdir() if p.suffix != ".part"] if directory.is_dir() else []


@contextlib.contextmanager
def running(made: Service) -> Iterator[Service]:
    try:
        made.start()
        yield made
    finally:
        assert made.process is not None
        if made.process.poll() is None:
            made.kill()
        made.http.close()


def test_a_killed_service_goes_on_with_backup_and_restore(service: Any) -> None:
    made, stored = service
    source = made.volume()
    made.fill(source, seed=1)
    until(made.keeps, "backups can be kept")
    id = made.post("/backups", {"backup": {"volume_id": source}})["backup"]["id"]
    until(lambda: len(stored(id)) > 3, "some of it is stored")
    made.kill()
    before = stored(id)
    assert 3 < len(before) < DATA_MIB // 4  # it was in the middle
    made.start()
    kept = made.becomes("backup", id, "available")
    assert kept["object_count"] == DATA_MIB // 4 + 2  # chunks, one more since they are shifted, and the manifest
    after = stored(id)
    assert len(after) == kept["object_count"]
    assert {name: after[name] for name in before} == before  # nothing was stored twice
    made.becomes("volume", source, "available")

    target = made.volume()
    made.post(f"/backups/{id}/restore", {"restore": {"volume_id": target}})
    path = made.state / "bricks" / "one" / f"volume-{target}"
    until(lambda: path.stat().st_blocks * 512 > 40 * MIB, "some of it is restored")
    made.kill()
    assert path.stat().st_blocks * 512 < DATA_MIB * MIB
    made.start()
    made.becomes("volume", target, "available")
    made.becomes("backup", id, "available")
    assert made.same(source, target)
    made.http.delete(f"/backups/{id}")
    until(lambda: made.http.get(f"/backups/{id}").status_code == 404, "it is deleted")
    assert stored(id) == {}
    made.kill(signal.SIGTERM)


def test_a_backup_that_is_being_made_is_ended(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with running(Service(tmp_path, "raw", f"backup_posix_path = {kept}")) as made:
        source = made.volume()
        made.fill(source, seed=2)
        id = made.post("/backups", {"backup": {"volume_id": source}})["backup"]["id"]
        until(lambda: len(_files(kept, id)) > 2, "some of it is stored")
        answer = made.http.post(f"/backups/{id}/action", json={"os-force_delete": {}})
        assert answer.status_code == 202, answer.text
        until(lambda: made.http.get(f"/backups/{id}").status_code == 404, "it is gone")
        assert not (kept / "volumebackups" / id).exists()
        made.becomes("volume", source, "available")
        assert made.http.get("/backups").json() == {"backups": []}


def test_a_place_that_is_not_there_takes_the_service_down_and_nothing_else(tmp_path: Path) -> None:
    place = tmp_path / "mounted" / "kept"
    with running(Service(tmp_path, "raw", f"backup_posix_path = {place}")) as made:
        body = {"backup": {"volume_id": made.volume()}}
        assert not made.keeps()
        answer = made.http.post("/backups", json=body)
        assert answer.status_code == 503 and "backup_posix_path" in answer.text, answer.text
        place.parent.mkdir()
        until(lambda: made.http.post("/backups", json=body).status_code == 202, "it is up")
