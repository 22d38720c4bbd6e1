"""The promises about failing and dying: at every point of every verb, and at moments chosen by chance.

A point is one act of a driver: a command, a rename, an fsync. The tests do not know the points; they fail the first,
then the second, until a verb runs to its end.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import random
import select
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from brickyard.brick import faults, steps
from brickyard.brick.guard import Guard
from brickyard.core import errors
from brickyard.core.bricks import Did, Label

from .content import SIZE, fill, holds, snapshot_of, volume

POINTS_MAX = 200
ROUNDS = 40
SOURCE, TARGET = volume(), volume()
SNAPSHOT, OTHER = snapshot_of(SOURCE), snapshot_of(TARGET)
GIVEN = dataclasses.replace(SOURCE, project="another")
ALL = (SOURCE, TARGET, SNAPSHOT, OTHER)


class Death(BaseException):
    """The process is dead from here on: nothing that it would still do may happen."""


class NoRoom(OSError):
    """What the kernel says when the disk is full."""

    def __init__(self, message: str) -> None:
        super().__init__(errno.ENOSPC, message)


@dataclass
class Hook:
    """Raise at the point number `at`; the dead raise at every later point as well."""

    at: int
    error: type[BaseException]
    points: int = 0

    def __call__(self, name: str) -> None:
        self.points += 1
        if self.points == self.at or (self.error is Death and self.points > self.at):
            raise self.error(f"point {self.points}: {name}")


@dataclass(frozen=True)
class Verb:
    act: Callable[[Guard, Path], Did]
    is_done: Callable[[Guard], bool]
    repeated: Did = Did.ALREADY
    needs: str = ""  # the capability of the driver that offers it


def needs(*capabilities: str) -> Callable[[Any], Any]:
    """A promise of drivers with these capabilities only; for others it is skipped."""

    def mark(test: Any) -> Any:
        test.needs = capabilities
        return test

    return mark


def offers(driver: Guard, capability: str) -> bool:
    return not capability or bool(getattr(driver.capabilities, capability))


def _size_is(driver: Guard, label: Label, size_bytes: int) -> bool:
    return driver.open(label.name).size_bytes == size_bytes


VERBS = {
    "create": Verb(
        lambda d, _: d.create(TARGET, SIZE),
        lambda d: _size_is(d, TARGET, SIZE) and holds(d, TARGET.name, 0),
    ),
    "delete": Verb(lambda d, _: d.delete(SOURCE.name), lambda d: d.find(SOURCE.name) is None),
    "grow": Verb(
        lambda d, _: d.grow(SOURCE.name, 2 * SIZE),
        lambda d: _size_is(d, SOURCE, 2 * SIZE) and holds(d, SOURCE.name, 2) and holds(d, SOURCE.name, 0, SIZE, SIZE),
    ),
    "relabel": Verb(
        lambda d, _: d.relabel(GIVEN),
        lambda d: (
            [found.label for found in d.list() if found.name == SOURCE.name] == [GIVEN] and holds(d, SOURCE.name, 2)
        ),
    ),
    "snapshot": Verb(
        lambda d, _: d.snapshot(SOURCE.name, snapshot_of_source),
        lambda d: holds(d, snapshot_of_source.name, 2),
        needs="snapshots",
    ),
    "clone": Verb(
        lambda d, _: d.clone(SOURCE.name, TARGET, 2 * SIZE),
        lambda d: _size_is(d, TARGET, 2 * SIZE) and holds(d, TARGET.name, 2),
        needs="clones",
    ),
    "revert": Verb(
        lambda d, _: d.revert(SOURCE.name, SNAPSHOT.name),
        lambda d: holds(d, SOURCE.name, 1) and holds(d, SNAPSHOT.name, 1),
        repeated=Did.CHANGED,
        needs="revert",
    ),
    "import": Verb(
        lambda d, image: d.import_image(TARGET, str(image), "qcow2", SIZE),
        lambda d: _size_is(d, TARGET, SIZE) and holds(d, TARGET.name, 0x11),
        needs="imports",
    ),
}
snapshot_of_source = snapshot_of(SOURCE)


class DeathContract:
    rounds = ROUNDS
    stride = 1  # from one point at which a verb is interrupted to the next
    killed_within_s = 0.12  # about as long as the verbs of a worker take

    def make(self, pool: Path) -> Any:
        raise NotImplementedError

    def duplicate(self, pool: Path, copy: Path) -> None:
        """A pool with the same bricks and leftovers, so that each point starts from the same state."""
        copy.mkdir()
        for entry in os.scandir(pool):
            steps.copy(entry.path, str(copy / entry.name), share=True)

    def forget(self, pool: Path) -> None:
        shutil.rmtree(pool)

    def leftovers(self, pool: Path) -> list[str]:
        """What lies in the pool, the one lock file aside, and in directories of it as well."""
        return [str(path.relative_to(pool)) for path in pool.rglob("*") if path != pool / ".lock"]

    def guarded(self, pool: Path) -> Guard:
        return Guard(self.make(pool), "under test")

    @pytest.fixture(autouse=True)
    def _offered(self, request: pytest.FixtureRequest, pool: Path) -> None:
        """Skip what the driver says that it cannot do."""
        wanted = list(getattr(request.function, "needs", ()))
        if "verb" in request.node.fixturenames:
            wanted.append(VERBS[request.node.callspec.params["verb"]].needs)
        if missing := [one for one in wanted if one and not offers(self.guarded(pool), one)]:
            pytest.skip(f"the driver does not offer {' and '.join(missing)}")

    @pytest.fixture
    def ready(self, pool: Path) -> Path:
        """A pool with a volume whose snapshot holds ones and that holds twos itself."""
        ready = pool / "ready"
        ready.mkdir()
        driver = self.guarded(ready)
        driver.create(SOURCE, SIZE)
        fill(driver, SOURCE.name, 1)
        if offers(driver, "snapshots"):
            driver.snapshot(SOURCE.name, SNAPSHOT)
        fill(driver, SOURCE.name, 2)
        return ready

    @pytest.fixture
    def image(self, tmp_path: Path) -> Path:
        image = tmp_path / "image"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "4M"], check=True)
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -q -P 17 0 1M", image], check=True)
        return image

    def _interrupted(
        self, verb: Verb, ready: Path, image: Path, error: type[BaseException]
    ) -> Iterator[tuple[Path, Guard]]:
        """A pool for every point of the verb, interrupted there; or for one of so many, other ones each time."""
        stride = 1 if os.environ.get("BRICKYARD_POINTS") == "all" else self.stride
        for at in range(random.randint(1, stride), POINTS_MAX, stride):
            pool = ready.parent / f"at-{at}"
            self.duplicate(ready, pool)
            hook = Hook(at, error)
            driver = self.guarded(pool)
            with faults.installed(hook):
                try:
                    verb.act(driver, image)
                except error:
                    pass
                else:
                    assert hook.points < at, "an error was swallowed"
                    assert at > 2, "no point was passed"
                    return
            yield pool, driver
            self.forget(pool)
        pytest.fail(f"more than {POINTS_MAX} points")

    def _check_order(self, driver: Guard) -> None:
        """Everything that is listed is whole and says whose it is."""
        for found in driver.list():
            assert found.label is not None
            assert found.label.name == found.name
            if found.wiping:
                continue  # deleted for everybody but the repeat of the delete
            assert driver.open(found.name).size_bytes in (SIZE, 2 * SIZE)

    def _check_finish(self, verb: Verb, driver: Guard, pool: Path, image: Path) -> None:
        """The repeat brings everything in order, and delete leaves nothing."""
        verb.act(driver, image)
        assert verb.is_done(driver)
        assert verb.act(driver, image) is verb.repeated
        self._check_order(driver)
        self._check_delete(driver, pool)

    def _check_delete(self, driver: Guard, pool: Path) -> None:
        for label in (*ALL, snapshot_of_source):
            driver.delete(label.name)
        assert list(driver.list()) == []
        assert self.leftovers(pool) == []

    @pytest.mark.parametrize("verb", VERBS)
    def test_dying_at_any_point_can_be_repeated(self, ready: Path, image: Path, verb: str) -> None:
        for pool, _ in self._interrupted(VERBS[verb], ready, image, Death):
            self._check_order(self.guarded(pool))
            twin = pool.parent / "twin"
            self.duplicate(pool, twin)
            self._check_delete(self.guarded(twin), twin)
            self.forget(twin)
            self._check_finish(VERBS[verb], self.guarded(pool), pool, image)

    @pytest.mark.parametrize("verb", VERBS)
    def test_an_error_or_a_lost_reply_at_any_point_can_be_repeated(self, ready: Path, image: Path, verb: str) -> None:
        for pool, driver in self._interrupted(VERBS[verb], ready, image, errors.BrickError):
            self._check_order(driver)
            if verb != "delete":  # the undo has run
                assert not [name for name in self.leftovers(pool) if name.endswith((".tmp", ".spare"))]
            self._check_finish(VERBS[verb], driver, pool, image)

    @pytest.mark.parametrize("error", [Death, errors.BrickError])
    def test_an_interrupted_close_can_be_repeated(self, ready: Path, error: type[BaseException]) -> None:
        """Dead, or failed, at any point that it has; most drivers have nothing to do there, and no point."""
        for at in range(1, POINTS_MAX):
            pool = ready.parent / f"closing-{at}"
            self.duplicate(ready, pool)
            driver, hook = self.guarded(pool), Hook(at, error)
            driver.open(SOURCE.name)
            interrupted = False
            with faults.installed(hook):
                try:
                    driver.close(SOURCE.name)
                except error:
                    interrupted = True
            assert interrupted or hook.points < at, "an error was swallowed"
            again = self.guarded(pool)
            again.close(SOURCE.name)
            assert again.close(SOURCE.name) is Did.ALREADY
            assert holds(again, SOURCE.name, 2)
            again.close(SOURCE.name)
            self._check_delete(again, pool)
            self.forget(pool)
            if not interrupted:
                return
        pytest.fail(f"more than {POINTS_MAX} points")

    def test_a_full_pool_is_told_as_such(self, ready: Path, image: Path) -> None:
        for verb in VERBS.values():
            if not offers(self.guarded(ready), verb.needs):
                continue
            full = Hook(1, NoRoom)
            with faults.installed(full), pytest.raises(errors.NoSpace):
                verb.act(self.guarded(ready), image)

    def test_being_killed_at_any_moment_can_be_repeated(self, ready: Path, image: Path) -> None:
        """SIGKILL to a process in the middle of its verbs; its commands may live on for a moment."""
        chance = random.Random(image.as_posix())
        for _ in range(self.rounds):
            self._kill_a_worker(ready, image, chance.uniform(0.0, self.killed_within_s))
            driver = self.guarded(ready)
            names = {found.name for found in driver.list() if not found.wiping}
            self._check_order(driver)
            assert SOURCE.name in names
            assert holds(driver, SOURCE.name, 2)
            if offers(driver, "snapshots"):
                assert SNAPSHOT.name in names
                assert holds(driver, SNAPSHOT.name, 1)
            contents = (2, 0x11) if offers(driver, "clones") else (0, 0x11)
            assert TARGET.name not in names or any(holds(driver, TARGET.name, byte) for byte in contents)
        for round_ in range(2):
            driver.delete(TARGET.name)
            assert self._make_target(driver) is Did.CHANGED, round_
            assert holds(driver, TARGET.name, contents[0])
        self._check_delete(driver, ready)

    def _make_target(self, driver: Guard) -> Did:
        if offers(driver, "clones"):
            return driver.clone(SOURCE.name, TARGET, SIZE)
        return driver.create(TARGET, SIZE)

    def _kill_a_worker(self, pool: Path, image: Path, after_s: float) -> None:
        child = os.fork()
        if child == 0:
            try:
                driver = self.guarded(pool)
                while True:
                    driver.delete(OTHER.name)
                    driver.delete(TARGET.name)
                    self._make_target(driver)
                    driver.grow(TARGET.name, 2 * SIZE)
                    if offers(driver, "snapshots"):
                        driver.snapshot(TARGET.name, OTHER)
                    driver.delete(TARGET.name)
                    if offers(driver, "imports"):
                        driver.import_image(TARGET, str(image), "qcow2", SIZE)
            finally:
                os._exit(1)
        select.select([], [], [], after_s)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the worker ended by itself: a verb failed"
