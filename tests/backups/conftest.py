"""Places for backups: a directory, and a bucket of a server that speaks S3, in a process of its own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests import ports

from brickyard.backups import places, s3
from brickyard.core import settings

START_S = 60


@contextlib.contextmanager
def s3_server(log: Path) -> Iterator[str]:
    """The URL of a server that speaks S3 and forgets everything when it ends."""
    port = ports.one()
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as file:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + START_S
        while True:
            with contextlib.suppress(httpx.HTTPError):
                httpx.get(url)
                break
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield url
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def s3_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3") / "log") as url:
        yield url


def bucket(url: str, name: str = "volumebackups") -> s3.Bucket:
    return s3.Bucket(settings.S3(name, endpoint_url=url, access_key="key", secret_key="secret", timeout_s=10))


@pytest.fixture
def directory(tmp_path: Path) -> places.Place:
    found = places.Directory(tmp_path / "kept")
    found.check()
    return found


@pytest.fixture(params=["directory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> places.Place:
    if request.param == "directory":
        return request.getfixturevalue("directory")
    found = bucket(request.getfixturevalue("s3_url"), f"b-{tmp_path.name.lower().replace('_', '-')[:50]}")
    found.check()
    return found
