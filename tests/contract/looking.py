"""What drivers promise that look at files without a lock: a brick that is deleted or changed under their eyes is ours,
or gone; and a pool that has become read-only can be looked at, and be told that what never was is gone."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import brickyard.brick
from brickyard.brick.guard import Guard
from brickyard.core import errors
from brickyard.core.bricks import Did

from .content import SIZE, snapshot_of, volume
from .deaths import offers

LINES_MAX = 500
SECTOR_BYTES = 512
SOURCES = str(Path(brickyard.brick.__file__).parent)


def disturbed(look: Callable[[], Any], act: Callable[[], Any], at: int) -> tuple[Any, bool]:
    """What the look gave, with the act before the line number `at` of the library that it runs; and whether it came
    to that line."""
    lines, before = 0, sys.gettrace()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        if not frame.f_code.co_filename.startswith(SOURCES):
            return None
        if event == "line":
            lines += 1
            if lines == at:
                sys.settrace(None)
                act()
        return trace

    sys.settrace(trace)
    try:
        return look(), lines >= at
    finally:
        sys.settrace(before)


class LookingContract:
    def make(self, pool: Path) -> Any:
        raise NotImplementedError

    def test_a_brick_that_is_deleted_while_it_is_looked_at_is_ours_or_gone(self, driver: Guard) -> None:
        """One that shows itself without a label for a moment is told as a stranger, and offered for adoption."""
        stays, goes = volume(), volume()
        driver.create(stays, SIZE)
        for at in range(1, LINES_MAX):
            driver.create(goes, SIZE)
            found, reached = disturbed(lambda: list(driver.list()), lambda: driver.delete(goes.name), at)
            labels = {brick.name: brick.label for brick in found}
            assert {brick.size_bytes for brick in found} == {SIZE}, at
            assert labels.pop(goes.name, goes) == goes, at
            assert labels == {stays.name: stays}, at
            driver.delete(goes.name)
            if not reached:
                return
        raise AssertionError(f"more than {LINES_MAX} lines")

    def test_a_brick_that_changes_while_it_is_looked_at_is_ours(self, driver: Guard) -> None:
        """Between two looks at it, its label or its content may have become another file."""
        stays, other = volume(), volume()
        snapshot = snapshot_of(other)
        driver.create(stays, SIZE)
        driver.create(other, SIZE)
        acts = [lambda at: driver.relabel(dataclasses.replace(other, generation=at + 1))]
        acts += [lambda at: driver.grow(other.name, SIZE + at * SECTOR_BYTES)]
        if offers(driver, "revert"):
            driver.snapshot(other.name, snapshot)
            acts += [lambda _: driver.revert(other.name, snapshot.name)]
        for act in acts:
            for at in range(1, LINES_MAX):
                found, reached = disturbed(lambda: list(driver.list()), partial(act, at), at)
                labels = {brick.name: brick.label for brick in found}
                assert sorted(labels.keys() - {snapshot.name}) == sorted((stays.name, other.name)), at
                assert all(label is not None and label.name == name for name, label in labels.items()), at
                if not reached:
                    break
            else:
                raise AssertionError(f"more than {LINES_MAX} lines")

    def test_what_never_came_to_be_is_deleted_from_a_read_only_pool_too(self, tmp_path: Path) -> None:
        """An undo would try for ever otherwise, and the boot with it: there is no lock to be had."""
        mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "none", str(tmp_path)]
        if subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("only root can mount a pool")
        try:
            driver, there, absent = Guard(self.make(tmp_path), "under test"), volume(), volume()
            driver.create(there, SIZE)
            subprocess.run(["mount", "-o", "remount,ro", str(tmp_path)], check=True)
            assert driver.delete(absent.name) is Did.ALREADY
            with pytest.raises(errors.BrickError, match="Read-only"):
                driver.delete(there.name)
            assert [found.label for found in driver.list()] == [there]
        finally:
            subprocess.run(["umount", str(tmp_path)], check=True)
