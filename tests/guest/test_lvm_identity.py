"""Nothing of others is touched, whatever it is called and wherever it turns up."""

from __future__ import annotations

import os
import random
import re
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.contract.content import MIB, fill, holds, snapshot_of, volume
from tests.contract.deaths import Death, Hook

from brickyard.brick import faults, shell
from brickyard.brick.guard import Guard
from brickyard.brick.lvm import command, groups, tags
from brickyard.brick.lvm.growing import Limits
from brickyard.brick.lvm.thick import ThickDriver
from brickyard.brick.lvm.thin import ThinDriver
from brickyard.core import errors
from brickyard.core.bricks import Did, Kind, Label

from .crashing import leaks
from .lvm import loop, lvm, mapped, run

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]
SIZE = 8 * MIB
Take = Callable[[int], list[str]]


def thick(group: str = "ours", **options: object) -> Guard:
    return Guard(ThickDriver(group, **options), "thick")  # type: ignore[arg-type]


def test_a_group_inside_a_guests_volume_is_never_seen(take: Take, tmp_path: Path) -> None:
    """A guest makes a volume group of its own in its disk, with our name and with volumes that are called like ours."""
    [disk] = take(1)
    label, inner = volume(), volume()
    image = tmp_path / "image"
    device = loop(image, 64 * MIB)
    lvm(device, "vgcreate", "--setautoactivation", "n", "ours", device)
    lvm(device, "lvcreate", "-an", "-Zn", "-Wn", "-L", "8M", "-n", inner.name, "ours")
    run("udevadm", "settle")  # whoever looks at it still would keep it
    run("losetup", "-d", device)
    groups.create("ours", [disk])
    driver = thick()
    driver.create(label, 64 * MIB)
    path = driver.open(label.name).path
    run("dd", f"if={image}", f"of={path}", "bs=1M", "conv=fsync")
    other = volume()
    assert [found.name for found in driver.list()] == [label.name]
    assert driver.create(other, SIZE) is Did.CHANGED
    assert driver.find(inner.name) is None
    assert groups.find("ours") == groups.find("ours", devices=[disk])
    inside = ("--config", "devices{scan_lvs=1}", "--noheadings", "-o", "lv_name")
    assert lvm(path, "lvs", *inside) == inner.name, "the guest's own is as it was"
    assert driver.delete(label.name) is Did.CHANGED
    assert [found.name for found in driver.list()] == [other.name]


def test_of_two_groups_with_one_name_only_ours_is_used(take: Take) -> None:
    one, two = take(2)
    mine = groups.create("ours", [one])
    lvm(two, "vgcreate", "ours", two)
    theirs = lvm(two, "vgs", "--noheadings", "-o", "vg_uuid", "ours")
    label = volume()
    with pytest.raises(errors.BrickMismatch, match="several volume groups are called ours"):
        thick().create(label, SIZE)
    for driver in (thick(uuid=mine), thick(devices=[one])):
        assert [found.name for found in driver.list()] in ([], [label.name])
        driver.create(label, SIZE)
    assert lvm(two, "lvs", "--noheadings", "-o", "lv_name") == ""
    with pytest.raises(errors.BrickMismatch, match=r"another one.*volume_group_uuid"):
        thick(uuid=mine, devices=[two]).create(volume(), SIZE)
    with pytest.raises(errors.BrickMismatch, match="several"):
        groups.extend("ours", "/dev/null")
    assert lvm(two, "vgs", "--noheadings", "-o", "vg_uuid", "ours") == theirs


def test_a_group_that_was_replaced_by_another_one_is_noticed(take: Take) -> None:
    [disk] = take(1)
    groups.create("ours", [disk])
    driver = thick()
    driver.check()
    lvm(disk, "vgremove", "ours")
    lvm(disk, "vgcreate", "ours", disk)
    with pytest.raises(errors.BrickMismatch, match="another one now"):
        driver.create(volume(), SIZE)


