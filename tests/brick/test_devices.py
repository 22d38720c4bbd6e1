"""Devices: whatever is on one is found and named, nothing is lost without its serial, and of two claims one wins."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.contract import loops

from brickyard.brick import blkpg, devices, faults
from brickyard.core import errors
from brickyard.core.sizes import MIB

pytestmark = pytest.mark.root
SIZE = 128 * MIB
KEPT = b"what nobody may lose"
KEPT_AT = 5 * MIB  # where no signature is


def run(*command: str, input: str | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, input=input)
    if done.returncode != 0:
        pytest.fail(f"{command}: {done.stderr}")
    return done.stdout


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[str]:
    """A disk with some content where no signature is."""
    disk = loops.new_disk(tmp_path / "image", SIZE)
    with open(disk, "r+b") as file:
        file.seek(KEPT_AT)
        file.write(KEPT)
    yield disk
    loops.detach(disk)


def partitioned(disk: str) -> list[str]:
    """Two partitions; the kernel is told, since some kernels do not look by themselves."""
    run("sgdisk", "-n", "1:2048:+40M", "-n", "2:0:+40M", disk)
    return known(disk)


def known(disk: str) -> list[str]:
    descriptor = os.open(disk, os.O_RDONLY)
    try:
        blkpg.add(disk, descriptor, 1, MIB, 40 * MIB)
        blkpg.add(disk, descriptor, 2, 41 * MIB, 40 * MIB)
    finally:
        os.close(descriptor)
    return devices.partitions(disk)


def kept(disk: str) -> bool:
    with open(disk, "rb") as file:
        file.seek(KEPT_AT)
        return file.read(len(KEPT)) == KEPT


SIGNATURES: dict[str, Callable[[str], object]] = {
    "ext4": lambda disk: run("mkfs.ext4", "-q", disk),
    "btrfs": lambda disk: run("mkfs.btrfs", "-q", "-f", disk),
    "swap": lambda disk: run("mkswap", disk),
    "gpt": lambda disk: run("sgdisk", "-o", disk),
    "LVM2_member": lambda disk: run("lvm", "pvcreate", "-q", "--devices", disk, disk),
}


def test_a_device_that_this_service_may_not_open_is_refused_with_what_to_do(disk: str) -> None:
    os.chmod(disk, 0o600)
    os.seteuid(65534)
    try:
        with pytest.raises(errors.DeviceInUse, match="cannot be opened: .*give this service access"):
            devices.claim(disk)
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("kind", SIGNATURES)
def test_a_signature_is_named_and_refused_and_wiped_with_the_right_word(disk: str, kind: str) -> None:
    SIGNATURES[kind](disk)
    before = Path(disk).read_bytes()
    device = devices.inspect(disk)
    assert f"signature {kind} on {disk}" in device.found
    assert device.in_use == ()
    for wrong in (None, "another serial"):
        with pytest.raises(errors.DeviceInUse, match=f"signature {kind}.*--wipe {disk}") as caught:
            devices.claim(disk, serial=wrong)
        assert caught.value.found == device.found and caught.value.status == 409
    assert Path(disk).read_bytes() == before, "a refusal changes nothing"
    for _ in range(2):
        assert devices.claim(disk, serial=disk).found == ()
    assert run("wipefs", "-n", disk) == ""


def test_both_copies_of_a_partition_table_go_and_what_is_in_partitions_is_named(disk: str) -> None:
    one, two = partitioned(disk)
    run("mkfs.ext4", "-q", one)
    run("mkswap", two)
    found = devices.inspect(disk).found
    assert found[0] == f"signature gpt on {disk}"
    assert f"signature ext4 on {one}" in found and f"signature swap on {two}" in found
    assert any(word.startswith(f"partition {two} of {40 * MIB} bytes") for word in found)
    assert devices.claim(disk, serial=disk).found == ()
    assert devices.partitions(disk) == []
    content = Path(disk).read_bytes()
    assert b"EFI PART" not in content


def test_a_partition_can_be_claimed_and_its_neighbour_stays(disk: str) -> None:
    one, two = partitioned(disk)
    run("mkfs.ext4", "-q", one)
    run("mkfs.ext4", "-q", two)
    assert devices.claim(one, serial=disk if devices.inspect(one).serial else one).found == ()
    assert f"signature ext4 on {two}" in devices.inspect(two).found


def test_an_empty_device_is_claimed_and_keeps_what_has_no_signature(disk: str) -> None:
    device = devices.claim(disk)
    assert (device.path, device.size_bytes, device.found, device.serial) == (disk, SIZE, (), None)
    assert device.confirmation == disk
    assert devices.claim(disk, serial=disk) == device
    assert kept(disk)
    with pytest.raises(errors.Invalid, match="not the device that is meant"):
        devices.claim(disk, serial="S1234")


# in use -----------------------------------------------------------------------------------------------------------


def refused_whatever_is_said(disk: str, word: str) -> None:
    for serial in (None, disk):
        with pytest.raises(errors.DeviceInUse, match=word):
            devices.claim(disk, serial=serial)
    assert any(word in one for one in devices.inspect(disk).in_use)


@contextlib.contextmanager
def mounted(device: str, where: Path) -> Iterator[None]:
    where.mkdir()
    run("mount", device, str(where))
    try:
        yield
    finally:
        run("umount", str(where))


@pytest.mark.parametrize("kind", ["ext4", "btrfs"])
def test_what_is_mounted_is_refused_even_with_its_serial(disk: str, tmp_path: Path, kind: str) -> None:
    SIGNATURES[kind](disk)
    with mounted(disk, tmp_path / "a mount point"):
        refused_whatever_is_said(disk, f"mounted on {tmp_path}/a mount point")
        (tmp_path / "a mount point" / "file").write_text("still works")
    assert devices.claim(disk, serial=disk).found == ()


def test_a_mounted_partition_keeps_its_whole_disk(disk: str, tmp_path: Path) -> None:
    one, two = partitioned(disk)
    run("mkfs.ext4", "-q", two)
    with mounted(two, tmp_path / "point"):
        refused_whatever_is_said(disk, f"{two} is mounted on")
        assert devices.claim(one, serial=one).found == (), "its neighbour is free"


def test_the_second_device_of_a_btrfs_is_seen_though_no_table_of_mounts_names_it(disk: str, tmp_path: Path) -> None:
    other = loops.new_disk(tmp_path / "other", SIZE)
    try:
        run("mkfs.btrfs", "-q", "-f", disk, other)
        run("btrfs", "device", "scan", disk, other)
        with mounted(disk, tmp_path / "point"):
            refused_whatever_is_said(other, "cannot be opened exclusively")
    finally:
        loops.detach(other)


def test_swap_is_refused(disk: str) -> None:
    run("mkswap", disk)
    if subprocess.run(["swapon", disk], capture_output=True, check=False).returncode != 0:
        pytest.skip("no swap here")
    try:
        refused_whatever_is_said(disk, "used as swap")
    finally:
        run("swapoff", disk)


def test_a_loop_over_the_device_or_its_partition_is_refused(disk: str) -> None:
    _, two = partitioned(disk)
    for below in (disk, two):
        above = run("losetup", "-f", "--show", below).strip()
        try:
            refused_whatever_is_said(disk, f"{below} is the store of {above}")
        finally:
            run("losetup", "-d", above)


def test_a_program_that_writes_to_it_is_refused_and_named_and_a_reader_is_not(disk: str) -> None:
    with open(disk, "rb"):
        assert devices.claim(disk).found == ()
    with open(disk, "r+b"):
        refused_whatever_is_said(disk, rf"{disk} is open for writing in ")


def test_a_program_that_only_tries_the_device_is_waited_for(disk: str) -> None:
    held = open(disk, "r+b")  # noqa: SIM115 - closed by the timer
    timer = threading.Timer(0.1, held.close)
    timer.start()
    try:
        assert devices.claim(disk).found == ()
    finally:
        timer.join()


def test_what_is_opened_exclusively_is_refused(disk: str) -> None:
    holder = os.open(disk, os.O_RDONLY | os.O_EXCL)
    try:
        refused_whatever_is_said(disk, "cannot be opened exclusively")
    finally:
        os.close(holder)
    assert devices.claim(disk).found == ()


def test_a_read_only_device_is_refused(disk: str) -> None:
    run("blockdev", "--setro", disk)
    try:
        refused_whatever_is_said(disk, "read-only")
    finally:
        run("blockdev", "--setrw", disk)


# names ------------------------------------------------------------------------------------------------------------


def test_any_name_of_a_device_will_do(disk: str, tmp_path: Path) -> None:
    link = tmp_path / "by id"
    link.symlink_to(disk)
    assert devices.inspect(str(link)).path == disk
    run("mkswap", disk)
    assert devices.claim(str(link), serial=str(link)).path == disk, "the name that was given is the confirmation too"


@pytest.mark.parametrize("path", ["loop0", "/dev/null", "/etc/passwd", "/tmp", "-rf", ""])
def test_what_is_no_block_device_is_refused(path: str) -> None:
    with pytest.raises(errors.Invalid, match="device"):
        devices.claim(path)


def test_a_device_that_is_not_there_is_not_found() -> None:
    with pytest.raises(errors.NotFound, match="lsblk"):
        devices.inspect("/dev/no-such-disk")


def _sees_its_root() -> bool:
    """Is the mount of / told to us? Within a chroot it is not."""
    return any(line.split()[4] == "/" for line in Path("/proc/self/mountinfo").read_text().splitlines())


def test_the_list_has_every_disk_of_this_host(disk: str) -> None:
    listed = {device.path: device for device in devices.list_devices()}
    assert listed[disk] == devices.inspect(disk)
    on_root = os.stat("/").st_dev
    root = os.path.basename(os.path.realpath(f"/sys/dev/block/{os.major(on_root)}:{os.minor(on_root)}"))
    if f"/dev/{root}" in listed and _sees_its_root():
        assert any("mounted on /" in word for word in listed[f"/dev/{root}"].in_use)


# together, and in the middle ----------------------------------------------------------------------------------------


def test_two_claims_at_once_take_turns(disk: str) -> None:
    partitioned(disk)
    start = threading.Barrier(8)

    def claim(_: int) -> devices.Device:
        start.wait()
        return devices.claim(disk, serial=disk)

    with ThreadPoolExecutor(8) as threads:
        assert {one.found for one in threads.map(claim, range(8))} == {()}


def test_of_two_that_claim_and_take_one_gets_it(disk: str) -> None:
    """Whoever claims makes something of it under the same lock; the other one sees that."""
    start, taken, refused = threading.Barrier(2), [], []

    def take(number: int) -> None:
        start.wait()
        try:
            with devices.locked(disk):
                if devices.inspect(disk).found:
                    raise errors.DeviceInUse("it is taken")
                run("mkswap", disk)
                taken.append(number)
        except errors.DeviceInUse:
            refused.append(number)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(take, range(2)))
    assert (len(taken), len(refused)) == (1, 1)


class Death(BaseException):
    pass


@pytest.mark.slow
def test_dying_at_any_point_of_a_claim_leaves_it_refused_or_clean(disk: str) -> None:
    run("mkfs.ext4", "-q", "-F", partitioned(disk)[0])
    before = Path(disk).read_bytes()
    for at in itertools.count(1):
        Path(disk).write_bytes(before)
        known(disk)
        passed = itertools.count(1)

        def die(_: str, at: int = at, passed: Iterator[int] = passed) -> None:
            if next(passed) >= at:
                raise Death

        try:
            with faults.installed(die):
                devices.claim(disk, serial=disk)
        except Death:
            if devices.inspect(disk).found:
                with pytest.raises(errors.DeviceInUse, match="--wipe"):
                    devices.claim(disk)
            assert devices.claim(disk, serial=disk).found == ()
        else:
            break
    assert at > 10


def test_being_killed_in_the_middle_of_a_claim_can_be_repeated(disk: str) -> None:
    for after_s in (0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3):
        partitioned(disk)
        child = os.fork()
        if child == 0:
            try:
                devices.claim(disk, serial=disk)
            finally:
                os._exit(0)
        threading.Event().wait(after_s)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        # A command that outlived the child holds the lock; this claim waits for its end.
        with contextlib.suppress(errors.DeviceInUse):
            assert devices.claim(disk).found == ()
        assert devices.claim(disk, serial=disk).found == ()
        assert devices.partitions(disk) == []
