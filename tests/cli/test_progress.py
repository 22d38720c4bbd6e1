"""The bar of a long step, on a terminal and only there. The copy goes on when the bar has been seen."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import socketserver
import struct
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref import simple_server

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import rig

import world
from brickyard.api import app
from brickyard.brick import faults, steps
from brickyard.flows import conductor

CHUNKS = 4
PATIENCE_S = 120.0  # some commands are started while a copy waits
MIB = 1024 * 1024


class Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = True


class Quiet(simple_server.WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def gate() -> Iterator[threading.Semaphore]:
    """How many chunks may be copied."""
    made = threading.Semaphore(1)

    def wait(point: str) -> None:
        if point == "copying":
            assert made.acquire(timeout=PATIENCE_S), "nobody saw the progress"

    with faults.installed(wait):
        yield made


@pytest.fixture
def site(tmp_path: Path, gate: threading.Semaphore, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a site in this process, where nothing is shared and every copy is one; with the image `big`."""
    monkeypatch.setattr(conductor, "POLL_S", 0.02)
    monkeypatch.setattr(steps, "can_share", lambda directory: False)
    with world.running(tmp_path) as (made, _):
        server = simple_server.make_server("127.0.0.1", 0, app.create_app(made), Server, Quiet)
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            for _ in range(CHUNKS):
                gate.release()
            server.shutdown()
            server.server_close()
            serving.join()


@pytest.fixture
def big(site: str, tmp_path: Path) -> rig.Command:
    command = rig.Command(site)
    (tmp_path / "disk").write_bytes(b"d" * CHUNKS * steps.COPY_BYTES)
    command("image", "create", "big", "--disk", str(tmp_path / "disk"), "--format", "raw")
    command("flavor", "create", "rooty", "--vcpus", "1", "--memory", "64", "--root", "1")
    return command


class Terminal:
    """A command on a terminal of so many columns, and what it has shown by now, without colours."""

    def __init__(self, command: rig.Command, columns: int, *words: str) -> None:
        self.shown = ""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            environ = {**os.environ, "BRICKYARD_URL": command.url, "LC_ALL": "C.UTF-8", "TERM": "xterm"}
            os.execve(rig.BRICKYARD, [rig.BRICKYARD, *words], environ | {"COLUMNS": str(columns)})
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))

    def until(self, pattern: str | None) -> str:
        """Read until something is shown, or to the end; what was shown since the last time."""
        since, deadline, raw = len(self.shown), time.monotonic() + PATIENCE_S, b""
        before = self.shown
        while pattern is None or not re.search(pattern, self.shown[since:]):
            ready, _, _ = select.select([self.terminal], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{pattern} was not shown: {self.shown[since:]}"
            part = b""
            with contextlib.suppress(OSError):  # the other side has closed it
                part = os.read(self.terminal, 65536)
            if not part:
                assert pattern is None, f"{pattern} was not shown: {self.shown[since:]}"
                os.close(self.terminal)
                os.waitpid(self.pid, 0)
                break
            raw += part
            self.shown = before + rig.ESCAPES.sub("", raw.decode(errors="ignore"))
        return self.shown[since:]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_boot_on_a_terminal_shows_a_bar(big: rig.Command, gate: threading.Semaphore, columns: int) -> None:
    terminal = Terminal(big, columns, "boot", "--flavor", "rooty", "--image", "big", "one")
    for percent in (25, 50, 75):
        frame = terminal.until(rf"creating volumes ━.*{percent}%.*{percent * CHUNKS * 16 // 100}\.0/64\.0 MiB")
        assert max(len(line) for line in re.split("[\r\n]", frame)) <= columns
        gate.release()
    shown = terminal.until(None)
    assert "✓ volumes created on h1@raw#raw" in shown
    assert "active" in shown


def test_the_flow_shows_its_bar_to_who_asks(big: rig.Command, gate: threading.Semaphore) -> None:
    flow = big("boot", "--no-wait", "--flavor", "rooty", "--image", "big", "one", "-f", "json").json["flow_id"]
    with httpx.Client(base_url=big.url, timeout=60) as http:
        deadline = time.monotonic() + PATIENCE_S
        while not http.get(f"/v1/flows/{flow}").json()["progress"]:
            assert time.monotonic() < deadline
    shown = Terminal(big, 100, "flow", "show", flow).until(None)
    assert re.search(r"25 %, 16\.0 MiB of 64\.0 MiB of root-", shown)
    assert "━━━━━━━━━━━━" in shown
    assert "25 %" in Terminal(big, 130, "flow", "list").until(None)
    piped = big.really("flow", "show", flow).out
    assert "25 %, 16.0 MiB" in piped
    assert "━" not in piped
    for _ in range(CHUNKS):
        gate.release()
    assert "boot_instance is done" in Terminal(big, 80, "flow", "watch", flow).until(None)
    assert "25 %" not in big("flow", "show", flow).out


def test_without_a_terminal_there_is_no_bar(big: rig.Command, gate: threading.Semaphore) -> None:
    for _ in range(CHUNKS):
        gate.release()
    for form in ("table", "json"):
        ended = big.really("-f", form, "boot", "--flavor", "rooty", "--image", "big", form)
        for _ in range(CHUNKS):
            gate.release()
        for written in (ended.out, ended.err):
            assert "━" not in written
            assert "\r" not in written
            assert "\x1b" not in written
        big("instance", "delete", form)
