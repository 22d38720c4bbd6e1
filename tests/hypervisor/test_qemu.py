"""What only real processes and a real kernel can show."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from brickyard.brick import shell
from brickyard.core import errors
from brickyard.core.bricks import Did
from brickyard.hypervisor import accel, arguments, home, machine, process, qemu, qmp

from .rigs import Rig

pytestmark = pytest.mark.guest


def test_what_one_guest_writes_the_next_one_finds(real: Rig) -> None:
    disk = real.disk()
    first = real.guest(disk, name="alder")
    real.hypervisor.boot(first)
    log = real.until(first.id, "brickyard: ready")
    short = disk.serial[:20]
    assert f"instance alder ({first.id})" in log
    assert f"disk {short} is new, formatted" in log
    assert f"disk {short} wrote: written by alder boot " in log

    # A copy that is made while the guest is paused is as good as the disk itself.
    real.hypervisor.pause(first.id)
    snapshot = real.disk()
    shutil.copyfile(disk.path, snapshot.path)
    real.hypervisor.resume(first.id)

    assert real.hypervisor.stop(first.id) is Did.CHANGED
    assert "power button pressed" in real.hypervisor.console(first.id)
    real.hypervisor.destroy(first.id)

    second = real.guest(disk, snapshot, name="birch")
    real.hypervisor.boot(second)
    log = real.until(second.id, "brickyard: ready")
    for serial in (short, snapshot.serial[:20]):
        assert f"disk {serial} found: written by alder boot " in log
        assert f"disk {serial} wrote: written by birch boot " in log


def test_a_guest_boots_from_its_own_disk_and_knows_its_name(real: Rig, tiny_image: Path) -> None:
    root, data = real.disk(), real.disk()
    shutil.copyfile(tiny_image / "tiny.raw", root.path)
    guest = dataclasses.replace(real.guest(root, data, name="cedar"), kernel=None, initrd=None, cmdline="")
    real.hypervisor.boot(guest)
    log = real.until(guest.id, "brickyard: ready")
    assert f"instance cedar ({guest.id})" in log
    assert f"disk {root.serial[:20]} holds something else, left alone" in log
    assert f"disk {data.serial[:20]} wrote: written by cedar boot " in log


def test_auto_finds_an_accelerator_under_which_guests_run(real: Rig, tmp_path: Path) -> None:
    host = qemu.Qemu(tmp_path / "state", accel="auto")
    assert host.acceleration() in ("kvm", "tcg")
    guest = real.guest()
    host.boot(guest)
    real.until(guest.id, "brickyard: ready")


def test_the_trial_executes_instructions_and_its_result_is_kept(tmp_path: Path) -> None:
    assert accel.works("tcg", qemu.BINARY, timeout_s=120)
    found = accel.choose(tmp_path, qemu.BINARY)
    other = {"kvm": "tcg", "tcg": "kvm"}[found]
    note = tmp_path / "acceleration.json"
    note.write_text(note.read_text().replace(found, other))
    assert accel.choose(tmp_path, qemu.BINARY) == other  # read, not tried again
    for damage in (b"{", b'{"boot":"\xff"}'):
        note.write_bytes(damage)
        assert accel.choose(tmp_path, qemu.BINARY) == found


def test_a_hung_trial_means_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "BOOT_SECTOR", b"\xeb\xfe".ljust(510, b"\0") + b"\x55\xaa")  # jmp to itself
    assert not accel.works("tcg", qemu.BINARY, timeout_s=1)


def test_a_pid_file_that_names_a_stranger_is_not_believed(real: Rig, tmp_path: Path) -> None:
    guest = real.guest()
    real.hypervisor.boot(guest)
    real.kill(guest.id)
    (tmp_path / "state" / "guests" / guest.id / "pid").write_text(f"{os.getpid()}\n")
    assert real.status(guest.id) == "stopped"
    assert real.hypervisor.boot(guest) is Did.CHANGED
    (tmp_path / "state" / "guests" / guest.id / "pid").write_text(f"{os.getpid()}\n")
    assert real.status(guest.id) == "running"  # found without the pid file
    assert real.hypervisor.destroy(guest.id) is Did.CHANGED  # and this test is still alive


def test_a_start_that_was_interrupted_is_adopted_or_repeated(
    real: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qmp, "CONNECT_S", 0.5)
    monkeypatch.setattr(qemu, "TERMINATE_S", 0.2)
    guest = real.guest(real.disk())
    at = home.Home((tmp_path / "state").resolve(), guest.id)
    real.hypervisor.boot(guest)
    pid = real.pid(guest.id)
    at.write(home.Record(guest))  # as a service leaves it that dies between the start and its note
    assert real.hypervisor.boot(guest) is Did.ALREADY
    assert real.pid(guest.id) == pid

    at.write(home.Record(guest))
    os.kill(pid, signal.SIGSTOP)  # half started: it is there and does not answer
    assert real.hypervisor.boot(guest) is Did.CHANGED
    assert real.pid(guest.id) != pid

    os.kill(real.pid(guest.id), signal.SIGSTOP)  # started, and silent: never ended without being asked
    with pytest.raises(errors.GuestError, match="destroy it first"):
        real.hypervisor.boot(guest)
    assert real.hypervisor.destroy(guest.id) is Did.CHANGED
    assert process.search(at) == []


@pytest.mark.parametrize("damage", [b"{", b'{"name":"\xff"}'])
def test_a_damaged_record_hides_no_guest(real: Rig, tmp_path: Path, damage: bytes) -> None:
    good, bad = real.guest(), real.guest()
    for guest in (good, bad):
        real.hypervisor.boot(guest)
    (tmp_path / "state" / "guests" / bad.id / "record.json").write_bytes(damage)
    assert real.status(good.id) == real.status(bad.id) == "running"
    with pytest.raises(errors.GuestError, match="destroy"):
        real.hypervisor.attach(bad.id, real.disk())
    assert real.hypervisor.destroy(bad.id) is Did.CHANGED


def test_a_guest_that_does_not_cooperate_keeps_its_disk(real: Rig, tmp_path: Path) -> None:
    host = qemu.Qemu(tmp_path / "state", accel="tcg", detach_s=0.5)
    guest = dataclasses.replace(real.guest(real.disk()), kernel=None, initrd=None, cmdline="")  # nothing to boot
    host.boot(guest)
    extra = real.disk()
    host.attach(guest.id, extra)
    for _ in range(2):
        with pytest.raises(errors.GuestError, match="still attached"):
            host.detach(guest.id, extra.serial)
    assert extra.serial in real.serials(guest.id)
    assert host.attach(guest.id, extra) is Did.ALREADY


def test_a_disk_that_cannot_be_opened_changes_nothing(real: Rig, tmp_path: Path) -> None:
    good, absent = real.disk(), dataclasses.replace(real.disk(), path="/nonexistent")
    with pytest.raises(errors.GuestError, match="open its volume"):
        real.hypervisor.boot(real.guest(absent))
    assert real.hypervisor.list() == []
    guest = real.guest(good)
    real.hypervisor.boot(guest)
    with pytest.raises(errors.GuestError, match="open its volume"):
        real.hypervisor.attach(guest.id, absent)
    # QEMU locks the files of its disks: no second guest writes to the same one.
    with pytest.raises(errors.GuestError, match="lock"):
        real.hypervisor.boot(real.guest(good))
    assert len(real.hypervisor.list()) == 1
    assert os.listdir(tmp_path / "state" / "locks") == [guest.id]


def test_an_image_that_points_at_another_file_is_refused(real: Rig, tmp_path: Path) -> None:
    bottom, top = real.disk("qcow2"), real.disk("qcow2")
    shell.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", bottom.path, top.path], timeout_s=30)
    with pytest.raises(errors.UnsafeImage, match="backing"):
        real.hypervisor.boot(real.guest(top))
    shell.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path}/outside", top.path, "8M"], timeout_s=30
    )
    with pytest.raises(errors.UnsafeImage, match="another file"):
        real.hypervisor.boot(real.guest(top))


def test_a_long_state_directory_and_a_long_console(real: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / ("long," * 30)
    host = qemu.Qemu(state, accel="tcg")
    guest = real.guest()
    try:
        host.boot(guest)
        assert host.pause(guest.id) is Did.CHANGED
        directory = state / "guests" / guest.id
        assert directory.stat().st_mode & 0o777 == 0o700
        monkeypatch.setattr(home, "CONSOLE_BYTES_MAX", 1000)
        monkeypatch.setattr(home, "CONSOLE_BYTES_KEPT", 10)
        with (directory / "console.log").open("a") as log:
            log.write("x" * 2000 + "0123456789")
        assert host.console(guest.id) == "0123456789"
    finally:
        host.destroy(guest.id)
    assert os.listdir(state / "guests") == os.listdir(state / "locks") == []


def test_names_cannot_become_options(real: Rig, tmp_path: Path) -> None:
    guest = dataclasses.replace(real.guest(), name="a,uuid=1 --x\n")
    at = home.Home(tmp_path, guest.id)
    argv = arguments.of_guest(guest, at, binary="qemu", acceleration="tcg", slots=1, qmp="/a,b")
    assert "type=1,manufacturer=Brickyard,product=Brickyard,family=a-uuid-1---x-" in argv
    assert "socket,id=qmp,path=/a,,b,server=on,wait=off" in argv


def test_a_death_between_the_note_and_the_stop_is_made_good(real: Rig) -> None:
    """The reason is on disk, and the guest still runs: both ways from there."""
    guest = real.guest(real.disk())
    real.hypervisor.boot(guest)
    at = home.Home(real.directory / "state", guest.id)
    record = at.read()
    assert record is not None
    at.write(dataclasses.replace(record, held=("pool a",)))
    [found] = real.hypervisor.list()
    assert (found.status, found.held) == ("running", ("pool a",))
    assert real.hypervisor.hold(guest.id, "pool a") is Did.CHANGED
    assert real.status(guest.id) == "paused"
    assert real.hypervisor.release(guest.id, "pool a") is Did.CHANGED
    at.write(dataclasses.replace(record, held=("pool a",)))
    assert real.hypervisor.release(guest.id, "pool a") is Did.CHANGED
    [found] = real.hypervisor.list()
    assert (found.status, found.held) == ("running", ())


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MiB."""
    if os.geteuid() != 0:
        pytest.skip("a file system is mounted, which needs root")
    image, mounted = tmp_path / "small.img", tmp_path / "small"
    with image.open("wb") as file:
        file.truncate(32 * 1024 * 1024)
    mounted.mkdir()
    shell.run(["mkfs.ext4", "-q", "-m", "0", str(image)], timeout_s=30)
    shell.run(["mount", "-o", "loop", str(image), str(mounted)], timeout_s=30)
    yield mounted
    shell.run(["umount", str(mounted)], timeout_s=30)


