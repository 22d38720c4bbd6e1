"""Processes that outlive who started them: found by what they are, never trusted by their number alone.

A pid file outlives its process, and numbers are given out again. A process is the one that is meant only if its own
command line has each of some `marks`, pairs of words that follow each other. It is then held by a pidfd, which can
never come to mean another process, and looked at once more: what is signalled is what was checked.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from brickyard.core import clock

Marks = Sequence[tuple[bytes, bytes]]
POLL_S = 0.002


def find(pid_file: Path, marks: Marks) -> int | None:
    """The pid of a process: as its pid file says, or else (a crash came first) by looking at all processes."""
    return noted(pid_file, marks) or next(iter(search(marks)), None)


def noted(pid_file: Path, marks: Marks) -> int | None:
    """The pid of a process that has written its pid file, and lives."""
    try:
        pid = int(pid_file.read_text().strip())
    except (FileNotFoundError, ValueError):
        return None
    return pid if has(pid, marks) else None


def search(marks: Marks) -> list[int]:
    """Every process that has the marks; while one starts there may be two."""
    return [pid for pid in all_pids() if has(pid, marks)]


def all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def has(pid: int, marks: Marks) -> bool:
    """Whether `pid` is a living process with these marks. A zombie has no command line, and so has none."""
    return set(marks) <= set(itertools.pairwise(words(pid)))


def words(pid: int) -> list[bytes]:
    """The command line of a process; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def wait(pid: int, marks: Marks, *, timeout_s: float) -> bool:
    """Whether the process `pid` has ended, after at most `timeout_s`."""
    with _held(pid, marks) as descriptor:
        return descriptor is None or _ended(descriptor, timeout_s)


def end(pid: int, marks: Marks, *, terminate_s: float, kill_s: float) -> bool:
    """SIGTERM, on which QEMU's programs flush and close their disks; SIGKILL if that does not end it. Whether it has
    ended."""
    with _held(pid, marks) as descriptor:
        if descriptor is None:
            return True
        for number, patience_s in ((signal.SIGTERM, terminate_s), (signal.SIGKILL, kill_s)):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
            if _ended(descriptor, patience_s):
                return True
        return False


def ask_to_end(pid: int, marks: Marks, *, timeout_s: float) -> bool:
    """SIGTERM, and nothing worse: what it holds in memory reaches the disk. Whether it has ended."""
    with _held(pid, marks) as descriptor:
        if descriptor is None:
            return True
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        return _ended(descriptor, timeout_s)


def freeze(pid: int, marks: Marks, *, timeout_s: float) -> bool:
    """Stop every thread of a process until `thaw`. False when there is none, or when it does not stop in time."""
    if not _signal(pid, marks, signal.SIGSTOP):
        return False
    deadline = clock.monotonic() + timeout_s
    while not all(state in "TtZX" for state in _states(pid)):
        if clock.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def thaw(pid: int, marks: Marks) -> None:
    """The end of a `freeze`; nothing happens to a process that runs."""
    _signal(pid, marks, signal.SIGCONT)


def _signal(pid: int, marks: Marks, number: signal.Signals) -> bool:
    with _held(pid, marks) as descriptor:
        if descriptor is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, number)
        return True


def _states(pid: int) -> list[str]:
    """The state of each thread, a letter each."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):  # a thread that has ended
            found.append(task.read_text().rpartition(") ")[2][:1])
    return found


@contextlib.contextmanager
def _held(pid: int, marks: Marks) -> Iterator[int | None]:
    """A pidfd of the process, None if it is gone or is another one."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield descriptor if has(pid, marks) else None
    finally:
        os.close(descriptor)


def _ended(descriptor: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))
