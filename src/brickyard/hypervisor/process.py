"""The processes of guests: a process is a guest's QEMU only if its command line names the pid file of that guest."""

from __future__ import annotations

import os

from brickyard.brick import processes
from brickyard.hypervisor.home import Home


def find(home: Home) -> int | None:
    """The pid of the guest's QEMU."""
    return processes.find(home.pid_file, _marks(home))


def search(home: Home) -> list[int]:
    """Every process of the guest; while QEMU starts there may be two."""
    return processes.search(_marks(home))


def wait(pid: int, home: Home, *, timeout_s: float) -> bool:
    """Whether the guest's process `pid` has ended, after at most `timeout_s`."""
    return processes.wait(pid, _marks(home), timeout_s=timeout_s)


def end(pid: int, home: Home, *, terminate_s: float, kill_s: float) -> bool:
    """SIGTERM, on which QEMU flushes and closes its disks; SIGKILL if that does not end it. Whether it has ended."""
    return processes.end(pid, _marks(home), terminate_s=terminate_s, kill_s=kill_s)


def _marks(home: Home) -> processes.Marks:
    return (b"-pidfile", os.fsencode(home.pid_file)), (b"-uuid", home.id.encode())
