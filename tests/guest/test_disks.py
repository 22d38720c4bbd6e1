"""Partitions and whole disks where a real udev watches, the kernel reads partition tables, and disks have serials."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.contract.content import SIZE, fill, holds, snapshot_of, volume

from brickyard.brick import blkpg, devices, wipe
from brickyard.brick.disks import preparing
from brickyard.brick.disks.driver import DiskDriver
from brickyard.brick.guard import Guard
from brickyard.core import errors
from brickyard.core.bricks import Did, WipeMethod
from brickyard.core.sizes import MIB

from .test_pools import until

pytestmark = pytest.mark.guest
Take = Callable[[int], list[str]]


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def settled() -> None:
    run("udevadm", "settle")


def prepared(paths: list[str], *, whole: bool = False) -> Guard:
    for path in paths:
        preparing.prepare(path, pool="guest", driver="disk" if whole else "partition")
    driver = Guard(DiskDriver(paths, whole=whole), "under test")
    driver.check()
    return driver


# claims -------------------------------------------------------------------------------------------------------------


def test_a_serial_is_what_allows_a_device_to_be_emptied(disks: Take) -> None:
    one, other = disks(2)
    serial, wrong = (devices.inspect(path).serial for path in (one, other))
    if serial is None:
        pytest.skip("loop devices have no serials")
    by_id = f"/dev/disk/by-id/virtio-{serial}"
    assert devices.claim(by_id).path == one
    run("mkfs.ext4", "-q", one)
    settled()
    for not_it in (None, wrong, one, by_id):
        with pytest.raises(errors.DeviceInUse, match=f"signature ext4.*--wipe {serial}"):
            devices.claim(by_id, serial=not_it)
    assert devices.claim(by_id, serial=serial).found == ()
    assert {device.path for device in devices.list_devices()} >= {one, other}


def test_a_device_under_a_mapping_is_held_and_refused(disks: Take) -> None:
    [disk] = disks(1)
    run("sgdisk", "-n", "1:0:+64M", disk)
    run("partx", "-u", disk)
    settled()
    [part] = devices.partitions(disk)
    run("dmsetup", "create", "brickyard-holds", "--table", f"0 2048 linear {part} 0")
    try:
        word = devices.inspect(disk).confirmation
        for serial in (None, word):
            with pytest.raises(errors.DeviceInUse, match=rf"{part} is held by dm-"):
                devices.claim(disk, serial=serial)
    finally:
        run("dmsetup", "remove", "--retry", "brickyard-holds")
    settled()
    assert devices.claim(disk, serial=word).found == ()
    assert devices.partitions(disk) == []


def test_an_inactive_volume_group_is_a_signature(disks: Take) -> None:
    [disk] = disks(1)
    run("lvm", "vgcreate", "-q", "--devices", disk, "somebodys", disk)
    settled()
    with pytest.raises(errors.DeviceInUse, match="LVM2_member"):
        devices.claim(disk)
    assert devices.claim(disk, serial=devices.inspect(disk).confirmation).found == ()


# drivers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [False, True])
def test_the_life_of_a_brick(disks: Take, whole: bool) -> None:
    driver = prepared(disks(4), whole=whole)
    label, clone = volume(), volume()
    snapshot = snapshot_of(label)
    assert driver.create(label, SIZE) is Did.CHANGED
    fill(driver, label.name, 1)
    driver.snapshot(label.name, snapshot)
    driver.grow(label.name, 2 * SIZE)
    fill(driver, label.name, 2, SIZE, SIZE)
    driver.clone(label.name, clone, 3 * SIZE)
    driver.revert(label.name, snapshot.name)
    assert holds(driver, label.name, 1) and holds(driver, label.name, 0, SIZE, SIZE)
    assert holds(driver, clone.name, 2, SIZE, SIZE) and holds(driver, clone.name, 0, 2 * SIZE, SIZE)
    receipt = driver.wipe(clone.name)
    assert receipt.method is not WipeMethod.NONE
    for name in (label.name, clone.name, snapshot.name):
        assert driver.delete(name) is Did.CHANGED
    assert list(driver.list()) == [] and driver.leftovers() == {}


def test_the_kernel_reads_our_table_as_we_told_it(disks: Take) -> None:
    [disk] = disks(1)
    driver = prepared([disk])
    labels = [volume(), volume(), volume()]
    for label in labels:
        driver.create(label, SIZE)
        fill(driver, label.name, 7)
    driver.grow(labels[0].name, 3 * SIZE)
    driver.delete(labels[1].name)
    told = blkpg.known(disk)
    settled()
    run("blockdev", "--rereadpt", disk)
    settled()
    assert blkpg.known(disk) == told
    assert "No problems found" in run("sgdisk", "-v", disk)
    assert holds(driver, labels[0].name, 7)
    link, path = Path("/dev/disk/by-partlabel", labels[0].id), driver.open(labels[0].name).path
    # udev looks again at what sgdisk had open, and the name is gone while it does
    until(lambda: str(link.resolve()) == path, "the id is a name in /dev as well")


def test_a_change_of_the_table_takes_no_partition_away_for_a_moment(disks: Take) -> None:
    """udev makes the kernel read a table again when a disk that was open for writing is closed; nobody has the first
    brick open, and still its node is never gone."""
    [disk] = disks(1)
    driver, first = prepared([disk]), volume()
    driver.create(first, SIZE)
    path = driver.open(first.name).path
    settled()
    made, gone, stop = os.stat(path).st_ino, [], threading.Event()

    def watch() -> None:
        while not stop.is_set():
            try:
                if os.stat(path).st_ino != made:
                    gone.append("another node")
            except FileNotFoundError:
                gone.append("no node")

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(5):
            other = volume()
            driver.create(other, SIZE)
            driver.delete(other.name)
            settled()
    finally:
        stop.set()
        watcher.join()
    assert gone == []
    assert holds(driver, first.name, 0)


def test_a_large_disk_is_erased_and_verified_by_samples(disks: Take) -> None:
    [disk] = disks(1)
    size = devices.inspect(disk).size_bytes
    with open(disk, "r+b") as file:
        for at in range(0, size, 8 * MIB):
            file.seek(at)
            file.write(b"a former owner's" * 4096)
    settled()
    method, verified = wipe.erase(disk, size)
    assert "random places" in verified and method is not WipeMethod.NONE
    with open(disk, "rb") as file:
        for at in range(0, size, 8 * MIB):
            file.seek(at)
            assert file.read(65536) == bytes(65536)


def test_a_mounted_brick_is_neither_wiped_nor_deleted(disks: Take, tmp_path: Path) -> None:
    driver, label = prepared(disks(1)), volume()
    driver.create(label, 64 * MIB)
    path = driver.open(label.name).path
    run("mkfs.ext4", "-q", path)
    run("mount", path, str(tmp_path))
    try:
        (tmp_path / "file").write_text("kept")
        for verb in (driver.wipe, driver.delete):
            with pytest.raises(errors.DeviceInUse):
                verb(label.name)
        assert (tmp_path / "file").read_text() == "kept"
    finally:
        run("umount", str(tmp_path))
    assert driver.delete(label.name) is Did.CHANGED
