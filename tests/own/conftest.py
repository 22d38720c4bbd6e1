"""A running site for the tests of /v1, and a client that speaks JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import falcon.testing
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import world
from brickyard.core import clock
from brickyard.db import tokens
from brickyard.service.site import Site


class Client:
    """`get`, `post`, … return the result; `json` its body, after checking the status."""

    def __init__(self, site: Site, http: falcon.testing.TestClient, token: str | None = None) -> None:
        self.site, self.http = site, http
        self.headers = {"X-Auth-Token": token} if token else {}

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> falcon.testing.Result:
        headers = {**self.headers, **more.pop("headers", {})}
        if (content := more.pop("content", None)) is not None:
            return self.http.simulate_request(method, path, body=content, headers=headers, **more)
        return self.http.simulate_request(method, path, json=body, headers=headers, **more)

    def json(self, method: str, path: str, body: Any = None, status: int = 200, **more: Any) -> Any:
        result = self.call(method, path, body, **more)
        assert result.status_code == status, result.text
        return result.json if result.content else None

    def fault(self, method: str, path: str, body: Any = None, status: int = 400, **more: Any) -> dict[str, Any]:
        error = self.json(method, path, body, status, **more)["error"]
        assert error["code"] == status
        assert error["message"]
        return error

    def upload(self, id: str, role: str, content: bytes, status: int = 200) -> Any:
        return self.json("PUT", f"/v1/images/{id}/files/{role}", status=status, content=content)

    def done(self, flow_id: str, status: str = "done") -> Any:
        assert self.site.waker.wait(flow_id, 60) == status
        return self.json("GET", f"/v1/flows/{flow_id}")

    def a_kernel(self, name: str = "tiny") -> Any:
        image = self.json("POST", "/v1/images", {"name": name, "kind": "kernel", "cmdline": "console=ttyS0"}, 201)
        self.upload(image["id"], "initrd", b"initrd of " + name.encode())
        return self.upload(image["id"], "kernel", b"kernel of " + name.encode())

    def a_flavor(self, name: str = "small", **more: Any) -> Any:
        return self.json("POST", "/v1/flavors", {"name": name, "vcpus": 1, "memory_mib": 64, **more}, 201)

    def a_volume(self, size_gib: int = 1, **more: Any) -> Any:
        headers = {"OpenStack-API-Version": "volume 3.60"}
        body = {"volume": {"size": size_gib, **more}}
        volume = self.json("POST", "/v3/volumes", body, 202, headers=headers)["volume"]
        deadline = clock.monotonic() + 60
        while volume["status"] == "creating" and clock.monotonic() < deadline:
            volume = self.json("GET", f"/v3/volumes/{volume['id']}", headers=headers)["volume"]
        assert volume["status"] == "available"
        return volume

    def a_snapshot(self, volume_id: str) -> str:
        made = self.json("POST", "/v3/snapshots", {"snapshot": {"volume_id": volume_id}}, 202)["snapshot"]
        [flow, *_] = self.json("GET", "/v1/flows", params={"resource_id": made["id"]})["flows"]
        self.done(flow["id"])
        return str(made["id"])


@pytest.fixture
def client() -> type[Client]:
    """For a test that makes its own site; on a database server there can be only one at a time."""
    return Client


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Client]:
    with world.running(tmp_path) as (site, http):
        yield Client(site, http)


@pytest.fixture
def projects(tmp_path: Path) -> Iterator[dict[str, Client]]:
    """An administrator, two members of different projects and a reader of the first, told apart by tokens."""
    with world.running(tmp_path, auth_strategy="token") as (site, http):
        found = {}
        with site.db.begin() as tx:
            for name, project, role in (
                ("admin", "ops", "admin"),
                ("ann", "blue", "member"),
                ("rob", "blue", "reader"),
                ("bob", "red", "member"),
            ):
                token = f"token-of-{name}"
                tokens.insert(tx, token, user_id=name, project_id=project, roles=[role])
                found[name] = Client(site, http, token)
        yield found
