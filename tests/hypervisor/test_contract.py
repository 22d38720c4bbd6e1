"""What any hypervisor promises; each test runs on the simulated one and on real QEMU."""

from __future__ import annotations

import dataclasses
import threading
import uuid

import pytest

from brickyard.core import errors
from brickyard.core.bricks import Did

from .rigs import Rig


def test_a_second_boot_changes_nothing(rig: Rig) -> None:
    guest = rig.guest(rig.disk())
    assert rig.hypervisor.boot(guest) is Did.CHANGED
    pid = rig.pid(guest.id)
    assert rig.hypervisor.boot(guest) is Did.ALREADY
    assert rig.pid(guest.id) == pid
    assert rig.serials(guest.id) == (guest.disks[0].serial,)


def test_concurrent_boots_make_one_guest(rig: Rig) -> None:
    guest, answers = rig.guest(), []
    threads = [threading.Thread(target=lambda: answers.append(rig.restarted().boot(guest))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [Did.ALREADY] * 3 + [Did.CHANGED]
    assert len(rig.hypervisor.list()) == 1


def test_destroy_leaves_nothing_and_may_be_repeated(rig: Rig) -> None:
    guest = rig.guest(rig.disk())
    rig.hypervisor.boot(guest)
    assert rig.hypervisor.destroy(guest.id) is Did.CHANGED
    assert rig.hypervisor.destroy(guest.id) is Did.ALREADY
    assert rig.hypervisor.list() == []
    with pytest.raises(errors.NotFound):
        rig.hypervisor.console(guest.id)


def test_disks_come_and_go_while_the_guest_runs(rig: Rig) -> None:
    guest = rig.guest(rig.disk())
    rig.hypervisor.boot(guest)
    rig.until(guest.id, "brickyard: ready")
    for disk in (rig.disk(), rig.disk("qcow2"), rig.disk("vdi")):
        assert rig.hypervisor.attach(guest.id, disk) is Did.CHANGED
        assert rig.hypervisor.attach(guest.id, disk) is Did.ALREADY
        assert set(rig.serials(guest.id)) == {guest.disks[0].serial, disk.serial}
        rig.until(guest.id, f"disk {disk.serial[:20]} appeared")
        assert rig.hypervisor.detach(guest.id, disk.serial) is Did.CHANGED
        assert rig.hypervisor.detach(guest.id, disk.serial) is Did.ALREADY
        assert rig.serials(guest.id) == (guest.disks[0].serial,)
        rig.until(guest.id, f"disk {disk.serial[:20]} gone")
    # A disk of the start can be taken out too, and put in again.
    assert rig.hypervisor.detach(guest.id, guest.disks[0].serial) is Did.CHANGED
    assert rig.hypervisor.attach(guest.id, guest.disks[0]) is Did.CHANGED


def test_slots_run_out_with_an_explanation(rig: Rig) -> None:
    guest = rig.guest()
    rig.hypervisor.boot(guest)
    for _ in range(8):
        assert rig.hypervisor.attach(guest.id, rig.disk()) is Did.CHANGED
    with pytest.raises(errors.GuestError, match="slot"):
        rig.hypervisor.attach(guest.id, rig.disk())
    assert len(rig.serials(guest.id)) == 8


def test_guests_outlive_the_service(rig: Rig) -> None:
    guest, disk = rig.guest(rig.disk()), rig.disk()
    rig.hypervisor.boot(guest)
    rig.hypervisor.pause(guest.id)
    before = rig.hypervisor.list()
    service = rig.restarted()
    assert service.list() == before
    assert service.boot(guest) is Did.ALREADY
    assert service.resume(guest.id) is Did.CHANGED
    assert service.attach(guest.id, disk) is Did.CHANGED
    assert service.destroy(guest.id) is Did.CHANGED


def test_a_killed_guest_is_stopped_and_boots_again(rig: Rig) -> None:
    guest = rig.guest(rig.disk())
    rig.hypervisor.boot(guest)
    rig.kill(guest.id)
    assert rig.status(guest.id) == "stopped"
    assert rig.serials(guest.id) == (guest.disks[0].serial,)
    for refused in (rig.hypervisor.pause, rig.hypervisor.resume):
        with pytest.raises(errors.GuestError, match="boot it first"):
            refused(guest.id)
    assert rig.hypervisor.stop(guest.id) is Did.ALREADY
    assert rig.hypervisor.boot(guest) is Did.CHANGED
    assert rig.status(guest.id) == "running"


def test_a_stopped_guest_gives_its_disks_back(rig: Rig) -> None:
    guest = rig.guest(rig.disk())
    rig.hypervisor.boot(guest)
    rig.kill(guest.id)
    assert rig.hypervisor.detach(guest.id, guest.disks[0].serial) is Did.CHANGED
    assert rig.hypervisor.detach(guest.id, guest.disks[0].serial) is Did.ALREADY
    assert rig.serials(guest.id) == ()


def test_stop_switches_off_and_keeps_the_guest(rig: Rig) -> None:
    guest = rig.guest()
    rig.hypervisor.boot(guest)
    rig.until(guest.id, "brickyard: ready")
    assert rig.hypervisor.stop(guest.id) is Did.CHANGED
    assert rig.hypervisor.stop(guest.id) is Did.ALREADY
    assert rig.status(guest.id) == "stopped"
    assert "brickyard: ready" in rig.hypervisor.console(guest.id)


def test_pause_and_resume_may_be_repeated(rig: Rig) -> None:
    guest = rig.guest(rig.disk())
    rig.hypervisor.boot(guest)
    assert rig.hypervisor.pause(guest.id) is Did.CHANGED
    assert rig.hypervisor.pause(guest.id) is Did.ALREADY
    assert rig.status(guest.id) == "paused"
    with pytest.raises(errors.GuestError, match="resume"):
        rig.hypervisor.detach(guest.id, guest.disks[0].serial)
    assert rig.hypervisor.resume(guest.id) is Did.CHANGED
    assert rig.hypervisor.resume(guest.id) is Did.ALREADY
    assert rig.status(guest.id) == "running"


def test_a_guest_runs_when_nothing_holds_it_any_more(rig: Rig) -> None:
    guest = rig.guest(rig.disk(), dataclasses.replace(rig.disk(), read_only=True))
    rig.hypervisor.boot(guest)
    assert rig.hypervisor.hold(guest.id, "pool a") is Did.CHANGED
    assert rig.hypervisor.hold(guest.id, "pool a") is Did.ALREADY
    assert rig.hypervisor.hold(guest.id, "pool b") is Did.CHANGED
    [found] = rig.hypervisor.list()
    assert (found.status, found.held) == ("paused", ("pool a", "pool b"))
    assert found.read_only == (guest.disks[1].serial,)
    with pytest.raises(errors.GuestError, match="held .pool a and pool b is almost full.* make room"):
        rig.hypervisor.detach(guest.id, guest.disks[0].serial)
    # A pause and its end, as of a snapshot, do not let it go, and neither does another service.
    rig.hypervisor.pause(guest.id)
    service = rig.restarted()
    assert service.resume(guest.id) is Did.CHANGED
    assert service.resume(guest.id) is Did.ALREADY
    assert rig.status(guest.id) == "paused"
    assert service.release(guest.id, "pool a") is Did.CHANGED
    assert service.release(guest.id, "pool a") is Did.ALREADY
    assert (rig.status(guest.id), service.list()[0].held) == ("paused", ("pool b",))
    # Nor does the end of the hold end a pause.
    service.pause(guest.id)
    assert service.release(guest.id, "pool b") is Did.CHANGED
    assert (rig.status(guest.id), service.list()[0].held) == ("paused", ())
    assert service.resume(guest.id) is Did.CHANGED
    assert rig.status(guest.id) == "running"


def test_a_hold_ends_with_the_process_of_the_guest(rig: Rig) -> None:
    guest = rig.guest(rig.disk())
    rig.hypervisor.boot(guest)
    rig.hypervisor.hold(guest.id, "pool a")
    assert rig.hypervisor.stop(guest.id) is Did.CHANGED
    assert rig.hypervisor.list()[0].held == ()
    for refused in (rig.hypervisor.hold, rig.hypervisor.release):
        with pytest.raises(errors.GuestError, match="boot it first"):
            refused(guest.id, "pool a")
    rig.hypervisor.boot(guest)
    assert (rig.status(guest.id), rig.hypervisor.list()[0].held) == ("running", ())


@pytest.mark.parametrize("format", ["raw", "qcow2"])
def test_a_grown_disk_is_announced_once(rig: Rig, format: str) -> None:
    disk = rig.disk(format)
    guest = rig.guest(disk)
    rig.hypervisor.boot(guest)
    assert rig.hypervisor.resized(guest.id, disk.serial, 32 * 1024 * 1024) is Did.CHANGED
    assert rig.hypervisor.resized(guest.id, disk.serial, 32 * 1024 * 1024) is Did.ALREADY
    assert rig.hypervisor.resized(guest.id, disk.serial, 16 * 1024 * 1024) is Did.ALREADY
    with pytest.raises(errors.NotFound):
        rig.hypervisor.resized(guest.id, rig.disk().serial, 32 * 1024 * 1024)


def test_a_vdi_disk_cannot_grow_under_a_guest(rig: Rig) -> None:
    disk = rig.disk("vdi")
    guest = rig.guest(disk)
    rig.hypervisor.boot(guest)
    with pytest.raises(errors.GuestError, match="detach it"):
        rig.hypervisor.resized(guest.id, disk.serial, 32 * 1024 * 1024)


def test_absent_guests(rig: Rig) -> None:
    absent, disk = str(uuid.uuid4()), rig.disk()
    for verb in (rig.hypervisor.destroy, rig.hypervisor.stop):
        assert verb(absent) is Did.ALREADY
    assert rig.hypervisor.detach(absent, disk.serial) is Did.ALREADY
    for refused in (rig.hypervisor.pause, rig.hypervisor.resume):
        with pytest.raises(errors.NotFound):
            refused(absent)
    with pytest.raises(errors.NotFound):
        rig.hypervisor.attach(absent, disk)
    assert rig.hypervisor.list() == []


def test_what_cannot_be_run_is_refused_before_anything_is_made(rig: Rig) -> None:
    disk = rig.disk()
    wrong = [
        dataclasses.replace(rig.guest(), id="../../etc"),
        dataclasses.replace(rig.guest(), vcpus=0),
        rig.guest(disk, disk),
        rig.guest(dataclasses.replace(disk, serial="abc")),
        rig.guest(dataclasses.replace(disk, format="vmdk")),
    ]
    for guest in wrong:
        with pytest.raises(errors.Invalid):
            rig.hypervisor.boot(guest)
    assert rig.hypervisor.list() == []
