"""Locks on the bricks of one pool, between threads and between processes, that leave no file behind per brick.

All locks of a pool are bytes of one file, `.lock`: a brick locks the byte that its name hashes to. Two names that
share a byte wait for each other for no reason, and nothing worse. The kernel drops a lock when the last process that
holds it ends, commands of a killed service included (see `shell.holding`).
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

from brickyard.brick import shell, steps
from brickyard.core import clock, errors

FILE = ".lock"
WAIT_S_MAX = 3600.0  # longer than the copy of a large brick
PAUSE_S_FIRST, PAUSE_S_MAX = 0.0005, 0.05


@contextmanager
def held(directory: str, name: str, *, reading: str | None = None, taking: str | None = None) -> Iterator[None]:
    """Lock `name` and `taking` against every other verb, and `reading`, where given, against those that change it."""
    wanted = {_byte(name): fcntl.F_WRLCK}
    if taking is not None:
        wanted[_byte(taking)] = fcntl.F_WRLCK
    if reading is not None:
        wanted.setdefault(_byte(reading), fcntl.F_RDLCK)
    with steps.opened(os.path.join(directory, FILE), os.O_CREAT | os.O_RDWR) as descriptor:
        for byte in sorted(wanted):  # always in one order, so that no two verbs wait for each other
            _lock(descriptor, byte, wanted[byte], name)
        with shell.holding(descriptor):
            yield


def is_held(directory: str, name: str) -> bool:
    """Whether a verb works on `name` now, in this process or in another one."""
    request = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, _byte(name), 1, 0)
    try:
        with steps.opened(os.path.join(directory, FILE), os.O_RDWR) as descriptor:
            answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, request)
    except FileNotFoundError:
        return False
    return bool(struct.unpack("hhqqi4x", answer)[0] != fcntl.F_UNLCK)


def _byte(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=7).digest())


def _lock(descriptor: int, byte: int, how: int, name: str) -> None:
    """Wait for one byte. The lock belongs to the open file and not to the process, so it works between threads too."""
    request = struct.pack("hhqqi4x", how, os.SEEK_SET, byte, 1, 0)
    deadline = clock.monotonic() + WAIT_S_MAX
    pause_s = PAUSE_S_FIRST
    while True:
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, request)
            return
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
        if clock.monotonic() > deadline:
            raise errors.BrickError(
                f"{name} has been busy for {WAIT_S_MAX:g} s: find the process that holds it (lslocks), then repeat"
            )
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, PAUSE_S_MAX)
