"""The promises about one brick that two work on at the same time: what comes out is what one after the other gives.

The second begins when the first is at a point in the middle of its verb (see `deaths`), and not by chance. Whether it
waits for the first or overtakes it is the driver's business.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from brickyard.brick import faults
from brickyard.brick.guard import Guard
from brickyard.core import errors
from brickyard.core.bricks import Did, Kind, Label

from .content import SIZE, fill, holds, volume
from .deaths import needs

POINTS = (1, 2, 5)  # of the first verb, at which the second begins
PATIENCE_S = 60


def beside(first: Callable[[], Did], second: Callable[[], Did], at: int) -> tuple[Did | Exception, Did | Exception]:
    """What the two gave; the second was started at the point number `at` of the first, or after its end."""
    begun, first_thread, passed = threading.Event(), threading.local(), 0

    def hook(name: str) -> None:
        nonlocal passed
        if getattr(first_thread, "is_it", False):
            passed += 1
            if passed == at:
                begun.set()

    def run_first() -> Did:
        first_thread.is_it = True
        try:
            return first()
        finally:
            begun.set()

    def run_second() -> Did:
        assert begun.wait(PATIENCE_S)
        return second()

    with faults.installed(hook), ThreadPoolExecutor(2) as threads:
        futures = threads.submit(run_first), threads.submit(run_second)
        return _outcome(futures[0]), _outcome(futures[1])


def _outcome(future: Future[Did]) -> Did | Exception:
    error = future.exception()
    assert error is None or isinstance(error, errors.BrickyardError), repr(error)
    return error or future.result()


class CompanyContract:
    def guarded(self, pool: Path) -> Guard:
        raise NotImplementedError

    def leftovers(self, pool: Path) -> list[str]:
        raise NotImplementedError

    @pytest.mark.parametrize("at", POINTS)
    def test_one_id_that_is_created_twice_at_once_is_one_brick(self, pool: Path, at: int) -> None:
        driver, label = self.guarded(pool), volume()
        did = beside(lambda: driver.create(label, SIZE), lambda: self.guarded(pool).create(label, SIZE), at)
        assert sorted(map(str, did)) == [Did.ALREADY, Did.CHANGED]
        assert [found.name for found in driver.list()] == [label.name]
        assert holds(driver, label.name, 0, 0, SIZE)

    @pytest.mark.parametrize("at", POINTS)
    def test_one_id_that_two_owners_create_at_once_is_the_brick_of_one(self, pool: Path, at: int) -> None:
        driver, label = self.guarded(pool), volume()
        other = Label(Kind.VOLUME, label.id, "another")
        did = beside(lambda: driver.create(label, SIZE), lambda: self.guarded(pool).create(other, 2 * SIZE), at)
        won = (label, SIZE) if did[0] is Did.CHANGED else (other, 2 * SIZE)
        assert Did.CHANGED in did
        assert any(isinstance(one, errors.BrickMismatch) for one in did), did
        [found] = driver.list()
        assert (found.label, found.size_bytes) == won

    @pytest.mark.parametrize("at", POINTS)
    def test_one_brick_that_is_deleted_twice_at_once_is_gone_once(self, pool: Path, at: int) -> None:
        driver, label, neighbour = self.guarded(pool), volume(), volume()
        for one in (label, neighbour):
            driver.create(one, SIZE)
            fill(driver, one.name, 6)
        driver.close(label.name)
        did = beside(lambda: driver.delete(label.name), lambda: self.guarded(pool).delete(label.name), at)
        assert sorted(map(str, did)) == [Did.ALREADY, Did.CHANGED]
        assert [found.name for found in driver.list()] == [neighbour.name]
        assert holds(driver, neighbour.name, 6)
        driver.close(neighbour.name)
        driver.delete(neighbour.name)
        assert self.leftovers(pool) == []

    @needs("clones")
    @pytest.mark.parametrize("at", POINTS)
    def test_a_source_that_is_deleted_while_it_is_cloned_gives_a_whole_clone_or_none(self, pool: Path, at: int) -> None:
        driver, source, clone = self.guarded(pool), volume(), volume()
        driver.create(source, SIZE)
        fill(driver, source.name, 7, 0, SIZE)
        driver.close(source.name)
        made, deleted = beside(
            lambda: driver.clone(source.name, clone, SIZE), lambda: self.guarded(pool).delete(source.name), at
        )
        assert deleted is Did.CHANGED, deleted
        assert driver.find(source.name) is None
        if made is Did.CHANGED:
            assert holds(driver, clone.name, 7, 0, SIZE)
        else:
            assert isinstance(made, errors.NotFound), made
            assert driver.find(clone.name) is None
        driver.close(clone.name)
        driver.delete(clone.name)
        assert self.leftovers(pool) == []
