"""The directory of one guest: what it is, its process id, its monitor's socket, its console, and its lock.

    <state_dir>/guests/<uuid>/record.json   the guest as it was started, with the disks that it has now
    <state_dir>/guests/<uuid>/pid           written by QEMU itself
    <state_dir>/guests/<uuid>/qmp.sock      the monitor
    <state_dir>/guests/<uuid>/console.log   the serial console
    <state_dir>/guests/<uuid>/qemu.log      what QEMU says of itself
    <state_dir>/guests/<uuid>/keys          of disks that other hosts export, while QEMU reads them
    <state_dir>/locks/<uuid>                held by whoever changes this guest, in this process or another

The lock lies outside, so that it can be held while the directory itself comes and goes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from brickyard.core import bricks, clock, errors
from brickyard.hypervisor.machine import Disk, Guest, keyless

CONSOLE_BYTES_MAX = 8 * 1024 * 1024  # a guest may print for ever; its log may not grow for ever
CONSOLE_BYTES_KEPT = 1024 * 1024
COMPLAINT_CHARACTERS = 2000
POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Copy:
    """Where a disk is being copied to: under which of its names QEMU has that open (`disks.PLACES`), and what it is."""

    place: str
    disk: Disk


@dataclass(frozen=True, slots=True)
class Record:
    """What must be known of a guest when the service that started it is gone."""

    guest: Guest
    started: bool = False  # False until its start is known to be complete: a crash may have interrupted it
    paused: bool = False
    held: tuple[str, ...] = ()
    copies: Mapping[str, Copy] = field(default_factory=dict)  # of disks that move, by serial


def has(record: Record, disk: Disk) -> bool:
    """Whether the guest uses this very disk, wherever it lies; a record keeps no keys."""
    return keyless(disk) in map(keyless, record.guest.disks)


def with_disk(record: Record, disk: Disk) -> Record:
    """With this disk, in the place of the one of its serial; it moves no more."""
    before = record.guest.disks
    if all(other.serial != disk.serial for other in before):
        now = (*before, disk)
    else:
        now = tuple(disk if other.serial == disk.serial else other for other in before)
    record = without_copy(record, disk.serial)
    return dataclasses.replace(record, guest=dataclasses.replace(record.guest, disks=now))


def with_copy(record: Record, copy: Copy) -> Record:
    return dataclasses.replace(record, copies={**record.copies, copy.disk.serial: copy})


def without_copy(record: Record, serial: str) -> Record:
    return dataclasses.replace(record, copies={at: copy for at, copy in record.copies.items() if at != serial})


def copies_to(record: Record, disk: Disk) -> bool:
    """Whether it is noted that this disk is a copy that is being made."""
    found = record.copies.get(disk.serial)
    return found is not None and keyless(found.disk) == keyless(disk)


@dataclass(frozen=True, slots=True)
class Home:
    """The paths of one guest, and the few things that are done with them."""

    state: Path
    id: str

    def __post_init__(self) -> None:
        if not re.fullmatch(bricks.UUID, self.id):
            raise errors.Invalid(f"{self.id!r} is not the id of a guest: give a lower-case uuid", field="id")

    @property
    def path(self) -> Path:
        return self.state / "guests" / self.id

    @property
    def pid_file(self) -> Path:
        return self.path / "pid"

    @property
    def console_log(self) -> Path:
        return self.path / "console.log"

    @property
    def qemu_log(self) -> Path:
        return self.path / "qemu.log"

    def create(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.chmod(0o700)

    def read(self) -> Record | None:
        """None when there is no such guest, or when a crash left a directory without a record."""
        try:
            return msgspec.json.decode((self.path / "record.json").read_bytes(), type=Record)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError) as failed:
            raise errors.GuestError(f"{self.path}/record.json cannot be read ({failed}); destroy the guest") from failed

    def write(self, record: Record) -> None:
        """The whole record or none of it. No key of an export is kept."""
        known = tuple(map(keyless, record.guest.disks))
        copies = {serial: Copy(copy.place, keyless(copy.disk)) for serial, copy in record.copies.items()}
        record = dataclasses.replace(record, guest=dataclasses.replace(record.guest, disks=known), copies=copies)
        new = self.path / "record.json.new"
        with new.open("wb") as file:
            file.write(msgspec.json.encode(record))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path / "record.json")

    def clean(self) -> None:
        """Remove what a dead process left; the record and the console stay."""
        for name in ("pid", "qmp.sock"):
            (self.path / name).unlink(missing_ok=True)
        self._remove_keys()

    @contextlib.contextmanager
    def keys(self, disks: Sequence[Disk]) -> Iterator[None]:
        """The keys of exported disks, where QEMU reads them: each in `key_directory`, and gone after that."""
        try:
            for disk in disks:
                if disk.export is not None:
                    directory = self.key_directory(disk.serial)
                    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                    text = f"{disk.export.client}:{disk.export.key}\n"
                    with open(directory / "keys.psk", "w", opener=_private, encoding="ascii") as file:
                        file.write(text)
            yield
        finally:
            self._remove_keys()

    def key_directory(self, serial: str) -> Path:
        return self.path / "keys" / serial

    def _remove_keys(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.path / "keys")

    def remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.path)

    def complaint(self) -> str:
        """What QEMU itself said: why it did not start."""
        with contextlib.suppress(FileNotFoundError):
            return self.qemu_log.read_text(errors="replace")[-COMPLAINT_CHARACTERS:].strip()
        return ""

    def console(self, max_bytes: int) -> str:
        """The end of the console's log."""
        try:
            with self.console_log.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - max_bytes))
                return file.read(max_bytes).decode(errors="replace")
        except FileNotFoundError:
            return ""

    def trim_console(self) -> None:
        """Keep only the end of a long log. QEMU appends to it, so that it may be cut while the guest prints."""
        with contextlib.suppress(FileNotFoundError), self.console_log.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            if size > CONSOLE_BYTES_MAX:
                file.seek(size - CONSOLE_BYTES_KEPT)
                kept = file.read()
                file.truncate(0)
                file.seek(0)
                file.write(kept)

    @contextlib.contextmanager
    def locked(self, *, timeout_s: float) -> Iterator[None]:
        """Hold the guest's lock; GuestError when somebody else keeps it for too long."""
        descriptor = self._take(clock.monotonic() + timeout_s)
        try:
            yield
        finally:
            if not self.path.exists():
                # Removed while it is held: whoever waits for it sees that the file is another one, and opens again.
                self._lock_file.unlink(missing_ok=True)
            os.close(descriptor)

    @property
    def _lock_file(self) -> Path:
        return self.state / "locks" / self.id

    def _take(self, deadline: float) -> int:
        self._lock_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if _lock(descriptor) and _is(descriptor, self._lock_file):
                return descriptor
            os.close(descriptor)
            if clock.monotonic() > deadline:
                raise errors.GuestError(f"guest {self.id} is busy with another command; repeat when that has ended")
            time.sleep(POLL_S)


def all_homes(state: Path) -> list[Home]:
    """Every guest that has a directory, by id."""
    try:
        names = sorted(os.listdir(state / "guests"))
    except FileNotFoundError:
        return []
    return [Home(state, name) for name in names if re.fullmatch(bricks.UUID, name)]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    opened = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)
