"""Sites for the conversations and the races: everything real, in this process, on memory or on files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import falcon.testing
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import world
from brickyard.service.site import Site


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Site, falcon.testing.TestClient]]:
    """A site with one memory backend, and its client."""
    with world.running(tmp_path, {"memory": "memory"}) as made:
        yield made


class Speaker:
    """A client that says the microversion, the project's token and JSON, and checks the status."""

    def __init__(self, client: falcon.testing.TestClient, version: str = "3.67", token: str | None = None) -> None:
        self.client = client
        self.headers = {"OpenStack-API-Version": f"volume {version}"}
        if token:
            self.headers["X-Auth-Token"] = token

    def call(self, method: str, path: str, body: Any = None) -> falcon.testing.Result:
        return self.client.simulate_request(method, f"/v3{path}", json=body, headers=self.headers)

    def ask(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        result = self.call(method, path, body)
        assert result.status_code == status, f"{method} {path}: {result.status} {result.text}"
        return result.json if result.content else None


@pytest.fixture
def say(running: tuple[Site, falcon.testing.TestClient]) -> Speaker:
    return Speaker(running[1])
