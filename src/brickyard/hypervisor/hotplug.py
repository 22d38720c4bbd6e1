"""Disks of a running guest: plugged in, taken out, grown. Each is found in QEMU before anything is done."""

from __future__ import annotations

import socket

from brickyard.core import bricks, clock, errors
from brickyard.core.bricks import Did
from brickyard.hypervisor import arguments, disks, mirrors, opened, qmp
from brickyard.hypervisor.machine import Disk

UNPLUGGED = "DEVICE_DELETED"
UNPLUG_REFUSED = "DEVICE_UNPLUG_GUEST_ERROR"
CONNECT_S = 5.0
ASK_AGAIN_S = 2.0  # QEMU takes the same request again after a second
PERIPHERAL = "/machine/peripheral"  # the devices that were given an id


def attach(monitor: qmp.Monitor, disk: Disk, keys: str) -> Did:
    """`keys` is the directory of the key of a disk that another host exports."""
    if disk.serial in opened.serials(monitor):
        return Did.ALREADY
    disks.check(disk)
    slot = _free_slot(monitor)
    opened.forget_all(monitor, disk.serial)  # of an earlier attempt that died between the two commands below
    try:
        if disk.export is not None:
            monitor.execute("object-add", disks.credentials(disk, keys))
        monitor.execute("blockdev-add", disks.node(disk))
        monitor.execute("device_add", disks.device(disk, slot))
    except errors.GuestError:
        opened.forget_all(monitor, disk.serial)
        raise
    return Did.CHANGED


def detach(monitor: qmp.Monitor, id: str, serial: str, *, timeout_s: float) -> Did:
    """Ask the guest for the disk, wait until it lets go, close the file. A repeat goes on where this one stopped."""
    device = disks.device_id(serial)
    is_plugged = serial in opened.serials(monitor)
    if is_plugged:
        if mirrors.job(monitor, serial) is not None:
            raise errors.GuestError(f"disk {serial} of guest {id} is being moved; detach it when that is over")
        if not monitor.execute("query-status")["running"]:
            raise errors.GuestError(f"guest {id} is paused and cannot release disk {serial}; resume it, then repeat")
        event = _released(monitor, device, timeout_s)
        if event != UNPLUGGED and serial in opened.serials(monitor):
            why = "refused" if event == UNPLUG_REFUSED else f"did not within {timeout_s:g} s"
            raise errors.GuestError(
                f"guest {id} was asked to release disk {serial} and {why}; the disk is still attached: "
                "unmount it inside the guest or stop the guest, then repeat"
            )
    was_open = opened.forget_all(monitor, serial)
    return Did.CHANGED if is_plugged or was_open else Did.ALREADY


def resized(monitor: qmp.Monitor, id: str, serial: str, size_bytes: int, export: bricks.Export | None = None) -> Did:
    """`export`: of the host that serves the disk, if that is another one."""
    name = opened.used(monitor, serial)
    node = opened.node(monitor, name) if name is not None else None
    if node is None:
        raise errors.NotFound(f"guest {id} has no disk {serial}")
    if node["image"]["virtual-size"] >= size_bytes:
        return Did.ALREADY
    disks.check_growth(node["drv"], serial)
    if export is not None:
        _meet_again(monitor, node["node-name"], export)
    monitor.execute("block_resize", {"node-name": node["node-name"], "size": size_bytes})
    return Did.CHANGED


def _meet_again(monitor: qmp.Monitor, name: str, export: bricks.Export) -> None:
    """QEMU learns the size of an export when it connects, which it does when it reads; and it stands still while it
    cannot, so it is not asked before somebody serves there."""
    try:
        socket.create_connection((export.address, export.port), CONNECT_S).close()
    except OSError as error:
        raise errors.Unreachable(
            f"The export of {export.name} at {export.address}:{export.port} does not answer: {error}."
        ) from error
    monitor.execute("human-monitor-command", {"command-line": f'qemu-io {name} "read -q 0 512"'})


def _released(monitor: qmp.Monitor, device: str, timeout_s: float) -> str | None:
    """Ask for a device until there is an answer: UNPLUGGED, UNPLUG_REFUSED, or None when time is up.

    Once is not enough: a guest in its firmware does not hear it, and its kernel is not told when it comes up.
    """
    deadline, event = clock.monotonic() + timeout_s, None
    while event is None and (left_s := deadline - clock.monotonic()) > 0:
        _ask_for(monitor, device)
        event = monitor.wait(frozenset({UNPLUGGED, UNPLUG_REFUSED}), device, timeout_s=min(left_s, ASK_AGAIN_S))
    return event


def _ask_for(monitor: qmp.Monitor, device: str) -> None:
    try:
        monitor.execute("device_del", {"id": device})
    except qmp.Refused as refused:
        # The guest was asked before and has not answered yet (an error without a class of its own), or the device
        # has gone since we looked. Both are what we want: go on waiting, or find it gone.
        if "unplug" not in refused.message and refused.facts["kind"] != "DeviceNotFound":
            raise


def _free_slot(monitor: qmp.Monitor) -> str:
    """A root port with nothing in it, by QEMU's own tree of objects.

    `query-pci` must not be asked: it finds what is in a port by the number that the guest gave to the bus behind it,
    and while the firmware numbers the buses anew every port looks empty.
    """
    there = opened.names(monitor, PERIPHERAL)
    for slot in (arguments.slot_name(number) for number in range(arguments.SLOTS_MAX)):
        if slot in there and not _has_device(monitor, slot):
            return slot
    raise errors.GuestError(
        "every slot for disks is taken; detach one first, or boot the guest again with all its disks"
    )


def _has_device(monitor: qmp.Monitor, slot: str) -> bool:
    """The bus behind a port has the port's name, and a link to each device on it: child[0], child[1], …"""
    return any(name.startswith("child[") for name in opened.names(monitor, f"{PERIPHERAL}/{slot}/{slot}"))
