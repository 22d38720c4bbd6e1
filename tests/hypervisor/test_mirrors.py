"""Disks that move while their guest runs: what it has written is in the new place, and the old one is let go."""

from __future__ import annotations

import dataclasses
import os
import re

import pytest

from brickyard.brick import shell
from brickyard.core import errors
from brickyard.core.bricks import Did
from brickyard.hypervisor import mirrors
from brickyard.hypervisor.machine import MOVING, Disk, Guest

from .rigs import Rig


def elsewhere(rig: Rig, disk: Disk, format: str = "raw") -> Disk:
    """An empty disk to which `disk` can move."""
    return dataclasses.replace(rig.disk(format), serial=disk.serial)


def move(rig: Rig, id: str, disk: Disk) -> None:
    rig.hypervisor.mirror(id, disk)
    rig.hypervisor.still(id, disk.serial)
    rig.hypervisor.pivot(id, disk)


def held(rig: Rig, id: str) -> tuple[str, ...]:
    return next(found.held for found in rig.hypervisor.list() if found.id == id)


def test_each_step_of_a_move_may_be_repeated(rig: Rig) -> None:
    guest = rig.guest(rig.disk(), rig.disk())
    first, serial = guest.disks[0], guest.disks[0].serial
    rig.hypervisor.boot(guest)
    new = elsewhere(rig, first, "qcow2")
    assert rig.hypervisor.mirror(guest.id, new) is Did.CHANGED
    assert rig.hypervisor.mirror(guest.id, new) is Did.ALREADY
    assert rig.hypervisor.still(guest.id, serial) is Did.CHANGED
    assert rig.hypervisor.still(guest.id, serial) is Did.ALREADY
    assert (rig.status(guest.id), held(rig, guest.id)) == ("paused", (MOVING + serial,))
    assert rig.restarted().pivot(guest.id, new) is Did.CHANGED
    assert rig.hypervisor.pivot(guest.id, new) is Did.ALREADY
    assert (rig.status(guest.id), held(rig, guest.id)) == ("running", ())
    assert rig.hypervisor.mirror(guest.id, new) is Did.ALREADY
    assert rig.serials(guest.id) == tuple(sorted(disk.serial for disk in guest.disks))

    # and back again, by the same words
    move(rig, guest.id, first)
    move(rig, guest.id, new)
    rig.until(guest.id, "brickyard: ready")
    assert rig.hypervisor.detach(guest.id, serial) is Did.CHANGED
    assert rig.hypervisor.attach(guest.id, new) is Did.CHANGED
    assert rig.hypervisor.resized(guest.id, serial, 16 * 1024 * 1024) is Did.CHANGED


def test_a_move_that_is_given_up_leaves_the_disk_where_it_was(rig: Rig) -> None:
    guest = rig.guest(rig.disk())
    [disk] = guest.disks
    rig.hypervisor.boot(guest)
    new = elsewhere(rig, disk)
    assert rig.hypervisor.unmirror(guest.id, disk.serial) is Did.ALREADY
    rig.hypervisor.mirror(guest.id, new)
    assert rig.hypervisor.unmirror(guest.id, disk.serial) is Did.CHANGED
    rig.hypervisor.mirror(guest.id, new)
    rig.hypervisor.still(guest.id, disk.serial)
    assert rig.hypervisor.unmirror(guest.id, disk.serial) is Did.CHANGED
    assert rig.hypervisor.unmirror(guest.id, disk.serial) is Did.ALREADY
    assert rig.status(guest.id) == "running"
    with pytest.raises(errors.GuestError, match="move it again"):
        rig.hypervisor.pivot(guest.id, new)
    with pytest.raises(errors.GuestError, match="move it again"):
        rig.hypervisor.still(guest.id, disk.serial)
    assert rig.status(guest.id) == "running"
    assert rig.hypervisor.pivot(guest.id, disk) is Did.ALREADY
    rig.hypervisor.destroy(guest.id)
    assert rig.hypervisor.unmirror(guest.id, disk.serial) is Did.ALREADY


