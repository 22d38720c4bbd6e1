"""Incremental backups of snapshots read what has changed, where the driver knows that and the earlier one is there."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import falcon.testing
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import world
from brickyard.brick.memory import BLOCK_BYTES
from brickyard.core.sizes import GIB, MIB
from brickyard.db import flows
from brickyard.service.site import Site

CHUNK = 4 * MIB
WRITTEN = 5  # chunks


class Rig:
    """A site with one volume, of which so many chunks are written."""

    def __init__(self, site: Site, client: falcon.testing.TestClient) -> None:
        self.site, self.client = site, client
        node: Any = site.world.nodes["h1"]
        self.driver = node.backends["memory"].driver.driver
        self.volume = self.make("volume", {"size": 1})
        for number in range(WRITTEN):
            self.write(self.volume, number * CHUNK)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"OpenStack-API-Version": "volume 3.67"}
        result = self.client.simulate_request(method, f"/v3{path}", json=body, headers=headers)
        assert result.status_code < 300, result.text
        return result.json if result.content else None

    def make(self, kind: str, body: Any) -> str:
        id = str(self.ask("POST", f"/{kind}s", {kind: body})[kind]["id"])
        self.settle()
        assert self.ask("GET", f"/{kind}s/{id}")[kind]["status"] == "available"
        return id

    def settle(self) -> None:
        with self.site.db.read() as tx:
            begun = flows.list_(tx, open_only=True)
        for flow in begun:
            self.site.waker.wait(flow.id, 60)

    def write(self, volume: str, offset: int) -> None:
        self.driver.write(f"volume-{volume}", offset, os.urandom(BLOCK_BYTES))

    def snapshot(self) -> str:
        return self.make("snapshot", {"volume_id": self.volume})

    def backup(self, **more: Any) -> tuple[str, int]:
        """Its id, and how many bytes were read for it."""
        id = self.make("backup", {"volume_id": self.volume, **more})
        with self.site.db.read() as tx:
            [flow] = flows.of_resource(tx, id)
            [stored] = [one for one in flows.log(tx, flow.id) if (one.step, one.event) == ("store", "done")]
        return id, stored.data["read_bytes"]

    def content(self, volume: str) -> bytes:
        return bytes(self.driver.read(f"volume-{volume}", 0, 16 * CHUNK))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with world.running(tmp_path, {"memory": "memory"}) as (site, client):
        yield Rig(site, client)


def test_only_what_changed_since_the_snapshot_of_the_last_backup_is_read(rig: Rig) -> None:
    first = rig.snapshot()
    _, read_bytes = rig.backup(snapshot_id=first)
    assert read_bytes == WRITTEN * CHUNK
    rig.write(rig.volume, CHUNK + BLOCK_BYTES)
    rig.write(rig.volume, 9 * CHUNK)
    rig.driver.discard(f"volume-{rig.volume}", 2 * CHUNK, CHUNK)
    wanted = rig.content(rig.volume)
    second = rig.snapshot()
    backup, read_bytes = rig.backup(snapshot_id=second, incremental=True)
    assert read_bytes == 2 * CHUNK  # what was discarded is known to be zeros
    rig.write(rig.volume, 0)
    _, read_bytes = rig.backup(incremental=True)  # of the volume itself, as it is now
    assert read_bytes == CHUNK
    assert rig.backup(incremental=True)[1] == WRITTEN * CHUNK  # there is no snapshot of the moment of the last one
    restored = rig.make("volume", {"size": 1, "backup_id": backup})
    assert rig.content(restored) == wanted


def test_without_that_snapshot_all_is_read(rig: Rig) -> None:
    first = rig.snapshot()
    rig.backup(snapshot_id=first)
    second = rig.snapshot()
    rig.ask("DELETE", f"/snapshots/{first}")
    rig.settle()
    assert rig.backup(snapshot_id=second, incremental=True)[1] == WRITTEN * CHUNK


def test_a_volume_that_has_grown_is_read_where_the_last_backup_ended(rig: Rig) -> None:
    rig.write(rig.volume, GIB - BLOCK_BYTES)
    rig.backup(snapshot_id=rig.snapshot())
    rig.ask("POST", f"/volumes/{rig.volume}/action", {"os-extend": {"new_size": 2}})
    rig.settle()
    rig.write(rig.volume, GIB)
    backup, read_bytes = rig.backup(snapshot_id=rig.snapshot(), incremental=True)
    assert read_bytes == CHUNK
    restored = rig.make("volume", {"size": 2, "backup_id": backup})
    end = [rig.driver.read(f"volume-{id}", GIB - CHUNK, 2 * CHUNK) for id in (rig.volume, restored)]
    assert end[0] == end[1]
