"""The processes of guests: found by what they are, never trusted by their number alone.

A pid file outlives its process, and numbers are given out again. A process is a guest's QEMU only if its own command
line names the pid file of that guest. It is then held by a pidfd, which can never come to mean another process, and
looked at once more: what is signalled is what was checked.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

from brickyard.hypervisor.home import Home


def find(home: Home) -> int | None:
    """The pid of the guest's QEMU: as its pid file says, or else (a crash came first) by looking at all processes."""
    try:
        pid = int(home.pid_file.read_text().strip())
    except (FileNotFoundError, ValueError):
        pid = 0
    if pid and is_guest(pid, home):
        return pid
    return next(iter(search(home)), None)


def search(home: Home) -> list[int]:
    """Every process of the guest; while QEMU starts there may be two."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and is_guest(int(name), home)]


def is_guest(pid: int, home: Home) -> bool:
    """Whether `pid` is a living QEMU of this guest. A zombie has no command line, and so is none."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    pairs = list(itertools.pairwise(arguments))
    return (b"-pidfile", os.fsencode(home.pid_file)) in pairs and (b"-uuid", home.id.encode()) in pairs


def wait(pid: int, home: Home, *, timeout_s: float) -> bool:
    """Whether the guest's process `pid` has ended, after at most `timeout_s`."""
    with _held(pid, home) as descriptor:
        return descriptor is None or _ended(descriptor, timeout_s)


def end(pid: int, home: Home, *, terminate_s: float, kill_s: float) -> bool:
    """SIGTERM, on which QEMU flushes and closes its disks; SIGKILL if that does not end it. Whether it has ended."""
    with _held(pid, home) as descriptor:
        if descriptor is None:
            return True
        for number, patience_s in ((signal.SIGTERM, terminate_s), (signal.SIGKILL, kill_s)):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
            if _ended(descriptor, patience_s):
                return True
        return False


@contextlib.contextmanager
def _held(pid: int, home: Home) -> Iterator[int | None]:
    """A pidfd of the process, None if it is gone or is not the guest's."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield descriptor if is_guest(pid, home) else None
    finally:
        os.close(descriptor)


def _ended(descriptor: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))
