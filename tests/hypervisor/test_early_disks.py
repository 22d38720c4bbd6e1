"""Disks that are plugged in while the guest is in its firmware, or its kernel starts: none may be lost."""

from __future__ import annotations

import dataclasses
import shutil
import time
from pathlib import Path

import pytest

from brickyard.core import errors
from brickyard.core.bricks import Did
from brickyard.hypervisor import arguments, disks, home, hotplug, opened, qemu, qmp
from brickyard.hypervisor.machine import Disk, Guest

from .rigs import Rig

pytestmark = pytest.mark.guest

READY_S = 120
PORTS = qemu.SLOTS + 1  # with that of the boot disk
# For each root port: write 0 for the numbers of the buses behind it, as firmware does before it counts them.
FORGETFUL = (
    b"\x66\xbb" + (0x80000018 | arguments.FIRST_PORT << 11).to_bytes(4, "little")  # ebx = a port's bus numbers
    + b"\xb9" + PORTS.to_bytes(2, "little")  # cx = ports
    + b"\x66\x89\xd8\xba\xf8\x0c\x66\xef"  # again: out 0xcf8, ebx
    + b"\x66\x31\xc0\xba\xfc\x0c\x66\xef"  # out 0xcfc, 0
    + b"\x66\x81\xc3\x00\x08\x00\x00"  # ebx += one device number
    + b"\xe2\xe7"  # loop again
    + b"\xba\xf8\x03\xb0!\xee"  # out serial, "!"
    + b"\xf4\xeb\xfd"  # hlt, for ever
).ljust(510, b"\0") + b"\x55\xaa"  # fmt: skip


def places(rig: Rig, id: str) -> list[tuple[str, str]]:
    """Where each disk is: (bus, device and function), as QEMU's own objects say."""
    at = home.Home((rig.directory / "state").resolve(), id)
    found = []
    with qmp.connected(at.path, id) as monitor:
        for serial in opened.serials(monitor):
            device = {"path": f"{hotplug.PERIPHERAL}/{disks.device_id(serial)}"}
            bus, number = (monitor.execute("qom-get", {**device, "property": name}) for name in ("parent_bus", "addr"))
            found.append((str(bus), str(number)))
    return found


@pytest.mark.parametrize("delay_s", [0, 0.3, 0.9, 1.5])
@pytest.mark.parametrize("gap_s", [0, 0.15])
def test_a_guest_sees_every_disk_that_was_plugged_in_while_it_booted(real: Rig, delay_s: float, gap_s: float) -> None:
    guest = real.guest()
    real.hypervisor.boot(guest)
    time.sleep(delay_s)
    fill(real, guest, gap_s)


def test_a_guest_that_boots_from_its_disk_sees_every_early_disk(real: Rig, tiny_image: Path) -> None:
    root = real.disk()
    shutil.copyfile(tiny_image / "tiny.raw", root.path)
    guest = dataclasses.replace(real.guest(root), kernel=None, initrd=None, cmdline="")
    real.hypervisor.boot(guest)
    fill(real, guest, 0.3)


def fill(real: Rig, guest: Guest, gap_s: float) -> None:
    """Plug a disk into every slot; one more is refused. All of them are used by the guest, and stay."""
    plugged: list[Disk] = []
    for _ in range(qemu.SLOTS):
        plugged.append(real.disk())
        assert real.hypervisor.attach(guest.id, plugged[-1]) is Did.CHANGED
        time.sleep(gap_s)
    with pytest.raises(errors.GuestError, match="slot"):
        real.hypervisor.attach(guest.id, real.disk())
    for disk in plugged:
        real.until(guest.id, f"disk {disk.serial[:20]} wrote: ", timeout_s=READY_S)
    real.until(guest.id, "brickyard: ready", timeout_s=READY_S)
    assert set(real.serials(guest.id)) == {disk.serial for disk in (*guest.disks, *plugged)}
    assert " gone" not in real.hypervisor.console(guest.id)


def test_a_slot_is_taken_whatever_the_guest_says_of_its_buses(real: Rig) -> None:
    """The guest makes every port look empty, as firmware does for a moment, and has no system that could help."""
    root = real.disk()
    with Path(root.path).open("r+b") as file:
        file.write(FORGETFUL)
    guest = dataclasses.replace(real.guest(root), kernel=None, initrd=None, cmdline="")
    real.hypervisor.boot(guest)
    real.until(guest.id, "!")
    for _ in range(qemu.SLOTS):
        assert real.hypervisor.attach(guest.id, real.disk()) is Did.CHANGED
    with pytest.raises(errors.GuestError, match="slot"):
        real.hypervisor.attach(guest.id, real.disk())
    found = places(real, guest.id)
    assert len(found) == len({bus for bus, _ in found}) == PORTS
    assert {number for _, number in found} == {"0"}


def test_a_disk_that_is_wanted_back_before_the_guest_is_up_comes_back(real: Rig) -> None:
    guest, disk = real.guest(), real.disk()
    host = qemu.Qemu(real.directory / "state", accel="tcg", detach_s=60)  # a loaded machine boots slowly
    host.boot(guest)
    assert host.attach(guest.id, disk) is Did.CHANGED
    assert "brickyard: " not in host.console(guest.id)
    assert host.detach(guest.id, disk.serial) is Did.CHANGED
    assert real.serials(guest.id) == ()
    assert host.attach(guest.id, disk) is Did.CHANGED
    real.until(guest.id, f"disk {disk.serial[:20]} wrote", timeout_s=READY_S)
