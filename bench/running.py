"""A real `brickyard serve` in a directory of its own, on a free port of loopback, and a client for it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

READY_S = 30.0
VERSION = "volume 3.67"
CONFIGURATION = """
[DEFAULT]
enabled_backends = raw,qcow2
quota_volumes = -1
quota_gigabytes = -1
[raw]
volume_driver = raw
max_over_subscription_ratio = 1000
[qcow2]
volume_driver = qcow2
max_over_subscription_ratio = 1000
[host]
hypervisor = none
"""


class Service:
    """`ready_s` is the time from the start of the process to its first answer."""

    def __init__(self, directory: pathlib.Path, more: str = "") -> None:
        self.directory = directory
        self.port = _free_port()
        configuration = directory / "brickyard.ini"
        configuration.write_text(CONFIGURATION + more)
        where = ["--state-dir", str(directory / "state"), "--config-file", str(configuration)]
        command = [str(pathlib.Path(sys.executable).with_name("brickyard")), "serve", *where, "--port", str(self.port)]
        with (directory / "out").open("wb") as out, (directory / "err").open("ab") as err:
            started = time.perf_counter()
            self.process = subprocess.Popen(command, stdout=out, stderr=err)
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            self.ready_s = self._wait(started)
        except BaseException:  # nobody else knows the process yet
            self.stop()
            raise

    def _wait(self, started: float) -> float:
        while time.perf_counter() < started + READY_S and self.process.poll() is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            try:
                connection.request("GET", "/v3/volumes")
                if connection.getresponse().status == 200:
                    return time.perf_counter() - started
            except OSError:
                time.sleep(0.005)
            finally:
                connection.close()
        raise SystemExit(f"the service did not start:\n{(self.directory / 'err').read_text()[-2000:]}")

    def ask(self, method: str, path: str, body: Any = None, *, expect: int) -> Any:
        """One request on a connection that stays open; any other status than `expect` ends the benchmark."""
        headers = {"OpenStack-API-Version": VERSION, "Content-Type": "application/json"}
        self._connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != expect:
            raise SystemExit(f"{method} {path} answered {answer.status}, and not {expect}: {content[:500]!r}")
        return json.loads(content) if content else None

    def resident_mb(self) -> float:
        """Resident memory of the service and of everything it has started."""
        return sum(_resident_kb(pid) for pid in _tree(self.process.pid)) / 1000

    def stop(self) -> None:
        self._connection.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@contextlib.contextmanager
def service(directory: pathlib.Path, more: str = "") -> Iterator[Service]:
    """A service that is stopped when the block ends, however it ends; `more` is added to its configuration."""
    made = Service(directory, more)
    try:
        yield made
    finally:
        made.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tree(pid: int) -> list[int]:
    found = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += _tree(int(child))
    return found


def _resident_kb(pid: int) -> float:
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1000
