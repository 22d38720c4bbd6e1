"""Thin pools themselves: how they grow, and what a command of LVM leaves in them that was killed."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.contract.content import MIB, fill, holds, snapshot_of, volume

from brickyard.brick import faults
from brickyard.brick.guard import Guard
from brickyard.brick.lvm import groups
from brickyard.brick.lvm.command import Lvm
from brickyard.brick.lvm.growing import Limits
from brickyard.brick.lvm.thin import ThinDriver
from brickyard.core import errors
from brickyard.core.bricks import Did

from .lvm import lvm, run

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]
SIZE = 8 * MIB
POOL = "ours/ours-pool"
Take = Callable[[int], list[str]]


def thin(**options: object) -> Guard:
    return Guard(ThinDriver("ours", "ours-pool", **options), "thin")  # type: ignore[arg-type]


def figure(devices: str, name: str) -> int:
    return int(lvm(devices, "lvs", "--noheadings", "--units", "b", "--nosuffix", "-o", name, POOL))


# growing ---------------------------------------------------------------------------------------------------------


def test_a_pool_is_served_before_its_first_volume_and_after_its_last(take: Take) -> None:
    [disk] = take(1)
    groups.create("ours", [disk], thin=True)
    thin().check()
    lvm(disk, "vgchange", "-an", "ours")
    thin().check()
    label = volume()
    for did in (Did.CHANGED, Did.ALREADY):
        assert thin().create(label, SIZE) is did
    thin().check()
    thin().delete(label.name)
    lvm(disk, "vgchange", "-an", "ours")
    thin().check()


def test_a_pool_takes_a_disk_that_was_added_once(take: Take) -> None:
    one, two = take(2)
    groups.create("ours", [one])
    lvm(one, "lvcreate", "-T", "-Zy", "-L", "400M", "--poolmetadatasize", "4M", POOL)
    driver = thin()
    with pytest.raises(errors.NotFound, match="add it first"):
        driver.grow_onto(two)
    groups.extend("ours", two)
    both = f"{one},{two}"
    assert thin().grow_onto(two) is Did.CHANGED
    share = 1024 * MIB * 9 // 10
    size = figure(both, "lv_size")
    assert 400 * MIB + share - 48 * MIB <= size <= 400 * MIB + share  # what the metadata take is on the disk, too
    assert figure(both, "lv_metadata_size") == groups.METADATA_MIN
    assert driver.grow_onto(two) is Did.ALREADY
    assert (figure(both, "lv_size"), driver.usage().total_bytes) == (size, size)
    label = volume()
    driver.create(label, SIZE)
    fill(driver, label.name, 5)
    assert holds(driver, label.name, 5)


def test_a_pool_that_grew_by_itself_meanwhile_takes_the_rest_of_the_disk_and_no_more_than_it_may(take: Take) -> None:
    one, two = take(2)
    groups.create("ours", [one])
    lvm(one, "lvcreate", "-T", "-Zy", "-L", "900M", "--poolmetadatasize", "16M", POOL)
    groups.extend("ours", two)
    both = f"{one},{two}"
    lvm(both, "lvextend", "-L", "+100M", POOL, two)
    kept = Limits(autoextend_keep_bytes=500 * MIB)
    assert thin(limits=kept).grow_onto(two) is Did.CHANGED
    free = int(lvm(both, "vgs", "--noheadings", "--units", "b", "--nosuffix", "-o", "vg_free", "ours"))
    assert 500 * MIB <= free < 510 * MIB
    assert thin().grow_onto(two) is Did.CHANGED
    size = figure(both, "lv_size")
    assert thin().grow_onto(two) is Did.ALREADY
    assert 1000 * MIB + 700 * MIB < size <= 900 * MIB + 1024 * MIB * 9 // 10


def test_a_mirrored_pool_grows_when_it_has_two_new_disks(take: Take) -> None:
    devices = take(4)
    groups.create("ours", devices[:2], raid1=True, thin=True)
    driver = thin(raid1=True)
    before = driver.usage().total_bytes
    groups.extend("ours", devices[2])
    assert driver.grow_onto(devices[2]) is Did.ALREADY
    groups.extend("ours", devices[3])
    again = thin(raid1=True)
    assert again.grow_onto(devices[3]) is Did.CHANGED
    size = again.usage().total_bytes
    assert size - before > 800 * MIB
    assert [again.grow_onto(device) for device in devices[2:]] == [Did.ALREADY, Did.ALREADY]
    assert again.usage().total_bytes == size
    shown = lvm(",".join(devices), "lvs", "-a", "--noheadings", "-o", "lv_name,devices", "ours")
    halves = [{name for name in devices[2:] if name in line} for line in shown.splitlines() if "_tdata_rimage" in line]
    assert sorted(filter(None, halves), key=sorted) == [{devices[2]}, {devices[3]}], "each half has a disk of its own"


def test_of_many_who_find_a_pool_full_at_once_one_lets_it_grow(take: Take) -> None:
    [disk] = take(1)
    groups.create("ours", [disk])
    lvm(disk, "lvcreate", "-T", "-Zy", "-L", "64M", "--poolmetadatasize", "4M", POOL)
    guard, label = thin(), volume()
    guard.create(label, 64 * MIB)
    fill(guard, label.name, 1, 0, 40 * MIB)
    run("sync")
    limits = Limits(data_percent_max=50, autoextend_percent=100)
    drivers = [thin(limits=limits) for _ in range(6)]
    with ThreadPoolExecutor(len(drivers)) as threads:
        grown = list(threads.map(lambda driver: driver.autoextend(), drivers))
    assert sorted(grown) == sorted([Did.CHANGED] + [Did.ALREADY] * 5)
    assert guard.usage().total_bytes == 128 * MIB
    fill(guard, label.name, 1, 0, 64 * MIB)
    run("sync")  # 64 of 128 MiB: full to the limit again
    drivers = [thin(limits=limits) for _ in range(4)]
    with ThreadPoolExecutor(len(drivers)) as threads:
        made = list(threads.map(lambda driver: driver.create(volume(), SIZE), drivers))
    assert made == [Did.CHANGED] * 4
    assert guard.usage().total_bytes == 256 * MIB


def test_a_change_of_a_group_is_on_its_disks_when_it_is_answered(take: Take) -> None:
    one, two = take(2)
    steps: list[str] = []

    def told(point: str) -> None:
        if point.startswith("after"):
            steps.append(point.removeprefix("after "))

    def flushed(command: str) -> int:
        """How often something was flushed after this command and before the next one."""
        rest = steps[steps.index(f"run lvm {command}") + 1 :]
        return next((n for n, step in enumerate(rest) if step != "fsync"), len(rest))

    with faults.installed(told):
        groups.create("ours", [one], clean=True)
        lvm(one, "lvcreate", "-an", "-Zn", "-Wn", "-L", "8M", "-n", "some", "ours")
        groups.extend("ours", two)
        groups.drain("ours", one)
        groups.erase_left("ours", one)
        groups.remove_device("ours", one)
        lvm(two, "lvremove", "-y", "ours/some")
        groups.make_thin_pool(Lvm([two]), "ours", "ours-pool")
        groups.destroy("ours")
    assert [flushed(command) for command in ("vgextend", "pvchange", "pvmove", "vgreduce")] == [2, 2, 2, 2]
    once = ("vgcreate", "vgchange", "pvremove", "lvcreate", "lvremove", "vgremove")
    assert [flushed(command) for command in once] == [1] * len(once)


# killed ----------------------------------------------------------------------------------------------------------


def _unsay(disk: str, name: str, directory: Path, *, half: bool = False) -> None:
    """As if the lvcreate of this volume had been killed between what it wrote down and what it told the pool; or, by
    half, when it had told the pool to make the volume, and not yet that this was all."""
    config = directory / "config"
    lvm(disk, "vgcfgbackup", "-f", str(config), "ours")
    thin_id = lvm(disk, "lvs", "--noheadings", "-o", "thin_id", f"ours/{name}")
    number = lvm(disk, "lvs", "--noheadings", "-o", "transaction_id", POOL)
    unsaid = [] if half else [f"delete {thin_id}"]
    for message in (*unsaid, f"set_transaction_id {number} {int(number) - 1}"):
        run("dmsetup", "message", "ours-ours--pool-tpool", "0", message)
    message = f'type = "thin-pool"\nmessage1 {{\ncreate = "{name}"\n}}\n'
    config.write_text(re.sub(r'type = "thin-pool"\n', message, config.read_text()))
    lvm(disk, "vgcfgrestore", "-y", "--force", "-f", str(config), "ours")


def _is_settled(disk: str) -> bool:
    status = run("dmsetup", "status", "ours-ours--pool-tpool").split()
    return status[3] == lvm(disk, "lvs", "--noheadings", "-o", "transaction_id", POOL)


def test_a_create_that_was_killed_in_a_pool_that_is_in_use_is_made_up_for(take: Take, tmp_path: Path) -> None:
    [disk] = take(1)
    groups.create("ours", [disk], thin=True)
    driver, label = thin(), volume()
    driver.create(volume(), SIZE)
    for bring_in_order in (
        lambda: driver.create(label, SIZE),  # the repeat
        lambda: driver.open(label.name),  # nobody has repeated it
        lambda: thin().check(),  # the program begins anew
    ):
        driver.create(label, SIZE)
        _unsay(disk, label.name, tmp_path)
        assert not _is_settled(disk)
        bring_in_order()
        assert _is_settled(disk)
        assert holds(driver, label.name, 0)
        driver.close(label.name)
        assert driver.delete(label.name) is Did.CHANGED
    assert driver.leftovers() == {}
    assert len(list(driver.list())) == 1
    assert len(lvm(disk, "lvs", "--noheadings", "-o", "lv_name", "ours").split()) == 2


@pytest.mark.thorough
def test_a_create_that_was_killed_when_the_pool_knew_it_by_half_is_made_anew(take: Take, tmp_path: Path) -> None:
    """LVM itself refuses every change of the pool then."""
    [disk] = take(1)
    groups.create("ours", [disk], thin=True)
    driver, label, source = thin(), volume(), volume()
    driver.create(source, SIZE)
    fill(driver, source.name, 7)
    for make, byte in ((lambda: driver.create(label, SIZE), 0), (lambda: driver.clone(source.name, label, SIZE), 7)):
        for bring_in_order in (
            make,  # the repeat
            lambda: driver.delete(label.name),  # the undo
            lambda: driver.create(volume(), SIZE),  # somebody else
            lambda: thin().check(),  # the program begins anew
        ):
            make()
            _unsay(disk, label.name, tmp_path, half=True)
            assert not _is_settled(disk)
            bring_in_order()
            assert _is_settled(disk)
            assert driver.find(label.name) is None or holds(driver, label.name, byte)
            driver.close(label.name)
            driver.delete(label.name)
    assert driver.leftovers() == {}


def test_a_snapshot_that_was_killed_is_of_the_moment_at_which_it_is_answered(take: Take, tmp_path: Path) -> None:
    [disk] = take(1)
    groups.create("ours", [disk], thin=True)
    driver, label = thin(), volume()
    driver.create(label, SIZE)
    fill(driver, label.name, 7)
    run("sync")
    snapshot = snapshot_of(label)
    driver.snapshot(label.name, snapshot)
    _unsay(disk, snapshot.name, tmp_path)
    assert driver.snapshot(label.name, snapshot) is Did.ALREADY
    fill(driver, label.name, 8)
    run("sync")
    driver.create(volume(), SIZE)
    assert holds(driver, snapshot.name, 7)
    assert holds(driver, label.name, 8)
