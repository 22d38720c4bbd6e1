"""A control plane and the agents of several hosts, each a process of its own, with a broker between them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from tests import ports, rabbit

WAIT_S = 120.0
ROOT = Path(__file__).resolve().parents[2]
SERVE = """\
[DEFAULT]
host = control
transport_url = {url}
report_interval = 1
service_down_time = 5
rpc_response_timeout = 30
flow_lease = 4
quota_volumes = 100
[agents]
management_url = {management}
embedded_node = false
[host]
hypervisor = none
{more}"""
NODE = """\
[DEFAULT]
enabled_backends = fast,bulk
report_interval = 1
[host]
hypervisor = memory
vcpus = 8
memory_mib = 8192
labels = zone=nova,rack=r1
[fast]
volume_driver = raw
[bulk]
volume_driver = qcow2
"""


def until(true: Callable[[], Any], what: str, timeout_s: float = WAIT_S) -> Any:
    """Poll until `true()` is; its value."""
    deadline = time.monotonic() + timeout_s
    while not (value := true()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.05)
    return value


class Process:
    """`brickyard WORDS` in a directory of its own."""

    def __init__(self, directory: Path, config: str, *words: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory, self.words, self.state = directory, words, directory / "state"
        self.config, self.log, self.out = directory / "brickyard.conf", directory / "log", directory / "out"
        self.held = directory / "held"  # while it is there, no brick is made or deleted
        self.config.write_text(config)
        self.sources: Path | None = None  # of another release than this one
        self.process: subprocess.Popen[bytes] | None = None

    def _environ(self) -> dict[str, str]:
        path = ":".join(str(one) for one in (self.sources, ROOT) if one)
        return {**os.environ, "PYTHONPATH": path, "BRICKYARD_TEST_HOLD": str(self.held)}

    def where(self) -> list[str]:
        return ["--state-dir", str(self.state), "--config-file", str(self.config)]

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.agents.held", *self.words, *self.where()]
        with self.log.open("ab") as log, self.out.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=log, env=self._environ())
        until(lambda: self.out.read_text() or self.ended(), f"{self.words} starts")
        assert not self.ended(), self.log.read_text()[-4000:]

    def hold(self) -> None:
        """From here, whoever makes or removes a file of a brick waits in the middle, until `go_on`."""
        self.held.mkdir()

    def waits(self) -> bool:
        return any(self.held.iterdir())

    def go_on(self) -> None:
        if self.held.is_dir():
            shutil.rmtree(self.held.rename(self.held.with_name("let-go")))

    def ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def kill(self, signum: int = signal.SIGKILL) -> int:
        assert self.process is not None
        self.process.send_signal(signum)
        return self.process.wait(WAIT_S)

    def run(self, *words: str, code: int = 0) -> str:
        """A command beside the process; what it says."""
        command = [sys.executable, "-m", "brickyard", *words]
        environ = self._environ()
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, env=environ)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def logged(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


class Api:
    """What tests ask a service for."""

    http: httpx.Client

    def get(self, path: str) -> Any:
        return self.http.get(path).raise_for_status().json()

    def post(self, path: str, body: Any, status: int) -> Any:
        answer = self.http.post(path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def enroll(self, host: str) -> str:
        return str(self.post("/v1/agents", {"host": host}, 201)["token"])

    def volume(self, size_gib: int = 1, **more: Any) -> str:
        return str(self.post("/v3/volumes", {"volume": {"size": size_gib, **more}}, 202)["volume"]["id"])

    def shown(self, id: str) -> Any:
        answer = self.http.get(f"/v3/volumes/{id}")
        return answer.json()["volume"] if answer.status_code == 200 else None

    def host_of(self, id: str) -> str:
        return str(self.shown(id)["os-vol-host-attr:host"]).partition("@")[0]

    def status(self, id: str) -> str:
        found = self.shown(id)
        return str(found["status"]) if found else "gone"

    def becomes(self, id: str, status: str) -> None:
        try:
            until(lambda: self.status(id) not in ("creating", "deleting", "extending"), f"{id} is settled")
            assert self.status(id) == status
        except AssertionError as error:
            error.add_note(json.dumps(self.get(f"/v1/flows?resource_id={id}"), indent=1))
            raise

    def delete(self, *ids: str) -> None:
        for id in ids:
            assert self.http.delete(f"/v3/volumes/{id}").status_code == 202
        for id in ids:
            until(lambda id=id: self.status(id) == "gone", f"{id} is gone")

    def hosts_up(self) -> set[str]:
        return {host["name"] for host in self.get("/v1/hosts")["hosts"] if host["up"]}

    def picture(self) -> None:
        """From here volumes are placed by what `hosts_up` says now."""
        self.get("/v3/scheduler-stats/get_pools")

    def flow_of(self, id: str, name: str) -> Any:
        found = self.get(f"/v1/flows?resource_id={id}")["flows"]
        return next((flow for flow in found if flow["name"] == name), None)


class Control(Process, Api):
    """What answers requests: `serve`, or `api` with conductors beside it."""

    def __init__(self, directory: Path, broker: rabbit.Rabbit, role: str = "serve", more: str = "") -> None:
        self.port = ports.one()
        config = SERVE.format(url=broker.url(), management=broker.management_url, more=more)
        super().__init__(directory, config, role, "--port", str(self.port))
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.url, timeout=70, headers={"OpenStack-API-Version": "volume 3.60"})


class Host(Process):
    """The agent of one host; `enroll` it first."""

    def __init__(self, directory: Path, name: str, config: str = NODE) -> None:
        super().__init__(directory / name, config, "node")
        self.name = name

    def enroll(self, control: Control) -> None:
        self.run("node", "enroll", *self.where(), control.url, control.enroll(self.name))

    def litter(self) -> list[str]:
        """The files of all bricks."""
        found = [path.name for path in (self.state / "bricks").glob("*/*") if not path.name.startswith(".")]
        return sorted(name for name in found if "@" not in name)


class Site(NamedTuple):
    control: Control
    h1: Host
    h2: Host

    def host(self, name: str) -> Host:
        return {"h1": self.h1, "h2": self.h2}[name]


@contextlib.contextmanager
def running(site: Site) -> Iterator[Site]:
    """Its processes, with both hosts enrolled, until the block ends."""
    site.control.start()
    try:
        for host in (site.h1, site.h2):
            host.enroll(site.control)
            host.start()
        yield site
    finally:
        for process in reversed(site):
            process.go_on()
            if not process.ended():
                process.kill(signal.SIGTERM)
        site.control.http.close()
