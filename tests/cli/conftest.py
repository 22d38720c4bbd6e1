"""A real service with a simulated hypervisor, and the real command that talks to it."""

from __future__ import annotations

import signal
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from rig import CONFIG, Command, serve


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("service")
    with (directory / "log").open("wb") as log:
        process, url = serve(directory, CONFIG, log)
        try:
            with urllib.request.urlopen(f"{url}/healthcheck") as answer:
                assert answer.read() == b"OK"
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
            process.stdout.close()


@pytest.fixture
def brickyard(service: str) -> Command:
    return Command(service)


@pytest.fixture(scope="session")
def ready(service: str, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """A service with the flavor `small` and the image `tiny`."""
    command, directory = Command(service), tmp_path_factory.mktemp("files")
    (directory / "kernel").write_bytes(b"kernel" * 1000)
    (directory / "initrd").write_bytes(b"initrd" * 1000)
    command("flavor", "create", "small", "--vcpus", "1", "--memory", "64")
    files = ("--kernel", str(directory / "kernel"), "--initrd", str(directory / "initrd"))
    command("image", "create", "tiny", *files, "--cmdline", "console=ttyS0")
    return command
