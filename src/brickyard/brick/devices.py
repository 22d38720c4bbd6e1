"""The disks of this host: what they are, what is on them, and the one way in which one becomes ours.

A visible device is not ours. `claim` refuses whatever carries a signature, a partition table, a holder or a mount, and
names all that it found; the administrator allows it by repeating the serial number of the very device. What is in use
is refused even then. The last word has the kernel: a device that cannot be opened exclusively belongs to somebody.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from brickyard.brick import blkpg, mounts, shell
from brickyard.core import clock, errors

SYS = "/sys/class/block"
COLUMNS = "KNAME,TYPE,SIZE,SERIAL,MODEL,ROTA,DISC-MAX"
TIMEOUT_S = 60.0
LOCK_S, PAUSE_S = 60.0, 0.05
LOOKS = 6  # at who writes to a device, before it is called in use; and at one that changes meanwhile
ROUNDS_MAX = 3  # under one signature another may come to light
NOT_OURS = (errno.EBUSY, errno.EPERM, errno.EACCES, errno.EROFS, errno.ENOMEDIUM)
KINDS = ("disk", "loop", "mpath")  # of what lsblk calls a device, those that somebody could turn into a pool


@dataclass(frozen=True, slots=True)
class Device:
    """A block device as it is now. `path` is the kernel's own name of it, `serial` that of the whole disk."""

    path: str
    serial: str | None  # None for a loop device, and a virtual disk that was given none
    size_bytes: int
    model: str | None
    rotational: bool
    discards: bool
    found: tuple[str, ...]  # everything that stands against taking it, in words
    in_use: tuple[str, ...]  # what of it no permission overrides

    @property
    def confirmation(self) -> str:
        """What a person must repeat to allow its content to be lost: the serial number, or the path where a device
        has none (a loop device, a virtual disk without a serial)."""
        return self.serial or self.path


def resolve(path: str) -> str:
    """The kernel's own path of a block device that is given by any name, /dev/disk/by-id/… too.

    Invalid unless it is absolute and a block device; NotFound when nothing is there.
    """
    if not os.path.isabs(path):
        raise errors.Invalid(f"{path!r} is not a device: give its absolute path, such as /dev/vdb", field="device")
    real = os.path.realpath(path)
    try:
        mode = os.stat(real).st_mode
    except FileNotFoundError:
        raise errors.NotFound(f"there is no device {path}: `lsblk` shows what is there") from None
    if not stat.S_ISBLK(mode):
        raise errors.Invalid(f"{path} is not a block device: give a disk or a partition", field="device")
    return real


def inspect(path: str) -> Device:
    """What a device is, and everything that is on it or uses it; NotFound without a medium. Changes nothing."""
    real = resolve(path)
    if not _number(real, "size"):
        raise errors.NotFound(f"there is nothing in {path}: it has no medium, or is a loop device without a file")
    for _ in range(LOOKS):
        with contextlib.suppress(OSError, errors.ToolFailed):  # a partition may go, and come back, meanwhile
            return _look(real)
    return _look(real)


def _look(real: str) -> Device:
    facts = _facts(_disk(real))
    in_use = tuple(_uses(real))
    return Device(
        path=real,
        serial=_text(facts.get("serial")) or _serial(_disk(real)),
        size_bytes=_number(real, "size") * 512,
        model=_text(facts.get("model")),
        rotational=bool(facts.get("rota")),
        discards=int(facts.get("disc-max") or 0) > 0,
        found=(*(_contents(real) if _is_readable(real) else ()), *in_use),
        in_use=in_use,
    )


def list_devices() -> list[Device]:
    """Every disk of this host that holds at least one byte; partitions are told of with their disk."""
    listed = json.loads(shell.run(["lsblk", "-J", "-b", "-d", "-o", COLUMNS], timeout_s=TIMEOUT_S))["blockdevices"]
    devices = []
    for facts in listed:
        if facts["type"] in KINDS and int(facts["size"] or 0) > 0:
            path = f"/dev/{facts['kname'].replace('!', '/')}"
            try:
                devices.append(inspect(path))
            except (errors.NotFound, errors.ToolFailed, OSError):
                if os.path.exists(path) and _number(path, "size"):
                    raise  # it has not just been pulled out
    return devices


