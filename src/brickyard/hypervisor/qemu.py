"""The real hypervisor: one QEMU process per guest, which lives on when the service that started it ends.

What is known of a guest is on disk (`home`) and in its process (`process`, `qmp`); nothing is kept in memory, so that
a new service finds what the old one left. Every verb takes the guest's lock, looks, and only then acts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from brickyard.brick import shell
from brickyard.brick.driver import Progress
from brickyard.core import clock, errors
from brickyard.core.bricks import Did
from brickyard.hypervisor import accel, arguments, disks, home, hotplug, limits, mirrors, opened, process, qmp
from brickyard.hypervisor.home import Home, Record
from brickyard.hypervisor.machine import MOVING, NO_ROOM, Disk, Guest, Running, cannot_release

BINARY = "qemu-system-x86_64"
SLOTS = 8  # disks that can be plugged in later, besides those of the start
START_S = 60.0
LOCK_S = 90.0  # longer than the longest verb, so that a waiting one fails only when something is really stuck
QUIT_S = 10.0
TERMINATE_S = 5.0
MIRROR_POLL_S = 0.2
KILL_S = 10.0
STARVED = "io-error"  # QEMU's word for a guest that it stopped because a write found no room


class Qemu:
    """Guests under one state directory. Any number of these objects, in any number of processes, may share it."""

    def __init__(
        self,
        state_dir: str | os.PathLike[str],
        *,
        accel: str = "auto",
        binary: str = BINARY,
        slots: int = SLOTS,
        stop_s: float = 30.0,
        detach_s: float = 30.0,
        group: Path = limits.GROUP,
    ) -> None:
        if accel not in ("auto", "kvm", "tcg"):
            raise errors.Invalid(f"accel {accel!r} is not one of auto, kvm, tcg", field="accel")
        self._state = Path(state_dir).resolve()  # the command line of a guest names it, and is compared with it
        self._accel, self._binary, self._slots = accel, binary, slots
        self._stop_s, self._detach_s, self._group = stop_s, detach_s, group

    def check(self) -> None:
        """Raise GuestError, saying what to do, unless guests can be run here."""
        if shutil.which(self._binary) is None:
            raise errors.GuestError(f"{self._binary} is not installed: apt install qemu-system-x86")
        try:
            self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as failed:
            raise errors.GuestError(
                f"{self._state} cannot be made: {failed}; choose another state directory"
            ) from failed
        if not os.access(self._state, os.W_OK | os.X_OK):
            raise errors.GuestError(f"{self._state} is not writable; give it to the user of this service")
        if self._accel == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
            raise errors.GuestError(
                "/dev/kvm does not open: load the module kvm, join the group kvm, or set accel to auto"
            )

    def acceleration(self) -> str:
        """kvm or tcg. With "auto" the first call tries, which takes a moment; a running host answers from a note."""
        return self._found_acceleration if self._accel == "auto" else self._accel

    @functools.cached_property
    def _found_acceleration(self) -> str:
        return accel.choose(self._state, self._binary)

    def boot(self, guest: Guest) -> Did:
        at = self._home(guest.id)
        if guest.vcpus < 1 or guest.memory_mib < 1:
            raise errors.Invalid("a guest needs at least 1 processor and 1 MiB of memory", field="vcpus")
        with at.locked(timeout_s=LOCK_S):
            if self._is_up(at):
                return Did.ALREADY
            if len({disk.serial for disk in guest.disks}) != len(guest.disks):
                raise errors.Invalid(f"guest {guest.id} was given one disk twice", field="disks")
            for disk in guest.disks:
                disks.check(disk)
            self._start(guest, at)
            return Did.CHANGED

    def destroy(self, id: str) -> Did:
        at = self._home(id)
        with at.locked(timeout_s=LOCK_S):
            was_there = at.path.exists() or process.find(at) is not None
            if was_there:
                self._end(at)
                at.remove()
            return Did.CHANGED if was_there else Did.ALREADY

    def stop(self, id: str) -> Did:
        """Press the power button, wait, then switch off. The guest stays listed as stopped, and can be booted again."""
        at = self._home(id)
        with at.locked(timeout_s=LOCK_S):
            record, pid = at.read(), process.find(at)
            if pid is None:
                return Did.ALREADY
            # The processors of a paused guest do not run, so that it would never see the button.
            if record is not None and not record.paused and not record.held:
                with contextlib.suppress(errors.GuestError), qmp.connected(at.path, id) as monitor:
                    monitor.execute("system_powerdown")
                process.wait(pid, at, timeout_s=self._stop_s)
            self._end(at)
            return Did.CHANGED

    def attach(self, id: str, disk: Disk) -> Did:
        with self._running(id) as (at, record, monitor):
            with at.keys((disk,)):
                did = hotplug.attach(monitor, disk, str(at.key_directory(disk.serial)))
            at.write(home.with_disk(record, disk))
            return did

    def detach(self, id: str, serial: str) -> Did:
        at = self._home(id)
        with at.locked(timeout_s=LOCK_S):
            record = at.read()
            if record is None:
                return Did.ALREADY
            kept = tuple(disk for disk in record.guest.disks if disk.serial != serial)
            did = Did.CHANGED if len(kept) < len(record.guest.disks) else Did.ALREADY
            if process.find(at) is not None:
                if record.held:
                    raise errors.GuestError(cannot_release(id, serial, record.held))
                with qmp.connected(at.path, id) as monitor:
                    did = hotplug.detach(monitor, id, serial, timeout_s=self._detach_s)
            self._note(at, record, kept)
            return did

    def resized(self, id: str, serial: str, size_bytes: int) -> Did:
        with self._running(id) as (_, record, monitor):
            export = next((disk.export for disk in record.guest.disks if disk.serial == serial), None)
            return hotplug.resized(monitor, id, serial, size_bytes, export)

    def mirror(self, id: str, disk: Disk, progress: Progress | None = None) -> Did:
        did = Did.ALREADY
        with self._running(id) as (at, record, monitor):
            record = self._found(at, record, monitor, disk.serial)
            if home.has(record, disk):
                return Did.ALREADY
            disks.check(disk)
            if not home.copies_to(record, disk) or not mirrors.is_alive(monitor, disk.serial):
                place = mirrors.free_place(monitor, disk.serial)
                at.write(home.with_copy(record, home.Copy(place, disk)))
                with at.keys((disk,)):
                    mirrors.begin(monitor, disk, place, str(at.key_directory(disk.serial)))
                did = Did.CHANGED
        while True:  # meanwhile the guest is not ours alone: it can be looked at, held and stopped
            with self._running(id) as (_, _, monitor):
                found = mirrors.follows(monitor, disk.serial)
            if progress is not None:
                progress(found.done_bytes, found.total_bytes)
            if found.status == "ready":
                return did
            time.sleep(MIRROR_POLL_S)

    def still(self, id: str, serial: str) -> Did:
        with self._running(id) as (_, _, monitor):
            mirrors.follows(monitor, serial)
        did = self.hold(id, MOVING + serial)
        with self._running(id) as (_, _, monitor):
            mirrors.catch_up(monitor, serial)
        return did

    def pivot(self, id: str, disk: Disk) -> Did:
        """That the guest uses it is noted before it runs again: whoever finds it ended knows where its disk was."""
        at, did = self._home(id), Did.ALREADY
        with at.locked(timeout_s=LOCK_S):
            record = at.read()
            if record is not None and process.find(at) is None and home.has(record, disk):
                return Did.ALREADY
        with self._running(id) as (at, record, monitor):
            record = self._found(at, record, monitor, disk.serial)
            if not home.has(record, disk):
                if not home.copies_to(record, disk) or MOVING + disk.serial not in record.held:
                    raise errors.GuestError(f"guest {id} does not stand still for disk {disk.serial}; move it again")
                mirrors.finish(monitor, disk.serial)
                record = self._found(at, record, monitor, disk.serial)
                did = Did.CHANGED
            mirrors.tidy(monitor, disk.serial)
            at.write(home.without_copy(record, disk.serial))
        self.release(id, MOVING + disk.serial)
        return did

    def unmirror(self, id: str, serial: str) -> Did:
        at = self._home(id)
        with at.locked(timeout_s=LOCK_S):
            record = at.read()
            if record is None or process.find(at) is None:
                return Did.ALREADY
            with qmp.connected(at.path, id) as monitor:
                record = self._found(at, record, monitor, serial)
                did = mirrors.tidy(monitor, serial)
                at.write(home.without_copy(record, serial))
        released = self.release(id, MOVING + serial)
        return Did.CHANGED if Did.CHANGED in (did, released) else Did.ALREADY

    def _found(self, at: Home, record: Record, monitor: qmp.Monitor, serial: str) -> Record:
        """The record, with a disk that moves where QEMU has it: whoever had it change over may have died before the
        note."""
        copy = record.copies.get(serial)
        if copy is not None and mirrors.in_use(monitor, serial) == copy.place:
            record = home.with_disk(record, copy.disk)
            at.write(record)
        return record

    def pause(self, id: str) -> Did:
        """QEMU's own `stop` waits for all requests in flight and flushes every disk before it answers."""
        with self._running(id) as (at, record, monitor):
            did = Did.ALREADY
            if monitor.execute("query-status")["running"]:
                monitor.execute("stop")
                did = Did.CHANGED
            at.write(dataclasses.replace(record, paused=True))
            return did

    def resume(self, id: str) -> Did:
        with self._running(id) as (at, record, monitor):
            did = Did.CHANGED if record.paused else Did.ALREADY
            found = monitor.execute("query-status")
            if not found["running"] and not record.held and found["status"] != STARVED:
                monitor.execute("cont")
                did = Did.CHANGED
            at.write(dataclasses.replace(record, paused=False))
            return did

    def hold(self, id: str, reason: str) -> Did:
        """The reason is on disk before the guest is stopped: whoever finds it stopped knows why, also after a crash."""
        with self._running(id) as (at, record, monitor):
            did = Did.ALREADY
            if reason not in record.held:
                at.write(dataclasses.replace(record, held=tuple(sorted((*record.held, reason)))))
                did = Did.CHANGED
            if monitor.execute("query-status")["running"]:
                monitor.execute("stop")
                did = Did.CHANGED
            return did

    def release(self, id: str, reason: str) -> Did:
        """The reason goes when the guest runs: after a crash in between it is released again, which changes nothing."""
        with self._running(id) as (at, record, monitor):
            kept = tuple(other for other in record.held if other != reason)
            did = Did.CHANGED if len(kept) < len(record.held) else Did.ALREADY
            if not kept and not record.paused and not monitor.execute("query-status")["running"]:
                monitor.execute("cont")
                did = Did.CHANGED
            if kept != record.held:
                at.write(dataclasses.replace(record, held=kept))
            return did

    def console(self, id: str, max_bytes: int = 65536) -> str:
        at = self._home(id)
        if not at.path.exists():
            raise errors.NotFound(f"there is no guest {id} on this host")
        at.trim_console()
        return at.console(max_bytes)

    def list(self) -> list[Running]:
        found = []
        for at in home.all_homes(self._state):
            at.trim_console()
            try:
                record = at.read()
            except errors.GuestError:
                record = None  # one damaged record hides no other guest, and its own process is still shown
            if record is not None or process.find(at) is not None:
                found.append(self._look(at, record))
        return found

    def _home(self, id: str) -> Home:
        return Home(self._state, id)

    def _look(self, at: Home, record: Record | None) -> Running:
        """The state of one guest; of one that is busy with a command, as it was before that command."""
        pid = process.find(at)
        known = record.guest.disks if record else ()
        serials = tuple(disk.serial for disk in known)
        read_only = tuple(disk.serial for disk in known if disk.read_only)
        if pid is None:
            return Running(at.id, "stopped", None, serials, (), read_only)
        held = record.held if record else ()
        status = "paused" if record and (record.paused or held) else "running"
        with contextlib.suppress(errors.GuestError), at.locked(timeout_s=0), qmp.connected(at.path, at.id) as monitor:
            found = monitor.execute("query-status")
            status = "running" if found["running"] else "paused"
            held += (NO_ROOM,) if found["status"] == STARVED else ()
            serials = tuple(opened.serials(monitor))
        return Running(at.id, status, pid, serials, held, read_only)

    @contextlib.contextmanager
    def _running(self, id: str) -> Iterator[tuple[Home, Record, qmp.Monitor]]:
        """The guest's record and monitor, under its lock. NotFound without a guest, GuestError if it does not run."""
        at = self._home(id)
        with at.locked(timeout_s=LOCK_S):
            record = at.read()
            if record is None:
                raise errors.NotFound(f"there is no guest {id} on this host")
            if process.find(at) is None:
                raise errors.GuestError(f"guest {id} is stopped; boot it first")
            with qmp.connected(at.path, id) as monitor:
                yield at, record, monitor

    def _note(self, at: Home, record: Record, now: tuple[Disk, ...]) -> None:
        at.write(dataclasses.replace(record, guest=dataclasses.replace(record.guest, disks=now)))

    def _is_up(self, at: Home) -> bool:
        """Whether the guest runs already. What a crash left half started is ended, so that it can be started again."""
        if process.find(at) is None:
            return False
        record = at.read()
        try:
            with qmp.connected(at.path, at.id) as monitor:
                same = monitor.execute("query-uuid")["UUID"] == at.id
        except qmp.Silent as silent:
            if record is not None and record.started:
                # It did run once and may be writing to its disks: that is for a person, or a destroy, to end.
                raise errors.GuestError(
                    f"guest {at.id} runs and does not answer ({silent}); destroy it first"
                ) from silent
            same = False
        if not same or record is None:
            self._end(at)
            return False
        if not record.started:
            at.write(dataclasses.replace(record, started=True))
        return True

    def _start(self, guest: Guest, at: Home) -> None:
        acceleration = self.acceleration()
        slots = len(guest.disks) + self._slots
        if slots > arguments.SLOTS_MAX:
            raise errors.Invalid(f"a guest has room for {arguments.SLOTS_MAX - self._slots} disks", field="disks")
        is_new = not at.path.exists()
        at.create()
        at.clean()
        at.write(Record(guest))
        try:
            with at.keys(guest.disks), qmp.socket_path(at.path, str(os.getpid())) as socket:
                command = arguments.of_guest(
                    guest, at, binary=self._binary, acceleration=acceleration, slots=slots, qmp=socket
                )
                shell.run(arguments.detached(command, at), timeout_s=START_S)
                pid = self._answering(at)
            limits.apply(guest, pid, self._group)
            at.write(Record(guest, started=True))
        except (errors.BrickError, errors.GuestError, OSError) as failed:
            self._end(at)
            if is_new:
                at.remove()
            raise errors.GuestError(f"guest {guest.id} could not be started: {failed}") from failed

    def _answering(self, at: Home) -> int:
        """Wait until the monitor of a new guest answers. The pid of its process."""
        deadline = clock.monotonic() + START_S
        while process.search(at):
            with contextlib.suppress(qmp.Silent), qmp.connected(at.path, at.id):
                pid = process.find(at)
                if pid is not None:
                    return pid
            if clock.monotonic() > deadline:
                raise errors.GuestError(f"it does not answer after {START_S:g} s; look at the load of this host")
            time.sleep(home.POLL_S)
        raise errors.GuestError(at.complaint() or "QEMU ended without a word; look at the memory of this host")

    def _end(self, at: Home) -> None:
        """End every process of the guest, gently first, and remove what they leave. The record and the log stay."""
        pids = process.search(at)
        if pids:
            with contextlib.suppress(errors.GuestError), qmp.connected(at.path, at.id) as monitor:
                monitor.execute("quit")
                process.wait(pids[0], at, timeout_s=QUIT_S)
        for pid in pids:
            if not process.end(pid, at, terminate_s=TERMINATE_S, kill_s=KILL_S):
                raise errors.GuestError(
                    f"process {pid} of guest {at.id} does not end; look at the storage of its disks"
                )
        at.clean()
        limits.release(at.id, self._group)
