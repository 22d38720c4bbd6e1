"""kill -9 to a process in the middle of its verbs, at moments chosen by chance. Its commands may live on.

A test takes a few rounds; BRICKYARD_ROUNDS says how many, and BRICKYARD_SEED repeats a run (docs/crash-consistency.md).
"""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import subprocess
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from brickyard import brick
from brickyard.brick.guard import Guard
from brickyard.brick.lvm import groups
from brickyard.core import clock
from brickyard.core.bricks import Did, Label

from . import crashing
from .crashing import LARGER, SIZE, Brick

pytestmark = pytest.mark.guest
GROUP = "kills"
WORKER = "BRICKYARD_WORKER"  # in the environment of a worker and of all that it starts
WAIT_S = 120.0  # for commands of a killed worker
ROUNDS = os.environ.get("BRICKYARD_ROUNDS")  # read now: while a test runs, nothing of ours is in the environment


def rounds(usual: int) -> int:
    return int(ROUNDS or usual)


# the world of one pool -------------------------------------------------------------------------------------------


class Pool:
    """A volume with twos, its snapshot with ones, and whatever a worker was doing when it was killed."""

    def __init__(self, make: Callable[[], Guard], left: Callable[[], list[str]]) -> None:
        self.make, self.left = make, left
        self.source, self.target = crashing.volume(), crashing.volume()
        self.kept, self.other = crashing.snapshot_of(self.source), crashing.snapshot_of(self.target)
        driver = make()
        driver.check()
        driver.create(self.source, SIZE)
        crashing.fill(driver, self.source.name, 1)
        driver.snapshot(self.source.name, self.kept)
        crashing.fill(driver, self.source.name, 2)
        began = clock.monotonic()
        self.turn(driver, copied=True)
        self.lasts_s = clock.monotonic() - began

    def work(self, driver: Guard, chance: random.Random) -> None:
        """Verbs without an end, each as a flow would call it: whatever is there of it, it is called again."""
        while True:
            self.turn(driver, copied=chance.random() < 0.5)

    def turn(self, driver: Guard, *, copied: bool) -> None:
        source, target, other = self.source.name, self.target, self.other
        driver.delete(other.name)
        driver.delete(target.name)
        if copied:
            driver.clone(source, target, SIZE)
        else:
            driver.create(target, LARGER)
        driver.snapshot(target.name, other)
        driver.grow(target.name, LARGER)
        driver.revert(target.name, other.name)
        driver.revert(source, self.kept.name)
        driver.open(source)
        driver.close(source)

    def kill_one(self, chance: random.Random) -> None:
        """A worker, until its moment has come: some time in its first turn, or just after."""
        child = os.fork()
        if child == 0:
            os.environ[WORKER] = "1"
            try:
                self.work(self.make(), chance)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        select.select([], [], [], chance.uniform(0.0, 1.1 * self.lasts_s))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the worker ended by itself: a verb failed"

    def check_order(self) -> None:
        """At once, while commands of the dead may still run: what is listed is whole."""
        listed = {found.name: found for found in self.make().list()}
        for found in listed.values():
            assert found.label is not None and found.label.name == found.name
            assert found.size_bytes in (SIZE, LARGER)
        assert {self.source.name, self.kept.name} <= set(listed) <= {label.name for label in self.all()}

    def check_content(self) -> None:
        """Of all that is there, and that each verb can be repeated."""
        driver = self.make()
        assert Brick(self.kept, SIZE, 1).is_held_by(crashing.content(driver, self.kept.name))
        held = crashing.content(driver, self.source.name)
        assert any(Brick(self.source, SIZE, byte).is_held_by(held) for byte in (1, 2)), held[:8]
        for label in (self.target, self.other):
            found = driver.find(label.name)
            if found is not None and not found.wiping:
                held = crashing.content(driver, label.name)
                assert any(Brick(label, SIZE, byte).is_held_by(held) for byte in (0, 1, 2)), held[:8]

    def check_repeat(self) -> None:
        driver = self.make()
        for label in (self.other, self.target):
            driver.delete(label.name)
            assert driver.find(label.name) is None
        assert driver.clone(self.source.name, self.target, LARGER) is Did.CHANGED
        assert driver.clone(self.source.name, self.target, LARGER) is Did.ALREADY
        assert driver.delete(self.target.name) is Did.CHANGED
        for name in driver.leftovers():  # of a verb on the source, which nobody repeats here
            assert name in (self.source.name, self.kept.name)
            driver.tidy(name)
        assert driver.leftovers() == {}
        assert {found.name for found in driver.list()} == {self.source.name, self.kept.name}

    def check_end(self) -> None:
        driver = self.make()
        for label in self.all():
            driver.delete(label.name)
        assert list(driver.list()) == []
        assert self.left() == []

    def all(self) -> tuple[Label, ...]:
        return self.source, self.target, self.kept, self.other