def test_a_foreign_volume_with_our_prefix_is_listed_and_never_touched(take: Take) -> None:
    [disk] = take(1)
    groups.create("ours", [disk], thin=True)
    foreign, thin_foreign = volume(), volume()
    lvm(disk, "lvcreate", "-y", "-L", "8M", "-n", foreign.name, "ours")
    lvm(disk, "lvcreate", "-V", "8M", "--thinpool", "ours-pool", "-n", thin_foreign.name, "ours")
    for label, driver in ((foreign, thick()), (thin_foreign, Guard(ThinDriver("ours", "ours-pool"), "thin"))):
        path = f"/dev/ours/{label.name}"
        with open(path, "r+b") as device:
            device.write(b"theirs" * 1000)
        assert [(found.name, found.label) for found in driver.list()] == [(label.name, None)]
        for verb in (
            lambda driver=driver, label=label: driver.delete(label.name),
            lambda driver=driver, label=label: driver.grow(label.name, 2 * SIZE),
            lambda driver=driver, label=label: driver.open(label.name),
            lambda driver=driver, label=label: driver.close(label.name),
            lambda driver=driver, label=label: driver.create(label, SIZE),
            lambda driver=driver, label=label: driver.snapshot(label.name, snapshot_of(label)),
        ):
            with pytest.raises(errors.BrickMismatch, match="adopt it"):
                verb()
        with open(path, "rb") as device:
            assert device.read(6000) == b"theirs" * 1000
        assert driver.adopt(label.name, label) is Did.CHANGED
        assert driver.adopt(label.name, label) is Did.ALREADY
        with open(driver.open(label.name).path, "rb") as device:
            assert device.read(6000) == b"theirs" * 1000
        assert driver.delete(label.name) is Did.CHANGED


def _bring_back(disk: str) -> None:
    """A device that can vanish, on a disk that shows nothing of it by itself: it begins at the second MiB."""
    sectors = int(run("blockdev", "--getsz", disk)) - 2048
    run("dmsetup", "create", "losable", "--table", f"0 {sectors} linear {disk} 2048")
    run("udevadm", "settle")


def test_a_device_that_vanishes_stops_what_needs_it_and_nothing_else(take: Take) -> None:
    one, two = take(2)
    _bring_back(two)
    groups.create("ours", [one, "/dev/mapper/losable"])
    driver, first, second = thick(), volume(), volume()
    both = f"{one},/dev/mapper/losable"
    for label, other in ((first, "/dev/mapper/losable"), (second, one)):  # one on each
        lvm(both, "pvchange", "-x", "n", other)
        driver.create(label, SIZE)
        lvm(both, "pvchange", "-x", "y", other)
    fill(driver, first.name, 7)
    driver.close(second.name)
    run("dmsetup", "remove", "--retry", "losable")
    before = lvm(one, "vgs", "--noheadings", "-o", "vg_seqno", "ours")
    for again in (driver, thick(), thick(devices=[one, "/dev/mapper/losable"])):
        assert {first.name, second.name} <= {found.name for found in again.list()}
        assert holds(again, first.name, 7)
        with pytest.raises(command.MissingDevice, match="bring the device back"):
            again.open(second.name)
        for verb in (
            lambda again=again: again.create(volume(), SIZE),
            lambda again=again: again.delete(first.name),
            lambda again=again: again.grow(first.name, 2 * SIZE),
            lambda again=again: again.check(),
        ):
            with pytest.raises(command.MissingDevice, match="bring them back"):
                verb()
    assert lvm(one, "vgs", "--noheadings", "-o", "vg_seqno", "ours") == before, "nothing was written"
    _bring_back(two)
    assert driver.open(second.name).size_bytes == SIZE
    assert driver.delete(first.name) is Did.CHANGED


@pytest.mark.parametrize("thin", [False, True])
def test_a_look_activates_nothing_and_open_and_close_are_exact(take: Take, thin: bool) -> None:
    [disk] = take(1)
    groups.create("ours", [disk], thin=thin)
    driver = Guard(ThinDriver("ours", "ours-pool"), "thin") if thin else thick()
    label = volume()
    driver.create(label, SIZE)
    assert mapped("ours") == []
    lvm(disk, "vgchange", "-an", "ours")
    list(driver.list()), driver.find(label.name), driver.usage()
    assert run("dmsetup", "ls") == "No devices found"
    lvm(disk, "vgchange", "-ay", "ours")  # what a boot does
    assert mapped("ours") == []
    driver.open(label.name)
    assert len(mapped("ours")) == 1
    with open(f"/dev/ours/{label.name}", "rb"), pytest.raises(command.InUse, match="stop the process"):
        driver.close(label.name)
    assert driver.close(label.name) is Did.CHANGED
    assert mapped("ours") == []