def claim(path: str, *, serial: str | None = None) -> Device:
    """Make sure that a device is free to be used, and empty it where that is allowed; then what it is now.

    DeviceInUse when anything was found on it, unless `serial` is the device's own and nothing of it is in use. Then
    all signatures are removed, of its partitions first, both copies of a partition table included. May run twice: a
    claim that died has left a device that is still refused without the serial, or is clean.
    """
    real = resolve(path)
    with locked(real) as descriptor:
        device = inspect(real)
        if device.in_use:
            raise errors.DeviceInUse(
                f"{path} is in use: {'; '.join(device.found)}; let it go first, no permission overrides this",
                device.found,
            )
        allowed = serial == device.confirmation or (device.serial is None and serial == path)
        if device.found and not allowed:
            raise _refused(path, device, serial)
        if serial is not None and not allowed:
            raise errors.Invalid(
                f"{path} is not the device that is meant: its serial is {device.confirmation} and not {serial}; "
                "look at `lsblk -o PATH,SERIAL`",
                field="wipe",
            )
        _reserve_check(real)
        if not device.found:
            return device
        _wipe_signatures(real, descriptor)
        device = inspect(real)
        if device.found:
            raise errors.DeviceInUse(f"{path} still shows {'; '.join(device.found)} after it was wiped", device.found)
        return device


