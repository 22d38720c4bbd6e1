"""What drivers promise that adopt: a brick that nobody owns becomes ours without a copy, once, whatever dies.

A driver's test file mixes `AdoptionContract` in beside the suite, and says how something strange comes into its pool.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from brickyard.brick import faults
from brickyard.brick.guard import Guard
from brickyard.core import errors
from brickyard.core.bricks import Did, Kind, Label, name_of

from .content import SIZE, fill, holds, volume
from .deaths import POINTS_MAX, Death, Hook


class AdoptionContract:
    def make(self, pool: Path) -> Any:
        raise NotImplementedError

    def duplicate(self, pool: Path, copy: Path) -> None:
        raise NotImplementedError

    def forget(self, pool: Path) -> None:
        raise NotImplementedError

    def strange(self, pool: Path, name: str) -> None:
        """Put something of SIZE bytes without a label into the pool, with threes in its first MiB."""
        raise NotImplementedError

    @pytest.mark.parametrize("renamed", [False, True])
    def test_what_has_no_label_is_adopted_with_its_content(self, driver: Guard, pool: Path, renamed: bool) -> None:
        label = volume()
        name = "disk-of-old" if renamed else label.name
        self.strange(pool, name)
        assert driver.adopt(name, label) is Did.CHANGED
        assert driver.adopt(name, label) is Did.ALREADY
        found = driver.find(label.name)
        assert found is not None
        assert (found.label, found.size_bytes) == (label, SIZE)
        assert [one.name for one in driver.list()] == [label.name]
        assert holds(driver, label.name, 3)
        driver.grow(label.name, 2 * SIZE)
        assert holds(driver, label.name, 0, SIZE, SIZE)
        assert driver.delete(label.name) is Did.CHANGED
        assert driver.find(label.name) is None

    def test_a_snapshot_is_adopted_and_reverts_its_volume(self, driver: Guard, pool: Path) -> None:
        label = volume()
        kept = Label(Kind.SNAPSHOT, str(uuid.uuid4()), label.project, parent=label.id)
        driver.create(label, SIZE)
        fill(driver, label.name, 9)
        self.strange(pool, "kept")
        driver.adopt("kept", kept)
        driver.revert(label.name, kept.name)
        assert holds(driver, label.name, 3)

    def test_what_is_owned_is_not_adopted(self, driver: Guard, pool: Path) -> None:
        mine, other = volume(), volume("another")
        driver.create(mine, SIZE)
        fill(driver, mine.name, 4)
        with pytest.raises(errors.BrickMismatch):
            driver.adopt(mine.name, other)
        with pytest.raises(errors.BrickMismatch):
            driver.adopt(mine.name, Label(Kind.VOLUME, mine.id, "another"))
        self.strange(pool, "stranger")
        with pytest.raises(errors.BrickMismatch):
            driver.adopt("stranger", mine)
        assert holds(driver, mine.name, 4)
        assert driver.adopt("stranger", other) is Did.CHANGED

    def test_what_is_not_there_is_not_adopted(self, driver: Guard) -> None:
        with pytest.raises(errors.NotFound):
            driver.adopt("nothing", volume())
        for name in ("../escape", "a/b", "", "-f", ".."):
            with pytest.raises(errors.Invalid):
                driver.adopt(name, volume())

    @pytest.mark.parametrize("adopted", [False, True])
    def test_what_is_given_up_stays_and_may_be_adopted_again(self, driver: Guard, pool: Path, adopted: bool) -> None:
        label, other = volume(), volume("another")
        if adopted:
            self.strange(pool, "disk-of-old")
            driver.adopt("disk-of-old", label)
        else:
            driver.create(label, SIZE)
            fill(driver, label.name, 3)
        driver.close(label.name)
        assert driver.disown(label.name) is Did.CHANGED
        assert driver.disown(label.name) is Did.ALREADY
        found = driver.find(label.name)
        assert found is not None
        assert (found.label, found.size_bytes) == (None, SIZE)
        with pytest.raises(errors.BrickMismatch, match="label"):
            driver.delete(label.name)
        driver.adopt(label.name, other)
        assert driver.find(label.name) is None
        assert holds(driver, other.name, 3)
        driver.delete(other.name)
        assert driver.disown(other.name) is Did.ALREADY

    def test_strangers_are_seen_with_any_name(self, driver: Guard, pool: Path) -> None:
        mine, given_up = volume(), volume()
        driver.create(mine, SIZE)
        driver.create(given_up, SIZE)
        driver.disown(given_up.name)
        assert [(one.name, one.size_bytes) for one in driver.strangers()] == [(given_up.name, SIZE)]
        driver.adopt(given_up.name, given_up)
        self.strange(pool, "disk-of-old")
        assert [(one.name, one.size_bytes) for one in driver.strangers()] == [("disk-of-old", SIZE)]

    @pytest.mark.parametrize("error", [Death, errors.BrickError])
    def test_giving_up_may_die_anywhere(self, pool: Path, error: type[BaseException]) -> None:
        label, ready = volume(), pool / "ready"
        ready.mkdir()
        self.strange(ready, label.name)
        Guard(self.make(ready), "under test").adopt(label.name, label)
        for at in range(1, POINTS_MAX):
            copy, hook = pool / f"at-{at}", Hook(at, error)
            self.duplicate(ready, copy)
            driver = Guard(self.make(copy), "under test")
            with faults.installed(hook):
                try:
                    driver.disown(label.name)
                except error:
                    pass
                else:
                    assert at > 1, "no point was passed"
                    return
            driver.disown(label.name)
            assert [one.name for one in driver.strangers()] == [label.name]
            driver.adopt(label.name, label)
            assert holds(driver, label.name, 3)
            self.forget(copy)
        pytest.fail(f"more than {POINTS_MAX} points")

    def test_what_has_no_label_is_never_deleted(self, driver: Guard, pool: Path) -> None:
        stranger = name_of(Kind.VOLUME, str(uuid.uuid4()))
        self.strange(pool, stranger)
        for _ in range(2):
            with pytest.raises(errors.BrickMismatch, match="label"):
                driver.delete(stranger)
        [found] = driver.list()
        assert (found.name, found.label) == (stranger, None)

    @pytest.mark.parametrize("renamed", [False, True])
    @pytest.mark.parametrize("error", [Death, errors.BrickError])
    def test_adopting_may_die_anywhere(self, pool: Path, renamed: bool, error: type[BaseException]) -> None:
        label = volume()
        name, ready = "disk-of-old" if renamed else label.name, pool / "ready"
        ready.mkdir()
        self.strange(ready, name)
        for at in range(1, POINTS_MAX):
            copy, hook = pool / f"at-{at}", Hook(at, error)
            self.duplicate(ready, copy)
            driver = Guard(self.make(copy), "under test")
            with faults.installed(hook):
                try:
                    driver.adopt(name, label)
                except error:
                    pass
                else:
                    assert at > 2, "no point was passed"
                    return
            driver.adopt(name, label)
            assert driver.adopt(name, label) is Did.ALREADY
            assert holds(driver, label.name, 3)
            driver.delete(label.name)
            assert list(driver.list()) == []
            assert driver.leftovers() == {}
            self.forget(copy)
        pytest.fail(f"more than {POINTS_MAX} points")
