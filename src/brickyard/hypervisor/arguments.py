"""The command line of a guest's QEMU, as a pure function of what is to be run."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from brickyard.hypervisor import accel, disks
from brickyard.hypervisor.home import Home
from brickyard.hypervisor.machine import Guest

# q35 because its root ports can be hot-plugged; without the parts that no guest of ours has a use for, each of which
# costs time at boot and is code that a guest could attack.
MACHINE = "q35,vmport=off,smm=off,hpet=off,sata=off,smbus=off,i8042=off"
# Disks are plugged in by ACPI, and what the kernel has not seen yet waits in a register. With the ports' own way a
# kernel that starts may take the button of a new disk for the wish to switch it off, and the disk is lost.
HOTPLUG = "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=on"
SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
FIRST_PORT = 2  # the device number of the first root port; below it are the host bridge and what QEMU adds itself
SLOTS_MAX = 28  # one device number each, of the 32 of a bus


def of_guest(guest: Guest, home: Home, *, binary: str, acceleration: str, slots: int, qmp: str) -> list[str]:
    """The whole command. `qmp` is the path of the monitor's socket; `slots` is the number of disks there can be."""
    return [
        *(binary, "-pidfile", str(home.pid_file)),
        *("-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-sandbox", SANDBOX),
        *("-uuid", guest.id, "-smbios", _smbios(guest)),
        *("-machine", MACHINE, *accel.ARGUMENTS[acceleration], "-global", HOTPLUG),
        *("-m", f"{guest.memory_mib}M", "-smp", str(guest.vcpus)),
        *("-chardev", f"socket,id=qmp,path={_escaped(qmp)},server=on,wait=off", "-mon", "chardev=qmp,mode=control"),
        *("-chardev", f"null,id=console,logfile={_escaped(str(home.console_log))},logappend=on"),
        *("-serial", "chardev:console"),
        *_ports(slots),
        *_disks(guest, home),
        *_kernel(guest),
    ]


def detached(command: Sequence[str], home: Home) -> list[str]:
    """The command, to be run in a session of its own, writing to its log.

    QEMU's own -daemonize forks after the sandbox has closed, and so would need a sandbox in which a guest that broke
    out could start programs. The line for the shell is a constant; everything that varies is an argument.
    """
    return ["setsid", "--fork", "sh", "-c", 'exec "$@" </dev/null >"$0" 2>&1', str(home.qemu_log), *command]


def _smbios(guest: Guest) -> str:
    """What a guest that boots from its own disk can read of itself in /sys/class/dmi/id."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", guest.name)[:63] or "unnamed"
    return f"type=1,manufacturer=Brickyard,product=Brickyard,family={name}"


def _escaped(path: str) -> str:
    """A comma separates options; a doubled one is itself."""
    return path.replace(",", ",,")


def slot_name(number: int) -> str:
    return f"slot{number}"


def _ports(slots: int) -> Sequence[str]:
    words: list[str] = []
    for number in range(slots):
        port = {
            "driver": "pcie-root-port",
            "id": slot_name(number),
            "bus": "pcie.0",
            "chassis": number + 1,
            "addr": f"{FIRST_PORT + number:#x}",
            # Memory windows for the disk only: the guest's kernel assigns them quicker than the defaults.
            "io-reserve": 0,
        }
        words += ["-device", json.dumps(port)]
    return words


def _disks(guest: Guest, home: Home) -> Sequence[str]:
    words: list[str] = []
    for number, disk in enumerate(guest.disks):
        if disk.export is not None:
            words += ["-object", json.dumps(disks.credentials(disk, str(home.key_directory(disk.serial))))]
        device: dict[str, Any] = disks.device(disk, slot_name(number))
        if guest.kernel is None:
            device["bootindex"] = number
        words += ["-blockdev", json.dumps(disks.node(disk)), "-device", json.dumps(device)]
    return words


def _kernel(guest: Guest) -> Sequence[str]:
    if guest.kernel is None:
        return ()
    initrd = ("-initrd", guest.initrd) if guest.initrd else ()
    return ("-kernel", guest.kernel, *initrd, "-append", guest.cmdline)
