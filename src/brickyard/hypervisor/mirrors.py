"""A disk of a running guest that moves: QEMU copies it to another place, and follows what the guest writes meanwhile.

At the end the guest stands still for a moment, until both places hold the same and have it on disk; then it either uses
the new one or goes on with the old one. QEMU keeps the job when it is over (`auto-dismiss` off), so that whoever comes
back after a crash finds how it ended. Each step looks first, and may be repeated.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

from brickyard.core import clock, errors
from brickyard.core.bricks import Did
from brickyard.hypervisor import disks, opened, qmp
from brickyard.hypervisor.machine import Disk

END_S = 60.0  # for what is left to copy while the guest stands still
POLL_S = 0.02
OVER = ("aborting", "concluded", "null")


@dataclass(frozen=True, slots=True)
class Job:
    """A copy as it is now. `place` is where it goes."""

    place: str
    status: str  # of QEMU's jobs: running, ready, concluded, ...
    error: str | None
    done_bytes: int
    total_bytes: int


def begin(monitor: qmp.Monitor, disk: Disk, place: str, keys: str) -> None:
    """Start to copy a disk to `disk`, under the name of `place`, which is free."""
    if disk.export is not None:
        monitor.execute("object-add", disks.credentials(disk, keys, place))
    monitor.execute("blockdev-add", disks.node(dataclasses.replace(disk, read_only=False), place))
    copy = {
        "job-id": _job_id(disk.serial, place),
        "device": disks.node_name(disk.serial, other(place)),
        "target": disks.node_name(disk.serial, place),
        "sync": "full",
        "copy-mode": "background",  # so that the guest never waits for where it goes
        "on-source-error": "report",
        "on-target-error": "report",
        "auto-dismiss": False,
    }
    monitor.execute("blockdev-mirror", copy)


def free_place(monitor: qmp.Monitor, serial: str) -> str:
    """The place that the guest does not use; what an earlier copy left there is closed."""
    here = in_use(monitor, serial)
    if here is None:
        raise errors.NotFound(f"the guest has no disk {serial}")
    tidy(monitor, serial)
    return other(here)


def is_alive(monitor: qmp.Monitor, serial: str) -> bool:
    found = job(monitor, serial)
    return found is not None and found.status not in OVER


def job(monitor: qmp.Monitor, serial: str) -> Job | None:
    """The copy of a disk, also one that is over and was not put away."""
    by_id = {_job_id(serial, place): place for place in disks.PLACES}
    for found in monitor.execute("query-jobs"):
        if found["id"] in by_id:
            figures = (found["current-progress"], found["total-progress"])
            return Job(by_id[found["id"]], found["status"], found.get("error"), *figures)
    return None


def follows(monitor: qmp.Monitor, serial: str) -> Job:
    """The copy, if it is alive. GuestError with the reason when it is not."""
    found = job(monitor, serial)
    if found is None:
        raise errors.GuestError(
            f"disk {serial} is not being copied any more: its guest was started anew; move it again"
        )
    if found.status in OVER:
        raise errors.GuestError(f"the copy of disk {serial} failed: {found.error or found.status}; the guest keeps it")
    return found


def catch_up(monitor: qmp.Monitor, serial: str) -> None:
    """Of a guest that stands still: wait until nothing is left to copy, and both places have it on disk."""
    deadline = clock.monotonic() + END_S
    while (found := follows(monitor, serial)).status != "ready" or found.done_bytes < found.total_bytes:
        if clock.monotonic() > deadline:
            raise errors.GuestError(
                f"disk {serial} is not copied after {END_S:g} s while its guest stands still; look at the storage of "
                "the pool it moves to"
            )
        time.sleep(POLL_S)
    monitor.execute("stop")  # flushes every disk, also when the guest stands still already


def finish(monitor: qmp.Monitor, serial: str) -> None:
    """The guest uses the copy from here on. It stands still."""
    found = job(monitor, serial)
    if found is None or found.status != "concluded":
        monitor.execute("job-complete", {"id": _job_id(serial, follows(monitor, serial).place)})
        found = _concluded(monitor, serial)
    if found.error is not None:
        raise errors.GuestError(f"the copy of disk {serial} failed: {found.error}; the guest keeps it where it was")


def tidy(monitor: qmp.Monitor, serial: str) -> Did:
    """End the copy, if there is one, and close what the guest does not use of a disk."""
    found = job(monitor, serial)
    if found is not None:
        if found.status not in ("concluded", "aborting"):
            monitor.execute("job-cancel", {"id": _job_id(serial, found.place)})
        _concluded(monitor, serial)
        monitor.execute("job-dismiss", {"id": _job_id(serial, found.place)})
    here = in_use(monitor, serial)
    unused = [place for place in disks.PLACES if place != here and here is not None]
    closed = [opened.forget(monitor, serial, place) for place in unused]
    return Did.CHANGED if found is not None or any(closed) else Did.ALREADY


def in_use(monitor: qmp.Monitor, serial: str) -> str | None:
    """The place of what the guest uses of a disk; None without a device. While a copy is made, that is the one that it
    is made of."""
    found = job(monitor, serial)
    if found is not None and found.status != "concluded":
        return other(found.place)
    name = opened.used(monitor, serial)
    return next((place for place in disks.PLACES if disks.node_name(serial, place) == name), None)


def other(place: str) -> str:
    return next(one for one in disks.PLACES if one != place)


def _concluded(monitor: qmp.Monitor, serial: str) -> Job:
    deadline = clock.monotonic() + END_S
    while (found := job(monitor, serial)) is not None and found.status != "concluded":
        if clock.monotonic() > deadline:
            raise errors.GuestError(f"the copy of disk {serial} does not end within {END_S:g} s; look at its storage")
        time.sleep(POLL_S)
    if found is None:
        raise errors.GuestError(f"disk {serial} is not being copied any more; move it again")
    return found


def _job_id(serial: str, place: str) -> str:
    return f"to-{place}-{serial}"
