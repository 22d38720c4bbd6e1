"""A simulated hypervisor: the verbs and the refusals of the real one, without a process. For tests and simulations.

Guests live in this object; `Memory(guests)` with the guests of another one is the same host after a restart of the
service. `kill` is what the real world does to a process, and `deafen` makes a guest that never releases a disk.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Concatenate, ParamSpec, TypeVar

from brickyard.brick.driver import Progress
from brickyard.core import bricks, errors
from brickyard.core.bricks import Did
from brickyard.hypervisor import disks
from brickyard.hypervisor.machine import MOVING, NO_ROOM, Disk, Guest, Running, cannot_release, keyless

P = ParamSpec("P")
R = TypeVar("R")

RUNNING, PAUSED, STOPPED = "running", "paused", "stopped"


@dataclass(frozen=True, slots=True)
class Simulated:
    """One guest."""

    guest: Guest
    status: str
    pid: int | None
    slots: int  # fixed at the start
    log: str = ""
    sizes: dict[str, int] = field(default_factory=dict)  # as the guest was told, by serial
    is_deaf: bool = False
    paused: bool = False
    copies: dict[str, Disk] = field(default_factory=dict)  # where its disks are being copied to, by serial
    held: tuple[str, ...] = ()  # NO_ROOM among them while a write waits for room


@dataclass(slots=True)
class Guests:
    """What outlives the service: the processes of a host."""

    by_id: dict[str, Simulated] = field(default_factory=dict)
    pids: itertools.count[int] = field(default_factory=lambda: itertools.count(1000))
    lock: threading.RLock = field(default_factory=threading.RLock)


def _locked(
    verb: Callable[Concatenate[Memory, P], R],
) -> Callable[Concatenate[Memory, P], R]:
    @functools.wraps(verb)
    def locked(self: Memory, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.guests.lock:
            return verb(self, *args, **kwargs)

    return locked


class Memory:
    """The Hypervisor of a simulated host. `slots` is the number of disks that can be plugged in later."""

    def __init__(self, guests: Guests | None = None, *, slots: int = 8) -> None:
        self.guests = guests or Guests()
        self._slots = slots

    def check(self) -> None:
        """Guests can always be run here."""

    def acceleration(self) -> str:
        return "tcg"

    @_locked
    def boot(self, guest: Guest) -> Did:
        _check_id(guest.id)
        if guest.vcpus < 1 or guest.memory_mib < 1:
            raise errors.Invalid("a guest needs at least 1 processor and 1 MiB of memory", field="vcpus")
        known = self.guests.by_id.get(guest.id)
        if known is not None and known.status != STOPPED:
            return Did.ALREADY
        if len({disk.serial for disk in guest.disks}) != len(guest.disks):
            raise errors.Invalid(f"guest {guest.id} was given one disk twice", field="disks")
        for disk in guest.disks:
            disks.check_words(disk)
        lines = [
            f"instance {guest.name} ({guest.id})",
            *(f"disk {_short(disk)} found" for disk in guest.disks),
            "ready",
        ]
        log = (known.log if known else "") + "".join(f"brickyard: {line}\n" for line in lines)
        self.guests.by_id[guest.id] = Simulated(
            guest, RUNNING, next(self.guests.pids), len(guest.disks) + self._slots, log
        )
        return Did.CHANGED

    @_locked
    def destroy(self, id: str) -> Did:
        _check_id(id)
        return Did.CHANGED if self.guests.by_id.pop(id, None) else Did.ALREADY

    @_locked
    def stop(self, id: str) -> Did:
        _check_id(id)
        found = self.guests.by_id.get(id)
        if found is None or found.status == STOPPED:
            return Did.ALREADY
        self.kill(id)
        return Did.CHANGED

    @_locked
    def attach(self, id: str, disk: Disk) -> Did:
        found = self._up(id)
        if disk.serial in _serials(found):
            return Did.ALREADY
        disks.check_words(disk)  # its file is not looked for: simulated pools have none
        if len(found.guest.disks) >= found.slots:
            raise errors.GuestError("every slot for disks is taken; detach one first")
        self._disks(found, (*found.guest.disks, disk), f"disk {_short(disk)} appeared")
        return Did.CHANGED

    @_locked
    def detach(self, id: str, serial: str) -> Did:
        _check_id(id)
        found = self.guests.by_id.get(id)
        if found is None or serial not in _serials(found):
            return Did.ALREADY
        if found.held:
            raise errors.GuestError(cannot_release(id, serial, found.held))
        if found.status == PAUSED:
            raise errors.GuestError(f"guest {id} is paused and cannot release disk {serial}; resume it, then repeat")
        if found.is_deaf and found.status == RUNNING:
            raise errors.GuestError(f"guest {id} did not release disk {serial}; stop the guest, then repeat")
        gone = next(disk for disk in found.guest.disks if disk.serial == serial)
        kept = tuple(disk for disk in found.guest.disks if disk.serial != serial)
        self._disks(found, kept, f"disk {_short(gone)} gone")
        return Did.CHANGED

    @_locked
    def resized(self, id: str, serial: str, size_bytes: int) -> Did:
        found = self._up(id)
        if serial not in _serials(found):
            raise errors.NotFound(f"guest {id} has no disk {serial}")
        if found.sizes.get(serial, 0) >= size_bytes:
            return Did.ALREADY
        disks.check_growth(next(disk.format for disk in found.guest.disks if disk.serial == serial), serial)
        self._put(dataclasses.replace(found, sizes={**found.sizes, serial: size_bytes}))
        return Did.CHANGED

    @_locked
    def mirror(self, id: str, disk: Disk, progress: Progress | None = None) -> Did:
        found = self._up(id)
        if _has(found, disk):
            return Did.ALREADY
        if disk.serial not in _serials(found):
            raise errors.NotFound(f"the guest has no disk {disk.serial}")
        self._put(dataclasses.replace(found, copies={**found.copies, disk.serial: disk}))
        return Did.ALREADY if disk.serial in found.copies else Did.CHANGED

    @_locked
    def still(self, id: str, serial: str) -> Did:
        if serial not in self._up(id).copies:
            raise errors.GuestError(f"disk {serial} is not being copied; move it again")
        return self.hold(id, MOVING + serial)

    @_locked
    def pivot(self, id: str, disk: Disk) -> Did:
        did = Did.ALREADY
        if (known := self.guests.by_id.get(id)) is not None and known.status == STOPPED and _has(known, disk):
            return did
        found = self._up(id)
        if not _has(found, disk):
            copy = found.copies.get(disk.serial)
            if copy is None or keyless(copy) != keyless(disk) or MOVING + disk.serial not in found.held:
                raise errors.GuestError(f"guest {id} does not stand still for disk {disk.serial}; move it again")
            now = [copy if other.serial == disk.serial else other for other in found.guest.disks]
            self._disks(found, now, f"disk {_short(disk)} moved")
            did = Did.CHANGED
        self.unmirror(id, disk.serial)
        return did

    @_locked
    def unmirror(self, id: str, serial: str) -> Did:
        found = self.guests.by_id.get(id)
        if found is None or found.status == STOPPED:
            return Did.ALREADY
        self._put(dataclasses.replace(found, copies={s: d for s, d in found.copies.items() if s != serial}))
        released = self.release(id, MOVING + serial)
        return Did.CHANGED if serial in found.copies else released

    @_locked
    def pause(self, id: str) -> Did:
        found = self._up(id)
        self._put(dataclasses.replace(found, status=PAUSED, paused=True))
        return Did.ALREADY if found.status == PAUSED else Did.CHANGED

    @_locked
    def resume(self, id: str) -> Did:
        found = self._up(id)
        self._settle(dataclasses.replace(found, paused=False))
        return Did.CHANGED if found.paused else Did.ALREADY

    @_locked
    def hold(self, id: str, reason: str) -> Did:
        found = self._up(id)
        self._settle(dataclasses.replace(found, held=tuple(sorted({*found.held, reason}))))
        return Did.ALREADY if reason in found.held else Did.CHANGED

    @_locked
    def release(self, id: str, reason: str) -> Did:
        found = self._up(id)
        kept = tuple(other for other in found.held if other != reason)
        if set(kept) == {NO_ROOM} and not found.paused:
            kept = ()  # the write is repeated; a simulated one finds room
        self._settle(dataclasses.replace(found, held=kept))
        return Did.CHANGED if kept != found.held else Did.ALREADY

    @_locked
    def console(self, id: str, max_bytes: int = 65536) -> str:
        return self._known(id).log.encode()[-max_bytes:].decode(errors="replace") if max_bytes else ""

    @_locked
    def list(self) -> list[Running]:
        found = sorted(self.guests.by_id.values(), key=lambda one: one.guest.id)
        return [
            Running(one.guest.id, one.status, one.pid, _serials(one), one.held, _serials(one, read_only=True))
            for one in found
        ]

    @_locked
    def kill(self, id: str) -> None:
        """The process of the guest ends, as by `kill -9`."""
        self._put(dataclasses.replace(self._known(id), status=STOPPED, pid=None, paused=False, held=(), copies={}))

    @_locked
    def starve(self, id: str) -> None:
        """A write of the guest finds no room in its pool."""
        self.hold(id, NO_ROOM)

    @_locked
    def deafen(self, id: str) -> None:
        """From now on the guest does not react to the wish to take a disk out."""
        self._put(dataclasses.replace(self._known(id), is_deaf=True))

    def _known(self, id: str) -> Simulated:
        _check_id(id)
        if id not in self.guests.by_id:
            raise errors.NotFound(f"there is no guest {id} on this host")
        return self.guests.by_id[id]

    def _up(self, id: str) -> Simulated:
        found = self._known(id)
        if found.status == STOPPED:
            raise errors.GuestError(f"guest {id} is stopped; boot it first")
        return found

    def _settle(self, changed: Simulated) -> None:
        self._put(dataclasses.replace(changed, status=PAUSED if changed.paused or changed.held else RUNNING))

    def _disks(self, found: Simulated, now: Sequence[Disk], line: str) -> None:
        guest = dataclasses.replace(found.guest, disks=tuple(now))
        self._put(dataclasses.replace(found, guest=guest, log=f"{found.log}brickyard: {line}\n"))

    def _put(self, changed: Simulated) -> None:
        self.guests.by_id[changed.guest.id] = changed


def _check_id(id: str) -> None:
    if not re.fullmatch(bricks.UUID, id):
        raise errors.Invalid(f"{id!r} is not the id of a guest: give a lower-case uuid", field="id")


def _serials(found: Simulated, *, read_only: bool = False) -> tuple[str, ...]:
    return tuple(sorted(disk.serial for disk in found.guest.disks if disk.read_only or not read_only))


def _has(found: Simulated, disk: Disk) -> bool:
    return keyless(disk) in map(keyless, found.guest.disks)


def _short(disk: Disk) -> str:
    return disk.serial[: disks.SERIAL_CHARACTERS]
