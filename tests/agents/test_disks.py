"""Disks of another host, by its agent: a pool is made of them, drained and given back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import rabbit, world
from tests.agents.test_calls import Asked, Bench, label
from tests.contract import loops

from brickyard.brick import devices
from brickyard.core import clock
from brickyard.core.bricks import Did
from brickyard.nodes import verbs

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="loop devices need root")]
MIB = 1024 * 1024
SIZE = 8 * MIB
POOL = "disks"


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[list[str]]:
    loops.DISKS[tmp_path] = [loops.new_disk(tmp_path / f"disk{number}", 64 * MIB) for number in range(2)]
    yield loops.DISKS[tmp_path]
    loops.forget_all()


@pytest.fixture
def bench(tmp_path: Path, broker: rabbit.Rabbit, disks: list[str]) -> Iterator[Bench]:
    made = Bench(tmp_path, broker)
    made.local.make = world.from_api
    node = made.node
    assert node.claim_devices(POOL, disks, (), "partition") == []
    options = node.make_pool(POOL, verbs.Wish("partition", tuple(disks)))
    assert node.add_backend(POOL, {"driver": "partition", **options}).up
    yield made
    made.close()


def test_what_has_moved_is_wiped_once_and_its_receipts_are_told_again(bench: Bench, disks: list[str]) -> None:
    node, brick = bench.node, label()
    assert node.create_brick(POOL, brick, SIZE) is Did.CHANGED
    path = node.open_brick(POOL, brick.name).path
    Path(path).write_bytes(b"\x5a" * SIZE)
    node.close_brick(POOL, brick.name)
    [old] = [disk for disk in disks if b"\x5a" * MIB in Path(disk).read_bytes()]
    [new] = set(disks) - {old}
    seen: list[tuple[int, int]] = []
    assert node.drain_device(POOL, old, (), lambda *figures: seen.append(figures)) is Did.CHANGED
    both = [Asked(node.wipe_moved, POOL, old) for _ in range(2)]
    first, second = (one.result() for one in both)
    assert first == second == node.wipe_moved(POOL, old)
    [receipt] = first
    assert (receipt.name, receipt.size_bytes) == (brick.name, SIZE)
    assert "moved to another disk" in receipt.verified
    assert b"\x5a" * 4096 not in Path(old).read_bytes()
    assert Path(node.open_brick(POOL, brick.name).path).read_bytes() == b"\x5a" * SIZE
    node.close_brick(POOL, brick.name)
    assert node.remove_device(POOL, old)["devices"] == new
    assert devices.inspect(old).found == ()
    assert node.delete_brick(POOL, brick.name) is Did.CHANGED


def test_what_has_moved_is_wiped_no_quicker_than_the_pool_allows(bench: Bench, disks: list[str]) -> None:
    """The rate is an option of the pool, which the API may have been given as a number."""
    node, brick, rate_mib = bench.node, label(), 4
    node.create_brick(POOL, brick, SIZE)
    [old] = [disk for disk in disks if len(devices.partitions(disk)) > 1]
    node.remove_backend(POOL)
    given = {"driver": "partition", "devices": ",".join(disks), "wipe_rate_mib": rate_mib}
    assert node.add_backend(POOL, given).up
    node.drain_device(POOL, old)
    began = clock.monotonic()
    [receipt] = node.wipe_moved(POOL, old)
    assert clock.monotonic() - began > receipt.size_bytes / MIB / rate_mib / 2


def test_a_drain_that_is_undone_keeps_nothing_of_what_had_moved(bench: Bench, disks: list[str]) -> None:
    """As its flow does it after a death: wipe, tell, and let the disk be filled again."""
    node, brick = bench.node, label()
    node.create_brick(POOL, brick, SIZE)
    [old] = [disk for disk in disks if len(devices.partitions(disk)) > 1]
    node.drain_device(POOL, old)
    assert [receipt.name for receipt in node.wipe_moved(POOL, old)] == [brick.name]
    assert node.refill_device(POOL, old) is Did.CHANGED
    assert node.refill_device(POOL, old) is Did.ALREADY
    assert node.wipe_moved(POOL, old) == []
    found = node.find_brick(POOL, brick.name)
    assert found is not None and (found.label, found.size_bytes) == (brick, SIZE)
    assert len(devices.partitions(old)) == 1  # that of the labels