@contextlib.contextmanager
def locked(path: str) -> Iterator[int]:
    """The lock that udev respects, on the whole disk: while it is held nobody scans or re-reads its partitions.

    Yields a descriptor of the disk that is open for reading. Closing a disk that was open for writing makes udev look
    at it, and that drops partitions which nobody uses at that moment; so hold this round every such write.
    """
    disk = _disk(resolve(path))
    try:
        descriptor = os.open(disk, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError as refused:
        raise errors.DeviceInUse(f"{disk} cannot be opened: {refused.strerror}; give this service access") from refused
    try:
        deadline = clock.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno != errno.EWOULDBLOCK:
                    raise
            if clock.monotonic() > deadline:
                raise errors.DeviceInUse(
                    f"{disk} has been locked for {LOCK_S:g} s: find the process that holds it (lslocks), then repeat"
                )
            clock.sleep(PAUSE_S)
        with shell.holding(descriptor):
            yield descriptor
    finally:
        os.close(descriptor)


def partitions(path: str) -> list[str]:
    """The partitions of a disk that the kernel knows, by their paths."""
    place = os.path.join(SYS, _kernel_name(path))
    if not os.path.isdir(place):
        return []
    names = [name for name in os.listdir(place) if os.path.exists(os.path.join(place, name, "partition"))]
    return [f"/dev/{name.replace('!', '/')}" for name in sorted(names, key=_by_number)]


# what stands against it -------------------------------------------------------------------------------------------


def _refused(path: str, device: Device, serial: str | None) -> errors.DeviceInUse:
    wrong = f"the serial {serial} is not its own; " if serial is not None else ""
    kind = "serial" if device.serial else "path, as it has no serial,"
    return errors.DeviceInUse(
        f"{path} is not empty: {'; '.join(device.found)}; {wrong}if all of that may be lost, repeat its {kind} with "
        f"--wipe {device.confirmation}",
        device.found,
    )


def _contents(path: str) -> Iterator[str]:
    """Signatures of a device and of its partitions, and the partitions themselves."""
    for one in _signatures(path):
        yield f"{one} on {path}"
    for partition in partitions(path):
        with _unless_gone(partition):
            yield f"partition {partition} of {_number(partition, 'size') * 512} bytes"
            for one in _signatures(partition):
                yield f"{one} on {partition}"


def _signatures(path: str) -> list[str]:
    """What a device says of itself, each kind once: file systems, members of LVM, RAID and LUKS, partition tables."""
    output = shell.run(["wipefs", "-J", "-n", path], timeout_s=TIMEOUT_S).strip()
    signatures = json.loads(output)["signatures"] if output else []
    kinds = [f"signature {entry['type']}" for entry in signatures if entry["type"] != "PMBR"]
    if signatures and not kinds:
        kinds = ["signature PMBR"]  # all that is left of a partition table
    return list(dict.fromkeys(kinds))


def _uses(path: str) -> Iterator[str]:
    """Mounts, swap, holders, loop devices and writers of a device and of its partitions; and what the kernel says."""
    everything = [path, *partitions(path)]
    for one in everything:
        with _unless_gone(one):
            yield from (f"{one} is mounted on {point}" for point in mounts.points(one))
            yield from (f"{one} is used as swap" for swap in mounts.swaps() if swap == one)
            for holder in _entries(os.path.join(SYS, _kernel_name(one), "holders")):
                yield f"{one} is held by {holder}"
            yield from (f"{one} is the store of {loop}" for loop in _loops(one))
    yield from _lasting_writers(set(everything))
    if _number(path, "ro"):
        yield f"{path} is read-only"
    for one in everything:
        with _unless_gone(one):
            if not _is_free(one):
                yield f"{one} cannot be opened exclusively: the kernel or a program has it"


@contextlib.contextmanager
def _unless_gone(path: str) -> Iterator[None]:
    """A partition that is removed while it is looked at needs no words."""
    try:
        yield
    except (OSError, errors.ToolFailed):
        if os.path.exists(path):
            raise


def _loops(path: str) -> list[str]:
    """Loop devices over this device: the kernel calls them no holders and lets others open it exclusively."""
    found = []
    for name in _entries(SYS):
        backing = _read(os.path.join(SYS, name, "loop", "backing_file"))
        if backing and os.path.realpath(backing) == path:
            found.append(f"/dev/{name}")
    return found


def _lasting_writers(paths: set[str]) -> list[str]:
    """Whoever still writes after a while: a program that only tries the device is gone by then."""
    writers = list(_writers(paths))
    for _ in range(LOOKS):
        if not writers:
            break
        clock.sleep(PAUSE_S)
        writers = list(_writers(paths))
    return writers


def _writers(paths: set[str]) -> Iterator[str]:
    """Programs that have a device open for writing, as QEMU has the disk of a guest, which it does not hold."""
    for process in filter(str.isdigit, _entries("/proc")):
        place = f"/proc/{process}"
        for number in _entries(f"{place}/fd"):
            try:
                target = os.readlink(f"{place}/fd/{number}")
            except OSError:
                continue  # closed meanwhile, or another user's
            if target in paths:
                flags = re.search(r"^flags:\s*([0-7]+)", _read(f"{place}/fdinfo/{number}"), re.MULTILINE)
                if flags and int(flags[1], 8) & os.O_ACCMODE != os.O_RDONLY:
                    yield f"{target} is open for writing in {_read(f'{place}/comm').strip()} (process {process})"


def _is_free(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        if error.errno in NOT_OURS:
            return False
        raise
    return True


def _is_readable(path: str) -> bool:
    """False for a disk that even root may not read; then it is not free either, which is told as its use."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        if error.errno in NOT_OURS:
            return False
        raise
    return True


def _reserve_check(path: str) -> None:
    """Between the look and the act somebody may have taken it: ask the kernel once more, directly before."""
    if not _is_free(path):
        raise errors.DeviceInUse(f"{path} was taken by something else just now: look at it again, then repeat")


# wiping signatures ------------------------------------------------------------------------------------------------


def _wipe_signatures(path: str, descriptor: int) -> None:
    """From the inside out: as long as anything is left inside, the partition table still says that there is."""
    for one in partitions(path):
        _wipe_all(one)
    for number in blkpg.known(path):
        blkpg.delete(path, descriptor, number)
    _wipe_all(path)


def _wipe_all(path: str) -> None:
    for _ in range(ROUNDS_MAX):
        if not _signatures(path):
            return
        shell.run(["wipefs", "-a", "-q", path], timeout_s=TIMEOUT_S)


# the kernel's papers ----------------------------------------------------------------------------------------------


def _facts(path: str) -> dict[str, Any]:
    output = shell.run(["lsblk", "-J", "-b", "-d", "-o", COLUMNS, path], timeout_s=TIMEOUT_S)
    facts: dict[str, Any] = json.loads(output)["blockdevices"][0]
    return facts


def _disk(path: str) -> str:
    """The whole disk that a device is, or that it is a partition of."""
    place = os.path.realpath(os.path.join(SYS, _kernel_name(path)))
    if os.path.exists(os.path.join(place, "partition")):
        return f"/dev/{os.path.basename(os.path.dirname(place)).replace('!', '/')}"
    return path


def _kernel_name(path: str) -> str:
    return os.path.basename(os.path.realpath(f"/sys/dev/block/{_numbers(path)}"))


def _numbers(path: str) -> str:
    device = os.stat(path).st_rdev
    return f"{os.major(device)}:{os.minor(device)}"


def _serial(disk: str) -> str | None:
    """Without udev's database: what the driver of the disk says, virtio in one place and most others in another."""
    place = os.path.join(SYS, _kernel_name(disk))
    return _text(_read(os.path.join(place, "serial")) or _read(os.path.join(place, "device", "serial")))


def _number(path: str, name: str) -> int:
    return int(_read(os.path.join(SYS, _kernel_name(path), name)) or 0)


def _entries(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def _text(value: object) -> str | None:
    return str(value).strip() or None if value else None


def _by_number(name: str) -> tuple[int, str]:
    match = re.search(r"(\d+)$", name)
    return (int(match[1]) if match else 0, name)