def test_volumes_of_another_service_are_taken_over_without_a_copy(take: Take) -> None:
    """As Cinder leaves them: a group with thick volumes, one with a thin pool `<group>-pool` and its snapshots."""
    one, two = take(2)
    lvm(one, "vgcreate", "cinder-volumes", one)
    lvm(two, "vgcreate", "thin-volumes", two)
    lvm(two, "lvcreate", "-T", "-L", "512M", "thin-volumes/thin-volumes-pool")
    label = volume("a project")
    snapshot = snapshot_of(label)
    old = Label(Kind.VOLUME, str(uuid.uuid4()), "a project")
    lvm(one, "lvcreate", "-y", "-L", "8M", "-n", label.name, "cinder-volumes")
    lvm(one, "lvcreate", "-s", "-L", "4M", "-n", snapshot.name, f"cinder-volumes/{label.name}")
    lvm(one, "lvcreate", "-y", "-L", "8M", "-n", "mail", "cinder-volumes")
    lvm(two, "lvcreate", "-V", "8M", "-T", "thin-volumes/thin-volumes-pool", "-n", label.name)
    lvm(two, "lvcreate", "-s", "-n", snapshot.name, f"thin-volumes/{label.name}")
    driver = thick("cinder-volumes")
    for name, wanted in ((label.name, label), (snapshot.name, snapshot)):
        with pytest.raises(errors.Invalid, match="copy-on-write"):
            driver.adopt(name, wanted)
    lvm(one, "lvremove", "-y", f"cinder-volumes/{snapshot.name}")
    assert driver.adopt(label.name, label) is Did.CHANGED
    assert driver.adopt("mail", old) is Did.CHANGED
    assert driver.adopt("mail", old) is Did.ALREADY
    with pytest.raises(errors.BrickMismatch):
        driver.adopt(label.name, volume())
    assert {found.label for found in driver.list()} == {label, old}
    thin = Guard(ThinDriver("thin-volumes", "thin-volumes-pool"), "thin")
    thin.check()
    for name, wanted in ((label.name, label), (snapshot.name, snapshot)):
        assert thin.adopt(name, wanted) is Did.CHANGED
    assert {found.label for found in thin.list()} == {label, snapshot}
    fill(thin, label.name, 3)
    assert thin.revert(label.name, snapshot.name) is Did.CHANGED
    assert holds(thin, label.name, 0)


