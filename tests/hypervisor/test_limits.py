"""A guest may not take the whole host: in a control group where there is one, by limits of its process elsewhere."""

from __future__ import annotations

import resource
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from brickyard.hypervisor import limits
from brickyard.hypervisor.machine import Guest

GUEST = Guest(str(uuid.uuid4()), "alder", 2, 128)


@pytest.fixture
def pid() -> Iterator[int]:
    """A process to limit."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process.pid
        process.kill()


def test_without_control_groups_the_process_is_limited(tmp_path: Path, pid: int) -> None:
    assert limits.apply(GUEST, pid, tmp_path / "absent" / "brickyard") == "rlimit"
    space = (128 + limits.ADDRESS_SPACE_MIB) * limits.MIB
    assert resource.prlimit(pid, resource.RLIMIT_AS) == (space, space)
    assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)


def test_a_tree_without_a_memory_controller_is_not_used(tmp_path: Path, pid: int) -> None:
    (tmp_path / "cgroup.controllers").write_text("hugetlb\n")
    assert limits.apply(GUEST, pid, tmp_path / "brickyard") == "rlimit"
    assert not (tmp_path / "brickyard").exists()


def test_a_guest_has_a_control_group_of_its_own(tmp_path: Path, pid: int) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu io memory pids\n")
    assert limits.apply(GUEST, pid, tmp_path / "brickyard") == "cgroup"
    own = tmp_path / "brickyard" / GUEST.id
    assert (own / "memory.max").read_text() == str((128 + limits.OVERHEAD_MIB) * limits.MIB)
    assert (own / "cpu.max").read_text() == "300000 100000"
    assert (own / "cgroup.procs").read_text() == str(pid)
    assert (tmp_path / "brickyard" / "cgroup.subtree_control").read_text() == "+memory +cpu"
    limits.release(GUEST.id, tmp_path / "brickyard")  # not empty: the kernel would refuse, and so does this
