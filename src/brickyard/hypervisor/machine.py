"""The contract of a hypervisor: run instances on this host. `qemu.py` is the real one, `memory.py` the simulated."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Protocol

from brickyard.brick.driver import Progress
from brickyard.core.bricks import Did, Export


@dataclass(frozen=True, slots=True)
class Disk:
    """One disk of a guest. `serial` is what the guest sees and what detaches it: the id of the volume."""

    serial: str
    path: str
    format: str  # raw | qcow2 | vdi
    read_only: bool = False
    shared: bool = False  # other guests may have it too: a volume of a multiattach type
    export: Export | None = None  # of the host that has it: there is no path then, and what is served is raw


def keyless(disk: Disk) -> Disk:
    """The disk, without the key of an export: what is kept, and what is compared."""
    return dataclasses.replace(disk, export=dataclasses.replace(disk.export, key="")) if disk.export else disk


@dataclass(frozen=True, slots=True)
class Guest:
    """Everything that is needed to start an instance. Paths exist on this host."""

    id: str
    name: str
    vcpus: int
    memory_mib: int
    disks: tuple[Disk, ...] = ()  # the root disk first, where there is one
    kernel: str | None = None  # boot this kernel instead of the first disk
    initrd: str | None = None
    cmdline: str = ""


MOVING = "move "  # and the serial of a disk: a guest is held until it is decided where that is
FAR = "far pool "  # and its name, host@backend: a guest is held for a pool that its own host cannot see
NO_ROOM = "no room"  # why QEMU itself holds a guest: one of its writes found none, and waits to be repeated


@dataclass(frozen=True, slots=True)
class Running:
    """A guest as it is found on the host, also one that a former run of the service started."""

    id: str
    status: str  # running | paused | stopped (its process ended by itself)
    pid: int | None
    serials: tuple[str, ...]
    held: tuple[str, ...] = ()  # the reasons of `hold` that are not released, and NO_ROOM
    read_only: tuple[str, ...] = ()  # those of the serials that the guest cannot write to


def cannot_release(id: str, serial: str, reasons: tuple[str, ...]) -> str:
    """Why a disk cannot be taken out of a guest that does not run, and what to do."""
    pools = [reason for reason in reasons if not reason.startswith(MOVING)]
    if not pools:
        return f"guest {id} is held, since a disk of it moves, and cannot release disk {serial}; repeat when it has"
    why = " and ".join(pools)
    return f"guest {id} is held ({why} is almost full) and cannot release disk {serial}; make room there, then repeat"


class Hypervisor(Protocol):
    """Every verb may run twice and may die in the middle. Raises GuestError, NotFound."""

    def check(self) -> None:
        """Raise GuestError, saying what to do, unless guests can be run here."""

    def acceleration(self) -> str:
        """kvm or tcg: as configured, or found out by trying."""

    def boot(self, guest: Guest) -> Did: ...

    def destroy(self, id: str) -> Did:
        """Stop the guest and remove everything of it (process, socket, log); the disks are not touched."""

    def stop(self, id: str) -> Did: ...

    def attach(self, id: str, disk: Disk) -> Did:
        """Plug a disk into a running guest, alone in its slot; GuestError when every slot is taken. Nobody waits for
        the guest: one that is still in its firmware finds the disk when its kernel looks."""

    def detach(self, id: str, serial: str) -> Did:
        """Unplug a disk and wait until the guest has released it; ALREADY when there is none or no such guest."""

    def resized(self, id: str, serial: str, size_bytes: int) -> Did:
        """Tell a running guest that a disk has grown. For qcow2 this is what grows the image; a vdi in use cannot grow,
        and raises GuestError."""

    def mirror(self, id: str, disk: Disk, progress: Progress | None = None) -> Did:
        """Copy a disk of a running guest to `disk`, which has its serial and size and lies elsewhere, and follow what
        the guest writes; it answers when both hold nearly the same. ALREADY when the guest uses that one."""

    def still(self, id: str, serial: str) -> Did:
        """Hold the guest and let the copy catch up: both hold the same, and have it on disk, until `pivot` or
        `unmirror`."""

    def pivot(self, id: str, disk: Disk) -> Did:
        """Let the guest use `disk` from here on, and run; nothing of the other one is open any more. GuestError when it
        cannot: the guest keeps the one that it had, and is held."""

    def unmirror(self, id: str, serial: str) -> Did:
        """End the copy; the guest keeps what it uses, and runs. ALREADY also when there is no such guest."""

    def pause(self, id: str) -> Did:
        """Stop the virtual processors and flush all disks, so that the files on the host are consistent."""

    def resume(self, id: str) -> Did:
        """The end of a `pause`; what is held stays held."""

    def hold(self, id: str, reason: str) -> Did:
        """Keep a guest from running until each of its reasons is released. Reasons outlive the service, and end with
        the guest's process."""

    def release(self, id: str, reason: str) -> Did:
        """Take a reason back; a guest that has no other one, and is not paused, runs again."""

    def console(self, id: str, max_bytes: int = 65536) -> str:
        """The end of the serial console's log."""

    def list(self) -> list[Running]: ...
