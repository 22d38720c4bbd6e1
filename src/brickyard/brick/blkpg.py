"""Telling the kernel of partitions one by one, so that those in use are not disturbed by a change of their neighbours.

Reading the whole table again, as BLKRRPART does, is refused while any partition of the disk is open. Each call may be
repeated: it looks first.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct

from brickyard.brick import faults
from brickyard.core import clock, errors

BLKPG = 0x1269  # <linux/blkpg.h>
ADD, DELETE, RESIZE = 1, 2, 3
LOOK_S, PAUSE_S = 2.0, 0.02  # udev, and whoever lists the disks, opens each partition for a moment
PARTITION = struct.Struct("qqi64s64s4x")  # first byte, length, number, two names that the kernel ignores
ARGUMENT = struct.Struct("iiiP")


def path_of(disk: str, number: int) -> str:
    """/dev/vdb1, and /dev/loop0p1 or /dev/nvme0n1p1 where the name of the disk ends in a digit."""
    return f"{disk}p{number}" if disk[-1].isdigit() else f"{disk}{number}"


def known(disk: str) -> dict[int, tuple[int, int]]:
    """First byte and length, in bytes, of each partition of a disk as the kernel has it now, by its number."""
    place = f"/sys/class/block/{os.path.basename(disk)}"
    found = {}
    for name in os.listdir(place):
        try:
            figures = [_figure(f"{place}/{name}/{what}") for what in ("partition", "start", "size")]
        except (FileNotFoundError, NotADirectoryError):
            continue  # not a partition, or one that goes at this moment
        found[figures[0]] = (figures[1] * 512, figures[2] * 512)
    return found


def add(disk: str, descriptor: int, number: int, begin: int, length: int) -> None:
    """Make a partition known, or give a known one its new length. BrickMismatch when it begins elsewhere."""
    now = known(disk).get(number)
    if now == (begin, length):
        return
    if now is not None and now[0] != begin:
        raise errors.BrickMismatch(
            f"the kernel has partition {number} of {disk} at byte {now[0]} and the table at {begin}: close it, run "
            f"partx --update {disk}, then repeat"
        )
    with faults.step("tell the kernel"):
        _call(descriptor, ADD if now is None else RESIZE, number, begin, length)


def delete(disk: str, descriptor: int, number: int) -> None:
    """Make the kernel forget a partition. DeviceInUse when somebody has it open for longer than a look takes."""
    if number not in known(disk):
        return
    deadline = clock.monotonic() + LOOK_S
    with faults.step("tell the kernel"):
        while _is_open(descriptor, number):
            if clock.monotonic() > deadline:
                path = path_of(disk, number)
                raise errors.DeviceInUse(f"{path} is open somewhere: close it (lsof {path}), then repeat")
            clock.sleep(PAUSE_S)


def _is_open(descriptor: int, number: int) -> bool:
    """Whether the kernel refuses to forget a partition because it is open; otherwise it has forgotten it."""
    try:
        _call(descriptor, DELETE, number, 0, 0)
    except OSError as error:
        if error.errno not in (errno.ENXIO, errno.EBUSY):
            raise
        return error.errno == errno.EBUSY
    return False


def _call(descriptor: int, operation: int, number: int, begin: int, length: int) -> None:
    partition = ctypes.create_string_buffer(PARTITION.pack(begin, length, number, b"", b""))
    fcntl.ioctl(descriptor, BLKPG, ARGUMENT.pack(operation, 0, PARTITION.size, ctypes.addressof(partition)))


def _figure(path: str) -> int:
    with open(path, encoding="ascii") as file:
        return int(file.read())
