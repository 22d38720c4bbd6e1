"""How much of the host one guest may take.

Where control groups of version 2 are writable, every guest has a group of its own, outside that of the service: its
memory and processor time are limited there, and a restart of the service, which ends the service's own group, leaves
the guests alone. Elsewhere resource limits of the process do what they can: they bound its address space, its open
files and its core dumps, and leave the share of the processor to the scheduler of the host.
"""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path

from brickyard.hypervisor.machine import Guest

GROUP = Path("/sys/fs/cgroup/brickyard")
OVERHEAD_MIB = 512  # of QEMU itself: its code, its buffers, the translation cache where there is no KVM
ADDRESS_SPACE_MIB = 4096  # above the guest's memory: much is reserved and never touched
FILES_MAX = 4096
PERIOD_US = 100_000
MIB = 1024 * 1024


def apply(guest: Guest, pid: int, group: Path = GROUP) -> str:
    """Limit the guest's process. The answer says how: cgroup or rlimit."""
    resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))  # a core holds the guest's memory, secrets included
    try:
        _group(guest, pid, group)
    except OSError:
        space = (guest.memory_mib + ADDRESS_SPACE_MIB) * MIB
        resource.prlimit(pid, resource.RLIMIT_AS, (space, space))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (FILES_MAX, FILES_MAX))
        return "rlimit"
    return "cgroup"


def release(id: str, group: Path = GROUP) -> None:
    """Remove the guest's group once its process has ended; the kernel refuses before."""
    with contextlib.suppress(OSError):
        (group / id).rmdir()


def _group(guest: Guest, pid: int, group: Path) -> None:
    """OSError where there is no cgroup v2, no such controller, or no permission."""
    if "memory" not in (group.parent / "cgroup.controllers").read_text().split():
        raise NotADirectoryError(f"no memory controller in {group.parent}")
    own = group / guest.id
    own.mkdir(parents=True, exist_ok=True)
    for parent in (group.parent, group):
        (parent / "cgroup.subtree_control").write_text("+memory +cpu")
    try:
        (own / "memory.max").write_text(str((guest.memory_mib + OVERHEAD_MIB) * MIB))
        # One processor more than the guest has, for QEMU's own work on its disks.
        (own / "cpu.max").write_text(f"{(guest.vcpus + 1) * PERIOD_US} {PERIOD_US}")
        (own / "cgroup.procs").write_text(str(pid))
    except OSError:
        with contextlib.suppress(OSError):
            os.rmdir(own)
        raise