def survivors() -> list[str]:
    """Commands of a worker that still run, once they had time to end."""
    deadline = clock.monotonic() + WAIT_S
    while (found := _marked()) and clock.monotonic() < deadline:
        select.select([], [], [], 0.1)
    return found


def _marked() -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{WORKER}=1".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def loops() -> list[str]:
    return crashing.run("losetup", "-n", "-O", "NAME").split()


def kill_rounds(pools: list[Pool], number: int, *, content_every: int, repeat_every: int) -> None:
    before = loops()
    chance, began = random.Random(crashing.SEED), clock.monotonic()
    print(f"{number} rounds, BRICKYARD_SEED={crashing.SEED}", flush=True)
    for round_ in range(1, number + 1):
        pool = pools[round_ % len(pools)]
        pool.kill_one(chance)
        pool.check_order()
        turn = round_ // len(pools)
        if turn % content_every == 0:
            pool.check_content()
        if turn % repeat_every == 0:
            pool.check_repeat()
        if round_ % 20 == 0:
            assert survivors() == []
            print(f"round {round_}", flush=True)
    assert survivors() == []
    for pool in pools:
        pool.check_content()
        pool.check_repeat()
        pool.check_end()
    assert loops() == before
    print(f"{number} rounds in {clock.monotonic() - began:.0f} s", flush=True)


# files -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def xfs(disks: Callable[[int], list[str]]) -> Iterator[Path]:
    [disk] = disks(1)
    point = Path(f"/tmp/brickyard-kills-{os.getpid()}")
    point.mkdir()
    try:
        crashing.run("mkfs.xfs", "-q", disk)
        crashing.run("mount", disk, str(point))
        yield point
    finally:
        subprocess.run(["umount", str(point)], check=False)
        point.rmdir()


@pytest.mark.timeout(3000)
def test_a_killed_process_leaves_files_in_order(xfs: Path) -> None:
    def pool(driver: str) -> Pool:
        path = xfs / driver

        def left() -> list[str]:
            return [name for name in os.listdir(path) if name != ".lock"]

        return Pool(lambda: brick.load(driver, {"path": str(path)}), left)

    pools = [pool(driver) for driver in ("raw", "qcow2", "vdi")]
    kill_rounds(pools, rounds(30), content_every=4, repeat_every=7)


# logical volumes -------------------------------------------------------------------------------------------------


def mapped(group: str) -> list[str]:
    names = crashing.run("dmsetup", "info", "-c", "--noheadings", "-o", "name").split()
    return [name for name in names if name.startswith(f"{group}-") and "pool" not in name]


@pytest.mark.thorough
@pytest.mark.timeout(3000)
def test_a_killed_process_leaves_volume_groups_in_order(disks: Callable[[int], list[str]]) -> None:
    def pool(driver: str, disk: str) -> Pool:
        group = f"{GROUP}-{driver}".replace("-", "_")
        part = f"brickyard-kills-{driver}"
        device = f"/dev/mapper/{part}"
        crashing.run("dmsetup", "create", part, "--table", f"0 {256 * 2048} linear {disk} 0")
        parts.append((part, group))
        groups.create(group, [device], thin=driver == "lvm-thin")

        def left() -> list[str]:
            rows = crashing.run("lvm", "lvs", "--noheadings", "-o", "lv_name", "--devices", os.path.realpath(device), group)  # fmt: skip # noqa: E501
            return [name for name in rows.split() if name != f"{group}-pool"] + mapped(group)

        return Pool(lambda: brick.load(driver, {"volume_group": group, "devices": device}), left)

    parts: list[tuple[str, str]] = []
    try:
        found = disks(2)
        pools = [pool(driver, found[number]) for number, driver in enumerate(("lvm", "lvm-thin"))]
        kill_rounds(pools, rounds(4), content_every=2, repeat_every=3)
    finally:
        for part, group in parts:
            device = os.path.realpath(f"/dev/mapper/{part}")
            subprocess.run(["lvm", "vgchange", "-an", "--devices", device, group], check=False, capture_output=True)
            subprocess.run(["dmsetup", "remove", "--retry", part], check=False, capture_output=True)
        shutil.rmtree("/run/brickyard", ignore_errors=True)
