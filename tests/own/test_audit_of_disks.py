"""The audit of storage that is wiped: a deletion that nobody goes on with is found, finished, and has its receipt."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.flows import disk_scenarios

from brickyard.core.bricks import Kind, Label

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="loop devices need root"),
]
GIB, MIB = 1024**3, 1024**2


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[str]:
    file = tmp_path / "disk0.img"
    with open(file, "wb") as made:
        made.truncate(GIB + 128 * MIB)
    yield disk_scenarios.attach(file)
    disk_scenarios.detach(tmp_path)


def test_a_brick_that_is_being_wiped_and_nobody_deletes_is_deleted(api, disk):
    body = {"host": "h1", "name": "disks", "driver": "partition", "devices": [disk]}
    api.json("POST", "/v1/pools", body, 201)
    node = api.site.world.nodes["h1"]
    label = Label(Kind.VOLUME, str(uuid.uuid4()), "blue")
    node.create_brick("disks", label, 64 * MIB)
    node.wipe_brick("disks", label.name)
    assert node.find_brick("disks", label.name).wiping
    [found] = api.json("GET", "/v1/audit")["differences"]
    assert (found["kind"], found["repair"]) == ("wiping", "remove")
    [found] = api.json("POST", "/v1/audit", {"grace_s": 0})["differences"]
    api.done(found["flow_id"])
    assert node.bricks("disks") == []
    assert api.json("GET", "/v1/audit")["differences"] == []
    [receipt] = api.json("GET", "/v1/receipts", params={"brick_id": label.id})["receipts"]
    assert (receipt["project_id"], receipt["method"] != "none") == ("blue", True)


def test_a_brick_that_is_being_wiped_under_a_volume_that_is_available_is_told_and_left(api, disk):
    body = {"host": "h1", "name": "disks", "driver": "partition", "devices": [disk]}
    api.json("POST", "/v1/pools", body, 201)
    api.json("PATCH", "/v1/pools/h1@raw", {"enabled": False})
    volume = api.a_volume(1)
    api.site.world.nodes["h1"].wipe_brick("disks", f"volume-{volume['id']}")
    [found] = api.json("POST", "/v1/audit", {"grace_s": 0, "orphans": "remove"})["differences"]
    assert (found["kind"], found["flow_id"]) == ("wiping", None)
    assert "lost" in found["message"]
