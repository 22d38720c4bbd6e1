"""The units in deploy/systemd are what systemd takes, and what they start tells it when it answers."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests import ports

from .test_serve import READY_S

pytestmark = pytest.mark.slow
UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
UNIT = UNITS / "brickyard.service"
INSTALLED = "/opt/brickyard/current/bin/brickyard"
HERE = str(Path(sys.executable).with_name("brickyard"))
EXPOSURE_TENTHS_MAX = {"user": 36, "root": 71}  # of 100, as systemd counts it: a ratchet


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze here: it comes with the package systemd")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def option(name: str) -> str:
    found = configparser.RawConfigParser(strict=False)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read(UNIT)
    return found["Service"][name]


@pytest.fixture(params=["user", "root"])
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The unit with a command that is there; as it is, and with the drop-in of `scripts/install --root`."""
    made = tmp_path / request.param / "brickyard.service"
    made.parent.mkdir()
    made.write_text(UNIT.read_text().replace(INSTALLED, HERE))
    if request.param == "root":
        (made.parent / "brickyard.service.d").mkdir()
        shutil.copy(UNITS / "root.conf", made.parent / "brickyard.service.d")
    return made


def test_systemd_takes_the_unit_without_a_word(unit: Path) -> None:
    done = analyze("verify", "--man=no", str(unit))
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_leaves_little_to_a_stranger(unit: Path) -> None:
    threshold = EXPOSURE_TENTHS_MAX[unit.parent.name]
    done = analyze("security", "--offline=true", "--no-pager", f"--threshold={threshold}", str(unit))
    assert done.returncode == 0, done.stdout[-400:] + done.stderr


@pytest.mark.parametrize("role", ["node", "api", "conductor"])
def test_each_role_runs_as_the_service_does(role: str) -> None:
    def settings(name: str) -> list[str]:
        lines = (UNITS / name).read_text().splitlines()
        return [line for line in lines if not line.startswith(("#", "Description=", "ExecStart="))]

    unit = f"brickyard-{role}.service"
    assert settings(unit) == settings("brickyard.service")
    assert f"ExecStart={INSTALLED} {role}\n" in (UNITS / unit).read_text()


def test_guests_and_the_marks_of_what_they_have_open_outlive_a_restart() -> None:
    assert option("KillMode") == "process"
    assert option("OOMPolicy") == "continue"
    assert (option("RuntimeDirectory"), option("RuntimeDirectoryPreserve")) == ("brickyard", "yes")


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """What systemd listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.settimeout(READY_S * 2)
        yield made


def test_the_command_of_the_unit_says_when_it_answers_and_when_it_ends(tmp_path: Path, manager: socket.socket) -> None:
    port = ports.one()
    (tmp_path / "brickyard.conf").write_text(
        f"[DEFAULT]\nosapi_volume_listen_port = {port}\n[host]\nhypervisor = none\n"
    )
    places = {"/var/lib/brickyard": tmp_path / "state", "/etc/brickyard": tmp_path, INSTALLED: HERE}

    def ours(text: str) -> list[str]:
        return shlex.split(re.sub("|".join(map(re.escape, places)), lambda match: str(places[match[0]]), text))

    environ = dict(pair.split("=", 1) for pair in ours(option("Environment")))
    environ |= {"NOTIFY_SOCKET": str(tmp_path / "notify"), "PATH": os.environ["PATH"]}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(ours(option("ExecStart")), env=environ, stdout=subprocess.DEVNULL, stderr=log)
    try:
        ready = manager.recv(4096).decode().splitlines()
        assert ready == ["READY=1", f"STATUS=answers on http://127.0.0.1:{port}"]
        assert httpx.get(f"http://127.0.0.1:{port}/healthcheck", timeout=60).text == "OK"
        assert (tmp_path / "state" / "brickyard.db").exists()
        process.send_signal(signal.SIGTERM)
        assert manager.recv(4096) == b"STOPPING=1"
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_a_manager_that_does_not_listen_stops_nothing(tmp_path: Path) -> None:
    for address in (str(tmp_path / "nobody"), "@nobody-listens-here", "nonsense"):
        code = "import logging; from brickyard.daemons import notify; notify.tell('READY=1')"
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "NOTIFY_SOCKET": address}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
