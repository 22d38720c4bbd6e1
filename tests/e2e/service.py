"""A real `brickyard serve` with real guests, for tests that kill it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
from tests import ports

IMAGE = "tiny"
WAIT_S = 90.0
BUSY = ("building", "starting", "stopping", "deleting")
CONFIG = """\
[DEFAULT]
enabled_backends = fast,bulk,vault
[fast]
volume_driver = raw
[bulk]
volume_driver = qcow2
[vault]
volume_driver = vdi
"""


def until(true: Callable[[], Any], what: str, timeout_s: float = WAIT_S) -> Any:
    """Poll until `true()` is; its value."""
    deadline = time.monotonic() + timeout_s
    while not (value := true()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.1)
    return value


class Service:
    """One service on a loopback port of its own; `directory` holds all of it."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.state = directory, directory / "state"
        self.port = ports.one()
        self.config = directory / "brickyard.conf"
        self.config.write_text(CONFIG)
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.url, timeout=70)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "brickyard", "serve", "--port", str(self.port)]
        command += ["--state-dir", str(self.state), "--config-file", str(self.config)]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self._answers, "the service answers")

    def _answers(self) -> bool:
        assert self.process is not None and self.process.poll() is None, (self.directory / "log").read_text()
        try:
            return self.http.get("/healthcheck").status_code == 200
        except httpx.TransportError:
            return False

    def kill(self, signum: int = signal.SIGKILL) -> int:
        assert self.process is not None
        self.process.send_signal(signum)
        return self.process.wait(WAIT_S)

    def get(self, path: str) -> Any:
        return self.http.get(path).raise_for_status().json()

    def post(self, path: str, body: Any) -> Any:
        answer = self.http.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def prepare(self, tiny: Path) -> None:
        """A flavor and the tiny image."""
        self.post("/v1/flavors", {"name": "small", "vcpus": 1, "memory_mib": 96})
        cmdline = (tiny / "cmdline").read_text().strip()
        image = self.post("/v1/images", {"name": IMAGE, "kind": "kernel", "cmdline": cmdline})
        image = image.get("image", image)
        for role, file in (("kernel", "vmlinuz"), ("initrd", "initrd.img")):
            answer = self.http.put(f"/v1/images/{image['id']}/files/{role}", content=(tiny / file).read_bytes())
            assert answer.is_success, answer.text

    def boot(self, name: str, **values: Any) -> str:
        body = self.post("/v1/instances", {"name": name, "flavor": "small", "image": IMAGE, **values})
        return str(body.get("instance", body)["id"])

    def instance(self, id: str) -> Any:
        body = self.get(f"/v1/instances/{id}")
        return body.get("instance", body)

    def console(self, id: str) -> str:
        return self.http.get(f"/v1/instances/{id}/console").text

    def settled(self, id: str) -> Any:
        """The instance when nothing is being done to it any more."""
        return until(lambda: (i := self.instance(id))["status"] not in BUSY and i, "settled")

    def end_guest(self, id: str) -> None:
        """The guest's process ends by itself."""
        os.kill(int((self.state / "guests" / id / "pid").read_text()), signal.SIGKILL)

    @contextlib.contextmanager
    def serving(self, tiny: Path) -> Iterator[Service]:
        """Started, with a flavor and the tiny image. At the end it must be possible to delete every instance and to end
        the service in peace; whether it is or not, nothing runs on."""
        try:
            self.start()
            self.prepare(tiny)
            yield self
            if self.process is None or self.process.poll() is not None:
                self.start()
            for instance in self.get("/v1/instances")["instances"]:
                self.http.delete(f"/v1/instances/{instance['id']}")
            until(lambda: not self.guests(), "every guest has ended")
            assert self.kill(signal.SIGTERM) == 0
        finally:
            self.end()

    def end(self) -> None:
        """End whatever runs of this service, at once."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        for guest in self._guests():
            with contextlib.suppress(psutil.NoSuchProcess):
                guest.kill()
        until(lambda: not self.guests(), "every guest was ended")
        self.http.close()

    def guests(self) -> list[str]:
        """The command lines of the QEMU processes of this service."""
        return [" ".join(process.info["cmdline"]) for process in self._guests()]

    def _guests(self) -> list[psutil.Process]:
        running = [process for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"]]
        mine = [process for process in running if str(self.state) in " ".join(process.info["cmdline"])]
        return [process for process in mine if "qemu-system" in process.info["cmdline"][0]]

    def bricks(self) -> list[str]:
        return sorted(p.name for p in (self.state / "bricks").rglob("*") if p.is_file() and p.name != ".lock")