@pytest.mark.root
def test_a_write_that_finds_no_room_stops_the_guest_and_goes_on_when_there_is_room(real: Rig, small: Path) -> None:
    """The guest formats its disk in a full file system: it is stopped before it hears of that, and then goes on."""
    disk = dataclasses.replace(real, directory=small).disk()
    filler = small / "filler"
    with filler.open("wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(65536))
            file.flush()
    guest = real.guest(disk)
    real.hypervisor.boot(guest)
    try:
        deadline = time.monotonic() + 60
        while not (found := real.hypervisor.list()[0]).held:
            assert time.monotonic() < deadline, real.hypervisor.console(guest.id)
            time.sleep(0.1)
        assert (found.status, found.held) == ("paused", (machine.NO_ROOM,))
        # The end of a snapshot, or of a former service, does not let it go; nor does a release while there is no room.
        assert real.restarted().resume(guest.id) is Did.ALREADY
        assert real.status(guest.id) == "paused"
        real.hypervisor.release(guest.id, machine.NO_ROOM)
        while not real.hypervisor.list()[0].held:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        filler.unlink()
        assert real.hypervisor.release(guest.id, machine.NO_ROOM) is Did.CHANGED
        log = real.until(guest.id, "brickyard: ready")
        assert f"disk {disk.serial[:20]} wrote: written by alder boot " in log
        assert "I/O error" not in log
        assert real.hypervisor.list()[0].held == ()
    finally:
        real.hypervisor.destroy(guest.id)
