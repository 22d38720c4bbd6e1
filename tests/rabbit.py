"""A RabbitMQ of the tests' own: started for them and stopped after, on loopback ports and in a directory of its own.

It has its own cookie and its own epmd, so that it meets no other one on the machine. Starting it takes seconds: there
is one for all tests of a process.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import psutil
from tests import certificates, ports
from tests.engines import as_user

from brickyard.core.settings import Broker, Tls

START_S = 90.0
STOP_S = 120.0
USER, PASSWORD = "brickyard", "of:the/tests@"
PROGRAM = "/usr/lib/rabbitmq/bin/rabbitmq-server"
CONFIG = """\
listeners.tcp.1 = 127.0.0.1:{amqp}
listeners.ssl.1 = 127.0.0.1:{amqps}
ssl_options.cacertfile = {room}/tls/ca.pem
ssl_options.certfile = {room}/tls/server.pem
ssl_options.keyfile = {room}/tls/server.key
ssl_options.verify = verify_none
management.tcp.ip = 127.0.0.1
management.tcp.port = {http}
default_user = {user}
default_pass = {password}
disk_free_limit.absolute = 10MB
log.file = {room}/log/rabbit.log
log.file.level = warning
"""


def quoted() -> str:
    """The password as it stands in a URL."""
    return quote(PASSWORD, safe="")


class Rabbit:
    """One broker; `restart` keeps what is durable."""

    def __init__(self, room: Path) -> None:
        self.room = room
        self.amqp, self.amqps, self.http, self.dist, self.epmd = ports.free(5)
        self.ca = room / "tls" / "ca.pem"
        for name in ("tls", "log", "mnesia"):
            (room / name).mkdir()
        certificates.make(room / "tls", "127.0.0.1")
        used = {"amqp": self.amqp, "amqps": self.amqps, "http": self.http}
        (room / "rabbitmq.conf").write_text(CONFIG.format(room=room, user=USER, password=PASSWORD, **used))
        (room / "plugins").write_text("[rabbitmq_management].\n")
        (room / ".erlang.cookie").write_text(os.urandom(16).hex())
        (room / ".erlang.cookie").chmod(0o400)
        if os.geteuid() == 0:
            for path in (room, *room.rglob("*")):
                shutil.chown(path, "rabbitmq", "rabbitmq")
        self._epmd: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._server is not None
        return self._server.pid

    @property
    def management_url(self) -> str:
        return f"http://{USER}:{quoted()}@127.0.0.1:{self.http}"

    def url(self, *, tls: bool = False) -> str:
        return f"rabbit://{USER}:{quoted()}@127.0.0.1:{self.amqps if tls else self.amqp}/"

    def settings(self, user: str = USER, password: str = PASSWORD, *, tls: bool = False) -> Broker:
        server = f"127.0.0.1:{self.amqps if tls else self.amqp}"
        return Broker((server,), user, password, "/", Tls(str(self.ca)) if tls else None)

    def management(self) -> httpx.Client:
        url = f"http://127.0.0.1:{self.http}/api"
        return httpx.Client(base_url=url, auth=(USER, PASSWORD), timeout=30)

    def start(self) -> None:
        """Start it, unless it runs."""
        if self._server is not None:
            return
        if self._epmd is None:
            self._epmd = self._run("epmd", "-port", str(self.epmd), "-address", "127.0.0.1")
        self._server = self._run(PROGRAM)
        deadline = time.monotonic() + START_S
        while not self._answers():
            assert self._server.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def stop(self, signum: int = signal.SIGTERM) -> None:
        """The broker; its epmd stays until `close`."""
        server, self._server = self._server, None
        if server is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in [*psutil.Process(server.pid).children(recursive=True), psutil.Process(server.pid)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signum)
        try:
            server.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()

    def restart(self, signum: int = signal.SIGTERM) -> None:
        self.stop(signum)
        self.start()

    def close(self) -> None:
        self.stop()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()

    def log(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in sorted((self.room / "log").iterdir()))

    def queues(self) -> set[str]:
        with self.management() as http:
            return {str(found["name"]) for found in http.get("/queues/%2F").raise_for_status().json()}

    def empty(self, *kinds: str) -> None:
        """Delete every queue and exchange of ours, or only those."""
        with self.management() as http:
            for kind in kinds or ("queues", "exchanges"):
                for found in http.get(f"/{kind}/%2F").raise_for_status().json():
                    if found["name"].startswith("brickyard."):
                        http.delete(f"/{kind}/%2F/{found['name']}")

    def _run(self, *command: str) -> subprocess.Popen[bytes]:
        environ = {
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "LC_ALL": "C.UTF-8",
            "HOME": str(self.room),
            "ERL_EPMD_PORT": str(self.epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "brickyard@localhost",
            "RABBITMQ_DIST_PORT": str(self.dist),
            "RABBITMQ_CONFIG_FILE": str(self.room / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self.room / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.room / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.room / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.room / "log"),
            "RABBITMQ_PID_FILE": str(self.room / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none",
        }
        with open(self.room / "log" / "out", "ab") as out:
            return subprocess.Popen(
                as_user("rabbitmq", *command), stdout=out, stderr=out, env=environ, cwd="/", start_new_session=True
            )

    def _answers(self) -> bool:
        try:
            with self.management() as http:
                return http.get("/health/checks/alarms").status_code == 200
        except httpx.TransportError:
            return False


def server() -> Rabbit:
    """The broker of this process; a test that stops it starts it again."""
    return _server()


@functools.cache
def _server() -> Rabbit:
    closing = contextlib.ExitStack()
    atexit.register(closing.close)
    return closing.enter_context(_running())


@contextlib.contextmanager
def _running() -> Iterator[Rabbit]:
    with tempfile.TemporaryDirectory(prefix="brickyard-mq-", dir="/dev/shm") as name:
        made = Rabbit(Path(name))
        try:
            made.start()
            yield made
        finally:
            made.close()
