"""The identity service as the API sees it: one that is away, one that is told wrongly, and what is remembered of it.

What it says when it is there is asked of a real one in tests/wire/test_keystone.py.
"""

from __future__ import annotations

import dataclasses
import socket
import sys
from pathlib import Path

import falcon.testing
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import world
from brickyard.api import app, keystone
from brickyard.core import errors

AWAY = {
    "auth_type": "password",
    "username": "brickyard",
    "password": "secret",
    "user_domain_id": "default",
    "project_name": "service",
    "project_domain_id": "default",
    "http_request_max_retries": 0,
    "www_authenticate_uri": "http://keystone.example",
}


def test_while_it_is_away_a_token_can_not_be_checked_and_none_is_refused(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        away = keystone.Keystone({**AWAY, "auth_url": f"http://127.0.0.1:{closed.getsockname()[1]}/v3"})
        with world.running(tmp_path, {"memory": "memory"}, auth_strategy="keystone") as (site, _):
            client = falcon.testing.TestClient(app.create_app(dataclasses.replace(site, identity=away)))
            answer = client.simulate_get("/v3/volumes", headers={"X-Auth-Token": "t"})
            assert answer.status_code == 503
            assert "identity service does not answer" in answer.json["serviceUnavailable"]["message"]
            answer = client.simulate_get("/v3/volumes")
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == 'Keystone uri="http://keystone.example"'
            assert client.simulate_get("/").status_code == 300


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"auth_type": "guess"}, "auth_type is 'guess'; allowed: .*password"),
        (
            {"memcached_servers": ["127.0.0.1:1"], "memcache_security_strategy": "ENCRYPT"},
            "memcache_secret_key must be defined",
        ),
        ({"application_credential_id": "x"}, "application_credential_id means nothing with auth_type = password"),
    ],
)
def test_what_it_is_told_wrongly_is_named(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(errors.Invalid, match=says):
        keystone.Keystone({**AWAY, "auth_url": "http://127.0.0.1:1/v3", **wrong})


def test_what_is_remembered_is_bounded_and_ends() -> None:
    memory = keystone.Memory(size=2)
    for name in ("a", "b", "c"):
        memory.set(name, name, time=60)
    assert [memory.get(name) for name in ("a", "b", "c")] == [None, "b", "c"]
    memory.set("c", "x", time=0)
    assert memory.get("c") is None
