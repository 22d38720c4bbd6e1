"""Volume groups for tests: one per pool directory, on a file in memory behind a loop device.

A pool can so be copied, which the tests of dying need. The copies have the same uuids, and the kernel knows a volume by
the name of its group; so at any time only one of them is active, the one that a driver was last asked for.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract import deaths
from tests.contract.adoption import AdoptionContract
from tests.contract.content import MIB, SIZE, fill, holds, snapshot_of, volume
from tests.contract.keeping import KeepingContract
from tests.contract.suite import DriverContract

from brickyard.brick import faults, steps
from brickyard.brick.guard import Guard
from brickyard.brick.lvm import command, groups, queue
from brickyard.brick.lvm.thick import ThickDriver
from brickyard.brick.lvm.thin import ThinDriver
from brickyard.core import errors

GROUP = "contract"
DISK_BYTES = 640 * 1024 * 1024
# Each point of each verb is half a minute in an emulated guest, so that a run takes some of them, others each time.
# "all" takes them all; see docs/crash-consistency.md.
POINTS = os.environ.get("BRICKYARD_POINTS", "1")
KILLS = int(os.environ.get("BRICKYARD_KILLS", "12"))
ROOM = tempfile.TemporaryDirectory(prefix="brickyard-new-", dir="/dev/shm")
NEW: dict[tuple[bool, bool, bool], Path] = {}  # raid1, thin, clean → the disks of such a group when it is new


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def lvm(device: str, *command: str) -> str:
    return run("lvm", command[0], "--devices", device, *command[1:])


def loop(file: Path, size_bytes: int = DISK_BYTES) -> str:
    """The loop device of a file, made and attached if it is not yet."""
    if not file.exists():
        with open(file, "wb") as made:
            made.truncate(size_bytes)
    attached = run("losetup", "-j", str(file), "-n", "-O", "NAME")
    return attached.splitlines()[0].strip() if attached else run("losetup", "--find", "--show", str(file))


def mapped(group: str = GROUP) -> list[str]:
    """The devices that the kernel maps for a group, its thin pool aside."""
    names = run("dmsetup", "info", "-c", "--noheadings", "-o", "name").splitlines()
    return [name for name in names if name.startswith(f"{group}-") and f"-{group}--pool" not in name]


class LvmContract(DriverContract, AdoptionContract, KeepingContract):
    thin = False
    clean = False
    raid1 = False
    rounds = KILLS
    killed_within_s = 12.0
    active: Path | None = None

    @pytest.fixture
    def pool(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="brickyard-lvm-", dir="/dev/shm") as directory:
            self.active = None
            try:
                yield Path(directory)
            finally:
                for file in Path(directory).glob("**/disk*"):
                    self._release(file.parent)

    def make(self, pool: Path) -> Any:
        if pool != self.active:
            self._sleep(self.active)
            if not (pool / "disk0").exists():
                self._begin(pool)
            self.active = pool
        devices = self._devices(pool)
        if self.thin:
            return ThinDriver(GROUP, f"{GROUP}-pool", devices=devices, raid1=self.raid1)
        return ThickDriver(GROUP, devices=devices, raid1=self.raid1)

    def _begin(self, pool: Path) -> None:
        """A group without bricks. It is made once for each kind and then copied: a dozen of LVM's commands less."""
        kind = (self.raid1, self.thin, self.clean)
        if kind not in NEW:
            groups.create(GROUP, self._devices(pool), raid1=self.raid1, thin=self.thin, clean=self.clean)
            self.active, new = pool, Path(ROOM.name, f"new-{len(NEW)}")
            self.duplicate(pool, new)
            NEW[kind] = new
        else:
            for file in NEW[kind].glob("disk*"):
                steps.copy(str(file), str(pool / file.name), share=False)

    def _devices(self, pool: Path) -> list[str]:
        return [loop(pool / f"disk{number}") for number in range(2 if self.raid1 else 1)]

    def _sleep(self, pool: Path | None) -> None:
        """Nothing of this group is active, and everything is on its disk."""
        if pool is None or not (pool / "disk0").exists():
            return
        devices = self._devices(pool)
        if found := groups.find(GROUP, devices=devices):
            lvm(",".join(devices), "vgchange", "-an", GROUP)
            shutil.rmtree(Path(queue.RUN, "lvm", found[0]), ignore_errors=True)
        self.active = None

    def _release(self, pool: Path) -> None:
        self._sleep(pool)
        devices = self._devices(pool)
        run("udevadm", "settle")  # who still looks at a device would keep it attached
        for device in devices:
            run("losetup", "-d", device)

    def strange(self, pool: Path, name: str) -> None:
        self.make(pool)
        devices = ",".join(self._devices(pool))
        size = ("-V", f"{SIZE}b", "--thinpool", f"{GROUP}-pool") if self.thin else ("-L", f"{SIZE}b")
        lvm(devices, "lvcreate", "-y", *size, "-n", name, GROUP)
        path = Path(f"/dev/{GROUP}/{name}")
        with path.open("r+b") as device:
            device.write(b"\3" * MIB + bytes(SIZE - MIB))
        lvm(devices, "lvchange", "-an", f"{GROUP}/{name}")

    def test_what_is_in_use_is_not_reverted(self, driver: Guard) -> None:
        label = volume()
        snapshot = snapshot_of(label)
        driver.create(label, SIZE)
        driver.snapshot(label.name, snapshot)
        fill(driver, label.name, 2)
        with (
            open(driver.open(label.name).path, "rb"),
            pytest.raises(command.InUse, match="stop what has it open"),
        ):
            driver.revert(label.name, snapshot.name)
        assert holds(driver, label.name, 2)
        with open(driver.open(snapshot.name).path, "rb"):
            driver.revert(label.name, snapshot.name)
        assert holds(driver, label.name, 0)

    def duplicate(self, pool: Path, copy: Path) -> None:
        self._sleep(self.active)
        copy.mkdir()
        for file in pool.glob("disk*"):
            steps.sync(str(file))
            run("blockdev", "--flushbufs", loop(file))
            steps.copy(str(file), str(copy / file.name), share=False)

    def forget(self, pool: Path) -> None:
        self._sleep(self.active)
        self._release(pool)
        shutil.rmtree(pool)

    def leftovers(self, pool: Path) -> list[str]:
        self.make(pool)
        names = lvm(",".join(self._devices(pool)), "lvs", "--noheadings", "-o", "lv_name", GROUP).split()
        return [*(name for name in names if name != f"{GROUP}-pool"), *mapped()]

    def _interrupted(self, verb: deaths.Verb, ready: Path, image: Path, error: type[BaseException]) -> Any:
        """As with files, at points chosen by chance."""
        for at in self._points(verb, ready, image):
            pool = ready.parent / f"at-{at}"
            self.duplicate(ready, pool)
            hook = deaths.Hook(at, error)
            driver = self.guarded(pool)
            with faults.installed(hook):
                try:
                    verb.act(driver, image)
                except error:
                    pass
                else:
                    pytest.fail(f"an error at point {at} was swallowed")
            yield pool, driver
            self.forget(pool)

    def _points(self, verb: deaths.Verb, ready: Path, image: Path) -> list[int]:
        pool = ready.parent / "counted"
        self.duplicate(ready, pool)
        hook = deaths.Hook(0, errors.BrickError)  # which never raises, and counts
        driver: Guard = self.guarded(pool)
        with faults.installed(hook):
            verb.act(driver, image)
        self.forget(pool)
        every = list(range(1, hook.points + 1))
        assert len(every) > 2
        return every if POINTS == "all" else sorted(random.sample(every, min(int(POINTS), len(every))))
