"""The identity service of a cloud, for real, with projects and users; and a compute service that says what it is told.

Keystone and Glance are installed from a lock of their own by `scripts/openstack`, and run on loopback with SQLite.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import server
from pathlib import Path
from typing import Any

import httpx
from keystoneauth1 import loading, session
from keystoneclient.v3 import client

ROOT = Path(__file__).parents[2]
SERVE = Path(__file__).with_name("serve_keystone.py")
SERVE_IMAGES = Path(__file__).with_name("serve_glance.py")
PASSWORD = "secret"
READY_S = 120
LIFE_S = 3600  # of a token, where nothing is configured
CONFIG = """
[keystone_authtoken]
auth_url = {url}
auth_type = password
username = brickyard
password = secret
user_domain_id = default
project_name = service
project_domain_id = default
[DEFAULT]
image_service = glance
[nova]
region_name = RegionOne
"""


class Nova:
    """What a compute service is asked and told: which attachment a server uses, and what became of its volume.
    `uses`: server → id; `told`: the events, each with the microversion and the token."""

    def __init__(self) -> None:
        self.uses: dict[str, str] = {}
        self.asked: list[tuple[str, str, str]] = []
        self.told: list[tuple[dict[str, str], str, str]] = []
        self.status: int | None = None  # what it answers whatever it is asked
        self._server = server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v2.1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _handler(nova) -> type[server.BaseHTTPRequestHandler]:
        class Handler(server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                _, _, _, server_id, _, volume_id = self.path.split("/")
                version = self.headers["OpenStack-API-Version"]
                nova.asked.append((server_id, volume_id, version))
                used = nova.uses.get(server_id)
                body = {"volumeAttachment": {"volumeId": volume_id, "attachment_id": used}}
                self.send_response(nova.status or (200 if used else 404))
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def do_POST(self) -> None:
                assert self.path.endswith("/v2.1/os-server-external-events"), self.path
                [event] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["events"]
                nova.told.append((event, self.headers["OpenStack-API-Version"], self.headers["X-Auth-Token"]))
                self.send_response(nova.status or 200)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        return Handler

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Cloud:
    """A running Keystone; `projects` and `users` by name, each user with roles in one project, or on the system."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]
    nova: Nova
    image: str = ""  # URL of its image service
    projects: dict[str, str] = field(default_factory=dict)
    _tokens: dict[str, str] = field(default_factory=dict)
    users: dict[str, tuple[str, str | None]] = field(default_factory=dict)  # name → roles, project

    def admin(self) -> Any:
        return client.Client(session=self.session("admin", "admin"), interface="public")

    def session(self, user: str, project: str | None, **more: Any) -> session.Session:
        scope = (
            {"system_scope": "all"} if project is None else {"project_name": project, "project_domain_id": "default"}
        )
        options = {"auth_url": self.url, "username": user, "password": PASSWORD, "user_domain_id": "default", **scope}
        return session.Session(auth=loading.get_plugin_loader("password").load_from_options(**options, **more))

    def token(self, user: str) -> str:
        """A token of a user."""
        if user not in self._tokens:
            self._tokens[user] = str(self.session(user, self.users[user][1]).get_token())
        return self._tokens[user]

    def brief_token(self, user: str, life_s: int) -> str:
        """A new token of a user that is good for so many seconds, by the option that says so."""
        config = self.log.with_name("keystone") / "keystone.conf"
        before = config.read_text()
        try:
            token = self._issued(config, f"{before}[token]\nexpiration = {life_s}\n", user, life_s)
        finally:
            self._issued(config, before, user, LIFE_S)
        return token

    def _issued(self, config: Path, text: str, user: str, life_s: int) -> str:
        """Let Keystone read another configuration; a token that it gives out when it has."""
        config.write_text(text)
        self.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + READY_S
        while True:
            session = self.session(user, self.users[user][1])
            access = session.auth.get_access(session)
            if abs((access.expires - access.issued).total_seconds() - life_s) <= 1:  # both are whole seconds
                return str(access.auth_token)
            assert time.monotonic() < deadline, "Keystone did not read its configuration"

    def believes(self, token: str) -> bool:
        """Whether Keystone says that a token is valid."""
        headers = {"X-Auth-Token": self.token("boss"), "X-Subject-Token": token}
        return httpx.head(f"{self.url}/auth/tokens", headers=headers, timeout=60).status_code == 200

    def login(self, user: str) -> tuple[str, ...]:
        """Options of the `openstack` client."""
        project = self.users[user][1]
        scope = (
            ("--os-project-name", project, "--os-project-domain-id", "default")
            if project
            else ("--os-system-scope", "all")
        )
        who = ("--os-username", user, "--os-password", PASSWORD, "--os-user-domain-id", "default")
        return ("--os-auth-type", "password", "--os-auth-url", self.url, *who, *scope)

    def validations(self, token: str) -> int:
        """How often somebody asked Keystone whether a token is valid. It writes of a request when that is answered."""
        return len(re.findall(rf"GET /v3/auth/tokens\S* {re.escape(token[-16:])}", self.log.read_text()))

    def populate(self, endpoint: str, image: str) -> None:
        """Projects, a user for each role, and the catalog: this service at `endpoint`, under both names of its type,
        and an image service."""
        self.image = image
        keystone = self.admin()
        roles = {role.name: role for role in keystone.roles.list()}
        for name in ("blue", "red", "service"):
            self.projects[name] = keystone.projects.create(name, "default").id
        people = {
            "ann": ("member", "blue"),
            "rob": ("reader", "blue"),
            "bob": ("member", "red"),
            "boss": ("admin", "red"),
            "root": ("admin", None),
            "eye": ("reader", None),
            "brickyard": ("admin service", "service"),
            "glance": ("service", "service"),
            "nova": ("admin service", "service"),
        }
        for name, (role, project) in people.items():
            user = keystone.users.create(name, domain="default", password=PASSWORD)
            scope = {"project": self.projects[project]} if project else {"system": "all"}
            for one in role.split():
                keystone.roles.grant(roles[one], user=user, **scope)
            self.users[name] = (role, project)
        for kind, url in (
            ("block-storage", endpoint),
            ("volumev3", f"{endpoint}/$(project_id)s"),
            ("compute", self.nova.url),
            ("image", image),
        ):
            service = keystone.services.create(f"the {kind}", type=kind)
            keystone.endpoints.create(service, url, interface="public", region="RegionOne")