def test_what_cannot_be_moved(rig: Rig) -> None:
    guest = rig.guest(rig.disk())
    with pytest.raises(errors.NotFound):
        rig.hypervisor.mirror(guest.id, rig.disk())
    rig.hypervisor.boot(guest)
    with pytest.raises(errors.NotFound):
        rig.hypervisor.mirror(guest.id, rig.disk())
    new = elsewhere(rig, guest.disks[0])
    rig.hypervisor.mirror(guest.id, new)
    with pytest.raises(errors.GuestError, match="stand still"):
        rig.hypervisor.pivot(guest.id, new)
    rig.kill(guest.id)
    for verb in (rig.hypervisor.mirror, rig.hypervisor.pivot):
        with pytest.raises(errors.GuestError, match="is stopped"):
            verb(guest.id, new)
    assert rig.hypervisor.unmirror(guest.id, new.serial) is Did.ALREADY


def counting(rig: Rig, *disks: Disk) -> Guest:
    guest = rig.guest(*disks)
    return dataclasses.replace(guest, cmdline=f"{guest.cmdline} brickyard.count=yes")


def counted(rig: Rig, id: str) -> int:
    """The last number that the guest knows to be on its disks."""
    return max(map(int, re.findall(r"counted (\d+)", rig.hypervisor.console(id))), default=0)


@pytest.mark.guest
def test_nothing_that_was_written_during_moves_is_lost(real: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    first, other = real.disk(), real.disk()
    guest = counting(real, first, other)
    real.hypervisor.boot(guest)
    real.until(guest.id, "counted 3")
    for format in ("qcow2", "vdi", "raw"):
        new = elsewhere(real, first, format)
        # a service that dies right after QEMU has changed over, before it has noted that
        real.hypervisor.mirror(guest.id, new)
        real.hypervisor.still(guest.id, first.serial)
        with monkeypatch.context() as patch:
            patch.setattr(mirrors, "finish", dying(mirrors.finish))
            with pytest.raises(KeyboardInterrupt):
                real.hypervisor.pivot(guest.id, new)
        assert real.status(guest.id) == "paused"
        assert real.hypervisor.pivot(guest.id, new) is Did.ALREADY
        stale = counted(real, guest.id)
        real.until(guest.id, f"counted {stale + 3}")
    os.truncate(first.path, 0)  # nobody reads it any more
    last = counted(real, guest.id)
    real.kill(guest.id)

    second = real.guest(new, other, name="birch")
    real.hypervisor.boot(second)
    log = real.until(second.id, "brickyard: ready")
    for disk in (new, other):
        [number] = re.findall(rf"disk {disk.serial[:20]} counted to (\d+)", log)
        assert int(number) >= last


def dying(verb: object) -> object:
    def die(*args: object) -> None:
        assert callable(verb)
        verb(*args)
        raise KeyboardInterrupt

    return die


@pytest.mark.guest
def test_a_place_that_breaks_costs_the_guest_nothing(real: Rig) -> None:
    guest = counting(real, real.disk())
    [disk] = guest.disks
    real.hypervisor.boot(guest)
    real.until(guest.id, "counted 1")
    small = Disk(disk.serial, str(real.directory / "small"), "raw")
    shell.run(["qemu-img", "create", "-q", "-f", "raw", small.path, "4M"], timeout_s=30)
    with pytest.raises(errors.GuestError):
        real.hypervisor.mirror(guest.id, small)
    new = elsewhere(real, disk)
    real.hypervisor.mirror(guest.id, new)  # what the other one left does not stand in its way
    real.hypervisor.unmirror(guest.id, disk.serial)
    real.until(guest.id, f"counted {counted(real, guest.id) + 3}")
    assert real.status(guest.id) == "running"
