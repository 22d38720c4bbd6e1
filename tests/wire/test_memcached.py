"""Checked tokens in a real memcached: services share them, for as long as is configured, and do well without it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloud
import falcon.testing
import httpx
import memcache
import pytest
import test_lost_tokens
from tests import ports
from waiting import until

import conftest
from brickyard.api import keystone
from brickyard.core import errors

pytestmark = pytest.mark.wire
KEPT_S = 300
PROTECTED = {"memcache_security_strategy": "ENCRYPT", "memcache_secret_key": "only services know it"}


class Memcached:
    """One server on loopback."""

    def __init__(self) -> None:
        self.port = ports.one()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        program = shutil.which("memcached") or "/usr/bin/memcached"
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        self._process = subprocess.Popen([program, "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", *user])
        until(lambda: conftest.answers(self.port))

    def stop(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """It takes connections, and does not answer."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def contents(self) -> list[bytes]:
        """What lies in it."""
        client = memcache.Client([self.address])
        [(_, items)] = client.get_stats("items")
        keys = [
            key
            for slab in {name.split(":")[1] for name in items}
            for _, kept in client.get_stats(f"cachedump {slab} 0")
            for key in kept
        ]
        return [client.get(key) for key in keys]


@pytest.fixture
def memcached() -> Iterator[Memcached]:
    made = Memcached()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def site(glance_service: Any, memcached: Memcached, tmp_path: Path) -> Iterator[Any]:
    """A service with that memcached. One that has seen it gone does not ask it again for minutes."""
    config = cloud.CONFIG.format(url=glance_service[1].url)
    more = "".join(f"{name} = {value}\n" for name, value in PROTECTED.items())
    config = config.replace("[DEFAULT]", f"memcached_servers = {memcached.address}\n{more}[DEFAULT]")
    with conftest.serving(tmp_path, "keystone", config) as service:
        yield service


def checker(glance_service: Any, memcached: Memcached | None, **more: Any) -> keystone.Keystone:
    """What another service, or one that was started anew, checks tokens with."""
    options = {
        "auth_url": glance_service[1].url, "auth_type": "password", "username": "brickyard", "password": "secret",
        "user_domain_id": "default", "project_name": "service", "project_domain_id": "default",
        "token_cache_time": KEPT_S, "service_token_roles_required": True, "interface": "public",
    }  # fmt: skip
    servers = {"memcached_servers": [memcached.address]} if memcached else {}
    return keystone.Keystone({**options, **servers, **more})


def asking(token: str) -> dict[str, Any]:
    """The environment of a request."""
    return falcon.testing.create_environ("/v3/volumes", headers={"X-Auth-Token": token})


def new_token(glance_service: Any) -> str:
    keystone = glance_service[1]
    return str(keystone.session("ann", keystone.users["ann"][1]).get_token())


def status(service: conftest.Service, token: str) -> int:
    return httpx.get(f"{service.endpoint}/volumes", headers={"X-Auth-Token": token}, timeout=60).status_code


def test_what_one_service_has_checked_the_others_believe(glance_service: Any, site: Any, memcached: Memcached) -> None:
    token, identity = new_token(glance_service), glance_service[1]
    assert [status(site, token) for _ in range(3)] == [200] * 3
    until(lambda: identity.validations(token) == 1)
    found = checker(glance_service, memcached, **PROTECTED).identify(asking(token))
    assert (found.project_id, "member" in found.roles) == (identity.projects["blue"], True)
    assert identity.validations(token) == 1
    # it cannot be read there, and counts for nothing with another key
    until(memcached.contents)  # it lists what has lain there for a moment
    assert not any(identity.projects["blue"].encode() in kept for kept in memcached.contents())
    other = checker(glance_service, memcached, **{**PROTECTED, "memcache_secret_key": "guessed"})
    assert other.identify(asking(token)) == found
    until(lambda: identity.validations(token) == 2)


@pytest.mark.parametrize("shared", [True, False], ids=["memcached", "own-memory"])
def test_a_token_that_is_taken_back_counts_as_long_as_is_configured(
    glance_service: Any, memcached: Memcached, shared: bool
) -> None:
    where = memcached if shared else None
    token = new_token(glance_service)
    asked = asking(token)
    short, long = (checker(glance_service, where, token_cache_time=kept_s) for kept_s in (1, KEPT_S))
    short.identify(asked)

    def refused() -> bool:
        try:
            short.identify(asked)
        except errors.Unauthorized:
            return True
        return False

    until(lambda: not refused())
    test_lost_tokens.end(glance_service[1], token)
    until(refused)
    again = new_token(glance_service)
    assert long.identify(asking(again))
    test_lost_tokens.end(glance_service[1], again)
    assert long.identify(asking(again))


def test_without_memcached_keystone_is_asked(glance_service: Any, site: Any, memcached: Memcached) -> None:
    """One that is gone, and one that does not answer."""
    token, identity = new_token(glance_service), glance_service[1]
    assert status(site, token) == 200
    memcached.stop()
    try:
        assert [status(site, token) for _ in range(2)] == [200] * 2
        until(lambda: identity.validations(token) == 3)
        assert status(site, "guessed") == 401
    finally:
        memcached.start()
    started = checker(glance_service, memcached, **PROTECTED)
    with memcached.silent():
        assert started.identify(asking(token)).project_id == identity.projects["blue"]


def test_no_service_starts_without_what_it_needs(tmp_path: Path) -> None:
    """Rather than refusing every request."""
    config = cloud.CONFIG.format(url="http://127.0.0.1:1/v3").replace(
        "[DEFAULT]", "memcached_servers = 127.0.0.1:1\nmemcache_security_strategy = ENCRYPT\n[DEFAULT]"
    )
    service = conftest.Service(tmp_path / "state", tmp_path / "brickyard.conf", ports.one())
    service.config.write_text(conftest.CONFIG.format(auth="keystone") + config)
    done = subprocess.run(service.command("serve", "--port", "1"), capture_output=True, text=True, check=False)
    assert (done.returncode, "memcache_secret_key" in done.stderr) == (1, True), done.stderr
