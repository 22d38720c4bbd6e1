"""Tests that need device-mapper and disks. They run in a guest, as root, and report here; inside the guest, and on a
machine that has device-mapper itself, they run where they are."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.contract.adoption import AdoptionContract

from .remote import Remote

IN_GUEST = os.environ.get("BRICKYARD_GUEST") == "1"
THOROUGH = os.environ.get("BRICKYARD_THOROUGH") == "1"
HERE = Path(__file__).parent
# Tests that die, or fail, at every point of a verb → of a file, the parameter for which they run each time.
OFTEN_INTERRUPTED = {
    "test_dying_at_any_point_can_be_repeated": {"test_lvm.py": "create", "test_lvm_thin.py": "delete"},
    "test_an_interrupted_close_can_be_repeated": {"test_lvm.py": "Death", "test_lvm_thin.py": "BrickError"},
    "test_an_error_or_a_lost_reply_at_any_point_can_be_repeated": {},
    "test_being_killed_at_any_moment_can_be_repeated": {},
}
ADOPTING_EACH_TIME = (
    "test_what_is_given_up_stays_and_may_be_adopted_again[True]",
    "test_strangers_are_seen_with_any_name",
)
DISK_BYTES = 1024 * 1024 * 1024
REMOTE = pytest.StashKey[Remote]()


def _runs_here() -> bool:
    return IN_GUEST or (os.geteuid() == 0 and "device-mapper" in Path("/proc/misc").read_text())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Guests take all processors there are, so what runs in them comes first, in whatever order the rest is."""
    ours = [item for item in items if _is_ours(item)]
    late = [] if THOROUGH else [item for item in ours if _is_thorough(item)]
    kept = [item for item in ours if item not in late]
    items[:] = kept + [item for item in items if not _is_ours(item)]
    if THOROUGH:  # at every point of a verb it takes as long as it takes
        for item in kept:
            item.add_marker(pytest.mark.timeout(0))
    if late:
        config.hook.pytest_deselected(items=late)


def _is_ours(item: pytest.Item) -> bool:
    """Tests elsewhere may boot a guest too, but they run where they are: hooks of a conftest see every item."""
    return HERE in item.path.parents and item.get_closest_marker("guest") is not None


def pytest_collection_finish(session: pytest.Session) -> None:
    """Only now is it known what `-k` and `-m` leave."""
    ours = [item for item in session.items if _is_ours(item)]
    if _runs_here() or not ours:
        return
    for item in ours:
        item.add_marker(pytest.mark.timeout(0))  # the guest has limits of its own; the first item waits for its boot
    session.config.stash[REMOTE] = Remote(session.config, ours)


def _is_thorough(item: pytest.Item) -> bool:
    """What takes minutes: marked so, or the failing and dying of a contract, but for one parameter of each."""
    if item.get_closest_marker("thorough") is not None:
        return True
    name, _, rest = item.name.partition("[")
    if name in OFTEN_INTERRUPTED:
        each_time = OFTEN_INTERRUPTED[name].get(item.path.name)
        return each_time is None or each_time not in rest.rstrip("]").split("-")
    return hasattr(AdoptionContract, name) and item.name not in ADOPTING_EACH_TIME


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    remote = item.config.stash.get(REMOTE, None)
    if remote is None or not _is_ours(item):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    if os.geteuid() == 0 and shutil.which("qemu-system-x86_64"):
        reports = remote.of(item.nodeid)
    else:
        reports = [_skipped(item)]
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    remote = config.stash.get(REMOTE, None)
    if remote is not None and remote.notes:
        terminalreporter.section("guests")
        for note in remote.notes:
            terminalreporter.line(note)


def pytest_unconfigure(config: pytest.Config) -> None:
    if remote := config.stash.get(REMOTE, None):
        remote.stop()


def _skipped(item: pytest.Item) -> pytest.TestReport:
    why = (str(item.path), 0, "Skipped: no guest here: it takes root and qemu-system-x86")
    return pytest.TestReport(item.nodeid, item.location, {}, "skipped", why, "setup")


@pytest.fixture
def disks() -> Iterator[Callable[[int], list[str]]]:
    """So many empty disks, as paths: the guest's, or loop devices on a machine with device-mapper of its own."""
    taken: list[str] = []
    directory = Path("/tmp", f"brickyard-disks-{os.getpid()}")

    def take(number: int) -> list[str]:
        if IN_GUEST:
            kind = "vd" if os.path.exists("/dev/vdb") else "ubd"  # of QEMU, or of a user mode kernel
            found = [f"/dev/{kind}{letter}" for letter in "bcdefghi"[:number]]
        else:
            directory.mkdir(exist_ok=True)
            found = [_loop(directory / f"disk{n}") for n in range(number)]
        taken.extend(found)
        for path in found:
            _empty(path)
        return found

    yield take
    for path in taken:
        _empty(path)
        if not IN_GUEST:
            subprocess.run(["losetup", "-d", path], check=True)
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def take(disks: Callable[[int], list[str]]) -> Iterator[Callable[[int], list[str]]]:
    """Empty disks; whatever lies mapped over them afterwards is taken down first."""
    yield disks
    for command in (["dmsetup", "remove_all", "--force", "--retry"], ["udevadm", "settle"]):
        subprocess.run(command, check=True, capture_output=True)


def _loop(path: Path) -> str:
    with open(path, "wb") as file:
        file.truncate(DISK_BYTES)
    command = ["losetup", "--find", "--show", "--partscan", str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _empty(path: str) -> None:
    """Nothing of an earlier test: partitions forgotten, every byte zero."""
    subprocess.run(["partx", "-d", path], check=False, capture_output=True)
    # What a disk of a user mode kernel discards is a hole in a file; it knows no other way that takes no time.
    how = [] if path.startswith("/dev/ubd") else ["-z"]
    subprocess.run(["blkdiscard", "-f", *how, path], check=True, capture_output=True)
    subprocess.run(["udevadm", "settle"], check=True)