@contextlib.contextmanager
def running(directory: Path, port: int, ready: Callable[[int], bool], wait: Callable[..., None]) -> Iterator[Cloud]:
    """A Keystone on `port`, empty but for its administrator."""
    python = subprocess.run([ROOT / "scripts" / "openstack"], stdout=subprocess.PIPE, text=True, check=True)
    log = directory / "keystone.out"
    with log.open("wb") as out:
        command = [python.stdout.strip(), str(SERVE), str(directory / "keystone"), str(port)]
        process = subprocess.Popen(command, stdout=out, stderr=out)
    nova = Nova()
    try:
        wait(lambda: process.poll() is not None or ready(port), READY_S)
        assert process.poll() is None, log.read_text()
        yield Cloud(f"http://127.0.0.1:{port}/v3", log, process, nova)
    finally:
        nova.close()
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def imaging(
    directory: Path, keystone: Cloud, ready: Callable[[int], bool], wait: Callable[..., None]
) -> Iterator[None]:
    """The Glance of a catalog, whose images lie in `directory`/images."""
    port = int(keystone.image.rpartition(":")[2])
    python = subprocess.run([ROOT / "scripts" / "openstack"], stdout=subprocess.PIPE, text=True, check=True)
    log = directory / "glance.out"
    with log.open("wb") as out:
        command = [python.stdout.strip(), str(SERVE_IMAGES), str(directory), str(port), keystone.url]
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        wait(lambda: process.poll() is not None or ready(port), READY_S)
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.terminate()
        process.wait(30)