def test_an_advisory_in_the_output_does_not_matter(take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [disk] = take(1)
    groups.create("ours", [disk])
    noisy = tmp_path / "lvm"
    noisy.write_text('#!/bin/sh\necho "  NOTE: {a thing} to know"\n/usr/sbin/lvm "$@" || exit\necho "  Bye {"\n')
    noisy.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    shell.find.cache_clear()
    try:
        driver, label = thick(), volume()
        assert driver.create(label, SIZE) is Did.CHANGED
        assert [found.label for found in driver.list()] == [label]
    finally:
        monkeypatch.undo()
        shell.find.cache_clear()


# the pool --------------------------------------------------------------------------------------------------------


def test_nothing_more_is_promised_when_the_pool_is_really_full(take: Take) -> None:
    [disk] = take(1)
    groups.create("ours", [disk])
    lvm(disk, "lvcreate", "-T", "-Zy", "-L", "64M", "--poolmetadatasize", "4M", "ours/ours-pool")
    driver = ThinDriver("ours", "ours-pool", limits=Limits(data_percent_max=50))
    guard, label = Guard(driver, "thin"), volume()
    guard.create(label, 64 * MIB)
    fill(guard, label.name, 1, 0, 40 * MIB)
    run("sync")
    full = guard.usage()
    assert full.data_percent is not None and full.data_percent > 50
    for verb in (
        lambda: guard.create(volume(), SIZE),
        lambda: guard.grow(label.name, 128 * MIB),
        lambda: guard.snapshot(label.name, snapshot_of(label)),
        lambda: guard.clone(label.name, volume(), SIZE),
    ):
        with pytest.raises(errors.NoSpace, match=r"full to 6.*% of its 67108864 bytes"):
            verb()
    growing = ThinDriver("ours", "ours-pool", limits=Limits(data_percent_max=50, autoextend_percent=100))
    assert growing.create(volume(), SIZE) is Did.CHANGED
    assert growing.usage().total_bytes == 128 * MIB
    kept = Limits(data_percent_max=50, autoextend_threshold=10, autoextend_percent=100, autoextend_keep_bytes=2**40)
    assert ThinDriver("ours", "ours-pool", limits=kept).autoextend() is Did.ALREADY
    assert guard.delete(label.name) is Did.CHANGED
    assert (guard.usage().data_percent or 0) < 5


def _write_all(path: str, mib: int) -> None:
    with open(path, "r+b", buffering=0) as device:
        for _ in range(mib):
            device.write(b"\x01" * MIB)
            os.fsync(device.fileno())


def test_a_pool_that_is_full_to_the_last_block_can_be_emptied_and_used_again(take: Take) -> None:
    [disk] = take(1)
    groups.create("ours", [disk])
    lvm(disk, "lvcreate", "-T", "-Zy", "-L", "32M", "--errorwhenfull", "y", "ours/ours-pool")
    driver, label, other = Guard(ThinDriver("ours", "ours-pool"), "thin"), volume(), volume()
    driver.create(other, SIZE)
    fill(driver, other.name, 5)
    driver.create(label, 64 * MIB)
    with pytest.raises(OSError):
        _write_all(driver.open(label.name).path, 64)
    assert driver.usage().data_percent == 100
    with pytest.raises(errors.NoSpace):
        driver.create(volume(), SIZE)
    assert driver.delete(label.name) is Did.CHANGED
    assert holds(driver, other.name, 5)
    following = volume()
    assert driver.create(following, SIZE) is Did.CHANGED
    fill(driver, following.name, 6)
    assert holds(driver, following.name, 6)


def test_a_pool_that_shows_what_others_wrote_is_refused(take: Take) -> None:
    [disk] = take(1)
    groups.create("ours", [disk])
    lvm(disk, "lvcreate", "-T", "-Zn", "-L", "64M", "ours/ours-pool")
    with pytest.raises(errors.BrickError, match="lvchange -Zy ours/ours-pool"):
        Guard(ThinDriver("ours", "ours-pool"), "thin").check()


@pytest.mark.parametrize("thin", [False, True])
def test_the_next_owner_reads_nothing_of_the_last_one(take: Take, thin: bool) -> None:
    """A marker over a whole volume, which is deleted; then the whole group is given to the next one and read."""
    [disk] = take(1)
    groups.create("ours", [disk])
    if thin:
        lvm(disk, "lvcreate", "-T", "-Zy", "-L", "64M", "ours/ours-pool")
    driver = Guard(ThinDriver("ours", "ours-pool"), "thin") if thin else thick()
    last = volume("the last one")
    driver.create(last, 48 * MIB)
    fill(driver, last.name, 0xA5, 0, 48 * MIB)
    receipt = driver.wipe(last.name)
    assert receipt.size_bytes == 48 * MIB and receipt.verified
    if not thin:
        with pytest.raises(errors.NotFound, match="being wiped"):
            driver.open(last.name)
        found = driver.find(last.name)
        assert found is not None and found.wiping and driver.usage().wiping_bytes == 48 * MIB
        assert driver.wipe(last.name) == receipt
    driver.delete(last.name)
    following = volume("the next one")
    driver.create(following, 48 * MIB)
    # A byte in each block makes the pool hand out the old ones; around it there must be zeros.
    path = driver.open(following.name).path
    with open(path, "r+b", buffering=0) as device:
        for offset in range(0, 48 * MIB, 64 * 1024):
            device.seek(offset)
            device.write(b"\x01" + bytes(511))
    with open(path, "rb") as device:
        assert b"\xa5" not in device.read()
    if not thin:  # and nothing of it is left on the disk beside the volumes either
        driver.delete(following.name)
        with open(disk, "rb") as device:
            device.seek(64 * MIB)
            assert b"\xa5" * 512 not in device.read(128 * MIB)


def test_space_that_was_never_ours_reads_as_zeros(take: Take) -> None:
    [disk] = take(1)
    with open(disk, "r+b") as device:
        for _ in range(200):
            device.write(b"\x5a" * MIB)
    run("wipefs", "-a", disk)
    groups.create("ours", [disk])
    driver, label = thick(), volume()
    driver.create(label, SIZE)
    assert holds(driver, label.name, 0, 0, SIZE)
    driver.grow(label.name, 4 * SIZE)
    assert holds(driver, label.name, 0, 0, 4 * SIZE)
    clone = volume()
    driver.clone(label.name, clone, 5 * SIZE)
    assert holds(driver, clone.name, 0, 0, 5 * SIZE)


# groups ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("thin", [False, True])
def test_a_mirrored_group_survives_a_disk(take: Take, thin: bool) -> None:
    one, two = take(2)
    _bring_back(two)
    groups.create("ours", [one, "/dev/mapper/losable"], raid1=True, thin=thin)
    groups.create("ours", [one, "/dev/mapper/losable"], raid1=True, thin=thin)
    driver = Guard(ThinDriver("ours", "ours-pool", raid1=True), "thin") if thin else thick(raid1=True)
    driver.check()
    label = volume()
    driver.create(label, SIZE)
    fill(driver, label.name, 9, 0, SIZE)
    driver.grow(label.name, 2 * SIZE)
    driver.close(label.name)
    lvm(f"{one},/dev/mapper/losable", "vgchange", "-an", "ours")
    run("dmsetup", "remove", "--retry", "losable")
    if thin:  # LVM opens a pool in half of its mirror only while it is active, and never a part of one by itself
        with pytest.raises(command.MissingDevice, match="bring the device back"):
            driver.open(label.name)
        _bring_back(two)
    assert holds(driver, label.name, 9, 0, SIZE)
    assert holds(driver, label.name, 0, SIZE, SIZE)


@pytest.mark.parametrize("thin", [False, True])
def test_a_device_is_added_drained_and_removed_under_what_is_open(take: Take, thin: bool) -> None:
    one, two = take(2)
    uuid_ = groups.create("ours", [one], thin=thin)
    driver, label = (Guard(ThinDriver("ours", "ours-pool"), "thin") if thin else thick()), volume()
    driver.create(label, SIZE)
    fill(driver, label.name, 3)
    assert groups.extend("ours", two, uuid=uuid_) is Did.CHANGED
    assert groups.extend("ours", two) is Did.ALREADY
    with pytest.raises(errors.BrickError, match="drain it first"):
        groups.remove_device("ours", one)
    seen: list[tuple[int, int]] = []
    assert groups.drain("ours", one, lambda *done: seen.append(done)) is Did.CHANGED
    assert groups.drain("ours", one) is Did.ALREADY
    assert seen and seen[-1][0] == seen[-1][1]
    assert leaks(one), "the blocks moved, and what they held stayed where it was"
    with pytest.raises(errors.BrickError, match="not erased: drain it first"):
        groups.remove_device("ours", one)
    with faults.installed(Hook(random.randint(3, 40), Death)), pytest.raises(Death):
        groups.erase_left("ours", one)
    seen.clear()
    assert groups.erase_left("ours", one, lambda *done: seen.append(done)) is Did.CHANGED
    assert groups.erase_left("ours", one) is Did.ALREADY
    assert seen[-1][0] == seen[-1][1]
    assert not leaks(one)
    assert groups.remove_device("ours", one) is Did.CHANGED
    assert groups.remove_device("ours", one) is Did.ALREADY
    assert holds(driver, label.name, 3)
    with pytest.raises(errors.BrickError, match="delete them first"):
        groups.destroy("ours")
    with pytest.raises(errors.BrickError, match="last device"):
        groups.drain("ours", two)
    driver.delete(label.name)
    assert groups.destroy("ours", [one, two]) is Did.CHANGED
    assert groups.destroy("ours", [one, two]) is Did.ALREADY
    assert run("wipefs", one) == run("wipefs", two) == ""


def test_a_device_that_something_was_moved_from_is_not_taken_for_clean(take: Take) -> None:
    """Not even when the drain is undone, and new volumes may lie there again."""
    one, two = take(2)
    groups.create("ours", [one, two], clean=True)
    driver, label = thick(), volume()
    driver.create(label, SIZE)
    fill(driver, label.name, 3)
    [where] = {one, two} & set(
        re.findall(r"/dev/\w+", lvm(f"{one},{two}", "lvs", "--noheadings", "-o", "devices", "ours"))
    )
    assert groups.drain("ours", where) is Did.CHANGED
    assert groups.refill("ours", where) is Did.CHANGED
    assert groups.erase_left("ours", where) is Did.ALREADY, "bricks may lie there"
    assert leaks(where)
    assert lvm(f"{one},{two}", "vgs", "--noheadings", "-o", "vg_tags", "ours") == tags.GROUP
    driver.delete(label.name)
    with pytest.raises(errors.BrickError, match="drain it first"):
        groups.remove_device("ours", where)
    assert groups.drain("ours", where) is Did.CHANGED
    assert groups.erase_left("ours", where) is Did.CHANGED
    assert groups.remove_device("ours", where) is Did.CHANGED
    assert not leaks(where)


def test_a_group_is_made_of_free_devices_only(take: Take) -> None:
    one, two = take(2)
    lvm(two, "vgcreate", "theirs", two)
    with pytest.raises(errors.BrickMismatch, match="belongs to the volume group theirs"):
        groups.create("ours", [one, two])
    with pytest.raises(errors.BrickMismatch, match="is another one"):
        groups.create("theirs", [one])
    run("mkfs.ext4", "-q", one)
    with pytest.raises(errors.BrickyardError):
        groups.create("ours", [one])
    assert "ext4" in run("wipefs", one)
