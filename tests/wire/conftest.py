"""A running service with three backends, and the clients of the field: `openstack`, openstacksdk, cinderclient."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import secrets
import shlex
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openstack.connection
import pytest
from cinderclient import client
from keystoneauth1 import noauth, session
from tests import ports

sys.path.insert(0, str(Path(__file__).parent))
import cloud
from waiting import until

from brickyard.db import database, tokens, types

WORKER = Path(__file__).with_name("worker.py")
READY_S, END_S, DELETED_S = 120, 120, 30
CONFIG = """
[DEFAULT]
host = wire
enabled_backends = raw,qcow2,vdi
default_volume_type = standard
auth_strategy = {auth}
report_interval = 1
[host]
hypervisor = memory
[raw]
volume_driver = raw
[qcow2]
volume_driver = qcow2
image_volume_cache_enabled = true
[vdi]
volume_driver = vdi
"""


# What tests could leave in the service that they share, and what of it is there from the start or for ever.
LISTS = (
    "attachments",
    "backups",
    "default-types",
    "group_snapshots",
    "group_types",
    "groups",
    "os-services",
    "os-volume-transfer",
    "qos-specs",
    "snapshots",
    "types",
    "volumes",
)
KEPT = {"standard", "default_cgsnapshot_type"}


@dataclass(frozen=True, slots=True)
class Service:
    """A process of `brickyard serve`."""

    state_dir: Path
    config: Path
    port: int

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/v3"

    def command(self, *arguments: str) -> list[str]:
        where = ["--state-dir", str(self.state_dir), "--config-file", str(self.config)]
        return [sys.executable, "-m", "brickyard", *arguments, *where]


@contextlib.contextmanager
def serving(directory: Path, auth: str, more: str = "", port: int | None = None) -> Iterator[Service]:
    """A service with a strategy; `more` is added to its configuration."""
    port = port or ports.one()
    service = Service(directory / "state", directory / "brickyard.conf", port)
    service.config.write_text(CONFIG.format(auth=auth) + more)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(service.command("serve", "--port", str(port)), stdout=log, stderr=log)
    try:
        until(lambda: process.poll() is not None or answers(port), READY_S)
        assert process.poll() is None, (directory / "log").read_text()
        yield service
    finally:
        process.terminate()
        process.wait(END_S)


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that trusts everybody on loopback, as it starts without a configuration of its own."""
    with serving(tmp_path_factory.mktemp("wire"), "none") as one:
        yield one


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tests share a service and come in any order: what one leaves would fail another, which is not at fault.

    A delete is answered before what it deletes is gone, so that the last one of a test is given time.
    """
    if "service" not in request.fixturenames:
        yield
        return
    one: Service = request.getfixturevalue("service")
    yield
    headers = {"OpenStack-API-Version": "volume 3.71"}
    with httpx.Client(base_url=one.endpoint, headers=headers, params={"all_tenants": 1}, timeout=60) as http:
        with contextlib.suppress(AssertionError):
            until(lambda: not left(http), DELETED_S)
        assert not left(http), "the test left these behind"


def left(http: httpx.Client) -> dict[str, list[dict[str, Any]]]:
    return {kind: found for kind in LISTS if (found := [each for each in listed(http, kind) if not usual(each)])}


def listed(http: httpx.Client, kind: str) -> list[dict[str, Any]]:
    answer = http.get(f"/{kind}").raise_for_status().json()
    return next(found for found in answer.values() if isinstance(found, list))


def usual(one: dict[str, Any]) -> bool:
    """Whether it is there without any test, or (a service) as it was."""
    if "binary" in one:
        return one["status"] == "enabled" and not one.get("frozen")
    return one.get("name") in KEPT


@pytest.fixture(scope="session")
def token_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("tokens"), "token") as one:
        yield one


@pytest.fixture(scope="session")
def glance_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, cloud.Cloud, Path]]:
    """A service that asks a Keystone, which has it in its catalog, and the Glance there; and the directory of that."""
    directory, images = tmp_path_factory.mktemp("keystone"), tmp_path_factory.mktemp("glance")
    with cloud.running(directory, ports.one(), answers, until) as keystone:
        port = ports.one()
        keystone.populate(f"http://127.0.0.1:{port}/v3", f"http://127.0.0.1:{ports.one()}")
        config = cloud.CONFIG.format(url=keystone.url)
        with cloud.imaging(images, keystone, answers, until), serving(directory, "keystone", config, port) as one:
            yield one, keystone, images


@pytest.fixture(scope="session")
def keystone_service(glance_service: tuple[Service, cloud.Cloud, Path]) -> tuple[Service, cloud.Cloud]:
    """The same: clients do not go on when what a catalog names is not there."""
    return glance_service[0], glance_service[1]


class OpenStack:
    """The real `openstack` client; one process for many commands."""

    _options: tuple[str, ...] = ()

    def __init__(self, **environment: str) -> None:
        # A bare environment: nothing of the machine's own clouds, and no proxy.
        bare = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**bare, **environment},
        )

    def holding(self, token: str) -> OpenStack:
        """The same process with the token of another caller."""
        return self.given("--os-token", token)

    def given(self, *options: str) -> OpenStack:
        """The same process with options for every command."""
        other = copy.copy(self)
        other._options = options
        return other

    def run(self, *words: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([*self._options, *words]) + "\n")
        self._process.stdin.flush()
        result: dict[str, Any] = json.loads(self._process.stdout.readline())
        return result

    def __call__(self, command: str, *more: str) -> str:
        """What a command prints; it must succeed."""
        result = self.run(*shlex.split(command), *more)
        assert result["code"] == 0, f"openstack {command} {more}: {result['err']}"
        return str(result["out"])

    def json(self, command: str, *more: str) -> Any:
        """What a command shows, as data."""
        return json.loads(self(command, *more, "-f", "json"))

    def refused(self, command: str, *more: str) -> str:
        """What a command says when it fails, which it must."""
        result = self.run(*shlex.split(command), *more)
        assert result["code"] != 0, f"openstack {command} was expected to fail: {result['out']}"
        return str(result["err"])

    def becomes(self, noun: str, name: str, status: str) -> dict[str, Any]:
        """Wait until a resource has a status; the resource."""
        shown: dict[str, Any] = {}

        def looked() -> bool:
            shown.update(self.json(f"{noun} show", name))
            assert shown["status"] == status or not shown["status"].startswith("error"), shown
            return bool(shown["status"] == status)

        until(looked)
        return shown

    def vanishes(self, noun: str, name: str) -> None:
        until(lambda: self.run(*noun.split(), "show", name)["code"] != 0)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(END_S)


@pytest.fixture(scope="session")
def osc(service: Service) -> Iterator[OpenStack]:
    """The client as docs/howto/use-the-openstack-client.md says: no identity service, one endpoint."""
    client = OpenStack(OS_AUTH_TYPE="none", OS_ENDPOINT=service.endpoint, OS_VOLUME_API_VERSION="3.71")
    client("volume type create standard")
    yield client
    client.close()


@pytest.fixture(scope="session")
def osc_with_token(token_service: Service) -> Iterator[OpenStack]:
    """The client of a service that knows static tokens, with one that it does not know."""
    client = OpenStack(
        OS_AUTH_TYPE="admin_token",
        OS_ENDPOINT=token_service.endpoint,
        OS_COMPUTE_ENDPOINT_OVERRIDE=token_service.endpoint,
        OS_TOKEN="guessed",
        OS_VOLUME_API_VERSION="3.71",
    )
    yield client
    client.close()


@pytest.fixture(scope="session")
def osc_with_keystone() -> Iterator[OpenStack]:
    """The client with no login yet."""
    client = OpenStack(OS_VOLUME_API_VERSION="3.71", OS_REGION_NAME="RegionOne", OS_IDENTITY_API_VERSION="3")
    yield client
    client.close()


@pytest.fixture
def cinder(service: Service, osc: OpenStack) -> Any:
    """The library of python-cinderclient."""
    auth = noauth.NoAuth(endpoint=service.endpoint)
    return client.Client("3.71", session=session.Session(auth=auth))


@pytest.fixture
def login(token_service: Service, osc_with_token: OpenStack) -> Iterator[Callable[[str, str], OpenStack]]:
    """A client with a new token of a project and a role; the service has its default type."""
    db = database.Database(database.sqlite_url(token_service.state_dir / "brickyard.db"))
    with db.begin() as tx:
        if types.find(tx, "standard") is None:
            types.insert(tx, id=str(uuid.uuid4()), name="standard", extra_specs={})

    def made(project: str, role: str) -> OpenStack:
        token = secrets.token_hex()
        with db.begin() as tx:
            tokens.insert(tx, token, user_id="u" + role, project_id=project, roles=[role])
        return osc_with_token.holding(token)

    yield made
    db.close()


@pytest.fixture(scope="session")
def sdk(service: Service, osc: OpenStack) -> Iterator[openstack.connection.Connection]:
    made = openstack.connection.Connection(
        auth_type="none",
        auth={"endpoint": service.endpoint},
        block_storage_endpoint_override=service.endpoint,
        block_storage_default_microversion="3.71",
    )
    yield made
    made.close()
