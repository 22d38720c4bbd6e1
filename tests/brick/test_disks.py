"""Partitions and whole disks: where bricks go, what of others stays, and what the disks say when nobody else can."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract import loops
from tests.contract.content import SIZE, fill, holds, snapshot_of, volume

from brickyard.brick import direct, registry
from brickyard.brick.disks import disk as disks
from brickyard.brick.disks import gpt, preparing, slots
from brickyard.brick.disks.driver import DiskDriver
from brickyard.brick.guard import Guard
from brickyard.core import errors
from brickyard.core.bricks import Did, Kind, Label
from brickyard.core.sizes import MIB

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def _detached(tmp_path: Path) -> Iterator[None]:
    yield
    loops.forget_all()


def pool_of(tmp_path: Path, *sizes: int, name: str = "pool") -> list[str]:
    pool = tmp_path / name
    pool.mkdir()
    return loops.new_pool(pool, "under test", sizes)


def partitions(*paths: str) -> Guard:
    return Guard(DiskDriver(paths, whole=False), "partition")


def whole(*paths: str) -> Guard:
    return Guard(DiskDriver(paths, whole=True), "disk")


def place(driver: Guard, name: str) -> str:
    """The disk on which a brick lies."""
    return driver.open(name).path.rpartition("p")[0]


# where a brick goes -------------------------------------------------------------------------------------------------


def test_the_smallest_disk_that_is_large_enough_is_taken(tmp_path: Path) -> None:
    large, small, middle = pool_of(tmp_path, 100 * MIB, 20 * MIB, 50 * MIB)
    driver = whole(large, small, middle)
    labels = [volume() for _ in range(4)]
    for label, size in zip(labels, (30 * MIB, 10 * MIB, 10 * MIB), strict=False):
        driver.create(label, size)
    assert [place(driver, label.name) for label in labels[:3]] == [middle, small, large]
    with pytest.raises(errors.NoSpace, match="the largest free disk of the pool has 0"):
        driver.create(labels[3], MIB)
    driver.delete(labels[0].name)
    with pytest.raises(errors.NoSpace, match=f"{60 * MIB} bytes do not fit.* has {47 * MIB}"):
        driver.create(labels[3], 60 * MIB)


def test_a_disk_is_one_brick_and_its_rest_is_nobodys(tmp_path: Path) -> None:
    driver = whole(*pool_of(tmp_path, 100 * MIB, 20 * MIB))
    empty = driver.usage()
    assert (empty.total_bytes, empty.free_bytes) == (97 * MIB + 17 * MIB,) * 2
    label = volume()
    driver.create(label, 30 * MIB)
    usage = driver.usage()
    assert (usage.total_bytes, usage.free_bytes) == (empty.total_bytes, 17 * MIB)
    assert (usage.provisioned_bytes, usage.allocated_bytes) == (30 * MIB, 97 * MIB)
    assert driver.grow(label.name, 97 * MIB) is Did.CHANGED
    with pytest.raises(errors.NoSpace, match="only 0 are free behind it"):
        driver.grow(label.name, 98 * MIB)
    assert driver.open(label.name).size_bytes == 97 * MIB


def test_two_pools_over_the_same_disks_say_that_they_lie_on_the_same_storage(tmp_path: Path) -> None:
    one, other = pool_of(tmp_path, 20 * MIB, 20 * MIB)
    assert partitions(one).usage().storage == partitions(other, one).usage().storage == "disks-under test"


def test_a_partition_grows_until_its_neighbour_and_says_so(tmp_path: Path) -> None:
    driver = partitions(*pool_of(tmp_path, 60 * MIB))
    first, last, between = volume(), volume(), volume()
    for label in (first, last):
        driver.create(label, SIZE)
    assert driver.grow(first.name, 3 * SIZE) is Did.CHANGED, "the second one lies at the end and leaves it room"
    with pytest.raises(errors.NoSpace, match=rf"{last.name} needs {SIZE} bytes more and only 0 are free"):
        driver.grow(last.name, 2 * SIZE)
    driver.create(between, SIZE)
    with pytest.raises(errors.NoSpace, match="clone it into a larger one"):
        driver.grow(first.name, 6 * SIZE)
    assert driver.leftovers() == {}
    assert driver.open(first.name).size_bytes == 3 * SIZE


def test_what_is_free_stays_in_one_piece(tmp_path: Path) -> None:
    driver = partitions(*pool_of(tmp_path, 100 * MIB))
    for _ in range(5):
        driver.create(volume(), SIZE)
    free = driver.usage().free_bytes
    assert driver.create(volume(), free) is Did.CHANGED
    assert driver.usage().free_bytes == 0


def test_neighbours_in_use_are_not_disturbed(tmp_path: Path) -> None:
    [disk] = pool_of(tmp_path, 100 * MIB)
    driver, used, other = partitions(disk), volume(), volume()
    driver.create(used, SIZE)
    holder = os.open(driver.open(used.name).path, os.O_RDWR | os.O_EXCL)
    try:
        os.pwrite(holder, b"in use", 4096)
        driver.create(other, SIZE)
        driver.snapshot(other.name, snapshot_of(other))
        driver.delete(other.name)
        assert driver.grow(used.name, 2 * SIZE) is Did.CHANGED, "online: the one who has it open sees it grow"
        assert os.lseek(holder, 0, os.SEEK_END) == 2 * SIZE
        assert os.pread(holder, 6, 4096) == b"in use"
    finally:
        os.close(holder)


def test_a_full_table_is_told_as_no_space(tmp_path: Path) -> None:
    driver = partitions(*pool_of(tmp_path, 160 * MIB))
    for _ in range(126):  # one of 128 entries is the label area, and the last is left to others
        driver.create(volume(), MIB)
    with pytest.raises(errors.NoSpace):
        driver.create(volume(), MIB)
    assert driver.usage().free_bytes == 0
    assert len(list(driver.list())) == 126


# what is not ours ---------------------------------------------------------------------------------------------------


def test_what_others_have_on_a_shared_disk_is_listed_and_never_touched(tmp_path: Path) -> None:
    disk = loops.new_disk(tmp_path / "image", 100 * MIB)
    loops.DISKS[tmp_path] = [disk]
    two = ["-n", "1:0:+8M", "-c", "1:theirs", "-n", "2:0:+8M"]
    subprocess.run(["sgdisk", *two, disk], check=True, capture_output=True)
    with open(disk, "r+b") as file:
        file.seek(MIB)
        file.write(b"theirs!!" * (2 * MIB))
    before = subprocess.check_output(["sgdisk", "-i", "1", disk]), subprocess.check_output(["sgdisk", "-i", "2", disk])
    preparing.prepare(disk, pool="shared", driver="partition", shared=True)
    driver, label = partitions(disk), volume()
    foreign = {(found.name, found.size_bytes, found.label) for found in driver.list()}
    assert foreign == {("theirs", 8 * MIB, None), (f"{os.path.basename(disk)}p2", 8 * MIB, None)}
    driver.create(label, SIZE)
    driver.grow(label.name, 3 * SIZE)
    driver.snapshot(label.name, snapshot_of(label))
    driver.delete(label.name)
    assert (
        subprocess.check_output(["sgdisk", "-i", "1", disk]),
        subprocess.check_output(["sgdisk", "-i", "2", disk]),
    ) == before
    assert (tmp_path / "image").read_bytes()[MIB : 17 * MIB] == b"theirs!!" * (2 * MIB)
    assert driver.usage().provisioned_bytes == 3 * SIZE, "theirs counts neither as promised nor as free"
    with pytest.raises(errors.NotFound):
        driver.open(volume().name)


def test_a_table_that_others_changed_makes_no_free_space_known_as_clean(tmp_path: Path) -> None:
    [disk] = pool_of(tmp_path, 60 * MIB)
    driver, label = partitions(disk), volume()
    driver.create(label, SIZE)
    driver.delete(label.name)
    with disks.opened(disk) as seen:
        assert seen.clean() == [(2 * MIB, 2 * MIB + SIZE)]
    subprocess.run(["sgdisk", "-n", "9:0:+1M", disk], check=True, capture_output=True)
    with disks.opened(disk) as seen:
        assert seen.clean() == []
    subprocess.run(["sgdisk", "-d", "9", disk], check=True, capture_output=True)
    with disks.opened(disk) as seen:
        seen.clean()  # the table is again the one of which it was known: what was wiped is wiped
    driver.create(label, SIZE)
    assert holds(driver, label.name, 0, 0, SIZE)


# what the disks say -------------------------------------------------------------------------------------------------


def test_bricks_survive_a_host_that_is_imaged_anew(tmp_path: Path) -> None:
    """The disks come back under other names and in another order; nothing but them is left."""
    paths = pool_of(tmp_path, 40 * MIB, 40 * MIB)
    driver = partitions(*paths)
    labels = [Label(Kind.VOLUME, str(uuid.uuid4()), "a project", generation=7), volume("another")]
    for number, label in enumerate(labels):
        driver.create(label, SIZE)
        fill(driver, label.name, number + 1)
    snapshot = snapshot_of(labels[0])
    driver.snapshot(labels[0].name, snapshot)
    driver.wipe(labels[1].name)
    before = list(driver.list())
    images = sorted((tmp_path / "pool").glob("disk-*"))
    loops.forget_all()
    loops.DISKS[tmp_path] = [loops.attach(image) for image in reversed(images)]
    driver = partitions(*loops.DISKS[tmp_path])
    assert list(driver.list()) == before
    assert {found.name: found.label for found in before} == {label.name: label for label in (*labels, snapshot)}
    assert holds(driver, labels[0].name, 1) and holds(driver, snapshot.name, 1)
    assert driver.delete(labels[1].name) is Did.CHANGED, "what was being deleted still is"
    assert driver.create(labels[0], SIZE) is Did.ALREADY


def test_a_disk_that_is_missing_is_named_and_nothing_is_guessed(tmp_path: Path) -> None:
    one, other = pool_of(tmp_path, 40 * MIB, 40 * MIB)
    here, there = volume(), volume()
    partitions(one).create(here, SIZE)
    partitions(other).create(there, SIZE)
    gone = "/dev/disk/by-id/that-is-gone"
    driver = partitions(one, gone)
    for verb in (driver.check, driver.usage, driver.list, lambda: driver.create(volume(), SIZE)):
        with pytest.raises(errors.BrickError, match=gone):
            verb()
    for verb in (driver.find, driver.delete, driver.open):
        with pytest.raises(errors.BrickError, match=gone):
            verb(there.name)
    assert holds(driver, here.name, 0)
    assert driver.delete(here.name) is Did.CHANGED, "what is on the others goes on"


def test_a_disk_that_is_another_one_now_is_refused(tmp_path: Path) -> None:
    [disk] = pool_of(tmp_path, 40 * MIB)
    stranger = loops.new_disk(tmp_path / "stranger", 40 * MIB)
    loops.DISKS[tmp_path] = [stranger]
    for verb in (partitions(disk, stranger).check, partitions(stranger).list):
        with pytest.raises(errors.BrickError, match=f"{stranger} carries no labels.*pool create"):
            verb()
    assert (tmp_path / "stranger").read_bytes() == bytes(40 * MIB)


def test_a_copy_of_a_disk_is_refused_and_neither_is_touched(tmp_path: Path) -> None:
    paths = pool_of(tmp_path, 40 * MIB)
    driver, label = partitions(*paths), volume()
    driver.create(label, SIZE)
    loops.duplicate(tmp_path / "pool", tmp_path / "copy")
    both = partitions(*paths, *loops.DISKS[tmp_path / "copy"])
    for verb in (both.find, both.delete, both.open):
        with pytest.raises(errors.BrickMismatch, match="there twice"):
            verb(label.name)
    assert driver.find(label.name) is not None
    assert partitions(*paths, *paths).find(label.name) == driver.find(label.name), "one disk named twice is one disk"


def test_labels_that_were_lost_make_bricks_that_are_nobodys_until_they_are_adopted(tmp_path: Path) -> None:
    [disk] = pool_of(tmp_path, 60 * MIB)
    driver, label = partitions(disk), volume()
    driver.create(label, SIZE)
    fill(driver, label.name, 9)
    with disks.opened(disk) as seen, direct.writing(disk) as descriptor:
        direct.write(descriptor, seen.area, bytes(slots.AREA_BYTES))
    [found] = driver.list()
    assert (found.name, found.label) == (label.name, None)
    for verb in (driver.delete, driver.wipe, driver.open):
        with pytest.raises(errors.BrickMismatch, match="label"):
            verb(label.name)
    with pytest.raises(errors.BrickMismatch, match="label"):
        driver.create(label, SIZE)
    assert driver.adopt(label.name, label) is Did.CHANGED
    assert holds(driver, label.name, 9)


def test_the_second_table_is_enough(tmp_path: Path) -> None:
    [disk] = pool_of(tmp_path, 60 * MIB)
    driver, label = partitions(disk), volume()
    driver.create(label, SIZE)
    fill(driver, label.name, 9)
    with direct.writing(disk) as descriptor:
        direct.write(descriptor, 512, bytes(33 * 512))
    assert holds(driver, label.name, 9)
    driver.grow(label.name, 2 * SIZE)
    checked = subprocess.run(["sgdisk", "-v", disk], capture_output=True, text=True, check=False)
    assert "No problems found" in checked.stdout, "the next change has repaired the first one"


def test_an_unfinished_revert_is_finished_before_anybody_looks(tmp_path: Path) -> None:
    from brickyard.brick import faults

    driver, label = partitions(*pool_of(tmp_path, 60 * MIB)), volume()
    snapshot = snapshot_of(label)
    driver.create(label, SIZE)
    fill(driver, label.name, 1)
    driver.snapshot(label.name, snapshot)
    fill(driver, label.name, 2, 0, SIZE)

    def die(point: str) -> None:
        if point == "copying":
            raise KeyboardInterrupt

    with faults.installed(die), pytest.raises(KeyboardInterrupt):
        driver.revert(label.name, snapshot.name)
    with pytest.raises(errors.BrickMismatch, match="revert"):
        driver.clone(label.name, volume(), SIZE)
    assert holds(driver, label.name, 1)
    assert holds(driver, label.name, 0, MIB, SIZE - MIB)


def test_the_devices_of_a_backend_are_options(tmp_path: Path) -> None:
    one, other = pool_of(tmp_path, 40 * MIB, 40 * MIB)
    for name in ("partition", "disk"):
        driver = registry.load(name, {"devices": f"{one}, {other}", "wipe_rate_mib": "100"})
        driver.check()
        assert driver.name == f"{name}:{one}, {other}"
    assert registry.load("disk", {"available_devices": one}).usage().total_bytes == 37 * MIB
    for wrong in ({}, {"devices": "loop0"}, {"devices": one, "wipe_rate_mib": "0"}, {"devices": one, "path": "/x"}):
        with pytest.raises(errors.Invalid):
            registry.load("partition", wrong)


def test_a_foreign_partition_is_adopted_by_the_name_of_its_node_and_not_while_it_is_used(tmp_path: Path) -> None:
    [disk] = pool_of(tmp_path, 60 * MIB)
    with disks.changing(disk) as seen:
        entry = gpt.entry(uuid.uuid4(), uuid.uuid4(), 20 * 2048, 28 * 2048 - 1, "")
        seen.commit(seen.table.with_entry(9, entry), [])
        seen.show(9)
    driver, label, node = partitions(disk), volume(), f"{os.path.basename(disk)}p9"
    with open(f"/dev/{node}", "r+b") as used:
        used.write(b"\3" * MIB)
        used.flush()
        with pytest.raises(errors.DeviceInUse):
            driver.adopt(node, label)
    assert driver.adopt(node, label) is Did.CHANGED
    assert holds(driver, label.name, 3)
    assert driver.open(label.name).path == f"/dev/{node}"
