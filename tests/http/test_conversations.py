"""Hold every conversation of this directory, with a site in this process, or with the service that the environment
names: BRICKYARD_TEST_URL (up to and without /v3) and BRICKYARD_TEST_TOKEN. See conversations.py for the language.

The service there needs a project of its own without volume quota, whose volumes, snapshots and types are removed before
and after each conversation, and one backend with the volume_backend_name memory."""

from __future__ import annotations

import json as codec
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import falcon.testing
import httpx
import pytest
import sqlalchemy as sa
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from conversations import Answer, Conversation, Send

import described
import world
from brickyard.db import schema, tokens
from brickyard.service.site import Site

FILES = sorted(Path(__file__).parent.glob("*.yaml"))
URL = os.environ.get("BRICKYARD_TEST_URL")


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_conversation(file: Path, tmp_path: Path) -> None:
    script: dict[str, Any] = yaml.safe_load(file.read_text())
    if URL:
        if script.get("only_here"):
            pytest.skip("it needs what only a site of its own can have: tokens, or settings")
        with elsewhere(URL) as send:
            talk = Conversation(send, script.get("version"), {}, os.environ.get("BRICKYARD_TEST_TOKEN"))
            empty(send)
            try:
                talk.hold(script["steps"])
            finally:
                empty(send)
        return
    site = script.get("site", {})
    given = site.get("tokens", {})
    settings = {"auth_strategy": "token"} if given else {}
    with world.running(tmp_path, site.get("drivers", {"memory": "memory"}), **settings, **site.get("settings", {})) as (
        made,
        client,
    ):
        know(made, given)
        can(made, site.get("capabilities", {}))
        names = {name: name for name in given}
        Conversation(here(client), script.get("version"), names, script.get("token")).hold(script["steps"])


def know(site: Site, given: dict[str, Any]) -> None:
    """Let the site know tokens: name → user, project, roles."""
    with site.db.begin() as tx:
        for name, token in given.items():
            tokens.insert(tx, name, user_id=token["user"], project_id=token["project"], roles=token["roles"])


def can(site: Site, capabilities: dict[str, Any]) -> None:
    """Let the pools of the site report more than their drivers do."""
    if capabilities:
        with site.db.begin() as tx:
            for pool in tx.execute(sa.select(schema.pools)).all():
                merged = {**pool.capabilities, **capabilities}
                tx.execute(sa.update(schema.pools).where(schema.pools.c.id == pool.id).values(capabilities=merged))
        site.world.places.refresh()


def here(client: falcon.testing.TestClient) -> Send:
    def send(method: str, path: str, *, headers: dict[str, str], json: Any, body: str | None) -> Answer:
        path, _, query = path.partition("?")
        more: dict[str, Any] = {"json": json} if json is not None else {"body": body or ""}
        result = client.simulate_request(method, path, query_string=query, headers=headers, **more)
        asked = headers.get("OpenStack-API-Version")
        described.check(method, path, asked, json, result.status_code, result.content)
        return answer(result.status_code, result.headers, result.content)

    return send


@contextmanager
def elsewhere(url: str) -> Iterator[Send]:
    with httpx.Client(base_url=url, timeout=60) as client:

        def send(method: str, path: str, *, headers: dict[str, str], json: Any, body: str | None) -> Answer:
            more: dict[str, Any] = {"json": json} if json is not None else {"content": body}
            result = client.request(method, path, headers=headers, **more)
            return answer(result.status_code, result.headers, result.content)

        yield send


def empty(send: Send) -> None:
    """Remove what a conversation has left in the project: each of them begins with nothing."""
    headers = {"OpenStack-API-Version": "volume 3.44", "X-Auth-Token": os.environ.get("BRICKYARD_TEST_TOKEN", "")}

    def ids(collection: str, key: str) -> list[str]:
        found = send("GET", f"/v3/{collection}", headers=headers, json=None, body=None).body
        return [one["id"] for one in found[key]]

    for id in ids("groups", "groups"):
        for kept in ids("group_snapshots", "group_snapshots"):
            send("DELETE", f"/v3/group_snapshots/{kept}", headers=headers, json=None, body=None)
        for _ in range(1200):
            everything = {"delete": {"delete-volumes": True}}
            action = f"/v3/groups/{id}/action"
            if send("POST", action, headers=headers, json=everything, body=None).status == 404:
                break
            time.sleep(0.05)
    for id in ids("group_types", "group_types"):
        send("DELETE", f"/v3/group_types/{id}", headers=headers, json=None, body=None)
    for collection in ("messages", "attachments", "snapshots", "volumes"):
        for id in ids(collection, collection):
            gone = send("DELETE", f"/v3/{collection}/{id}", headers=headers, json=None, body=None)
            if gone.status == 400 and collection == "volumes":  # a status that it was given by hand
                action = f"/v3/volumes/{id}/action"
                send("POST", action, headers=headers, json={"os-force_delete": {}}, body=None)
        for _ in range(1200):
            if not ids(collection, collection):
                break
            time.sleep(0.05)
    for id in ids("types", "volume_types"):
        send("DELETE", f"/v3/types/{id}", headers=headers, json=None, body=None)


def answer(status: int, headers: Any, content: bytes) -> Answer:
    text = content.decode()
    is_json = text.startswith(("{", "["))
    return Answer(status, {k.lower(): v for k, v in headers.items()}, codec.loads(text) if is_json else None, text)
