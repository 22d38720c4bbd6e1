"""What drivers promise that look at files without a lock: a brick that is deleted under their eyes is ours, or gone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import brickyard.brick
from brickyard.brick.guard import Guard

from .content import SIZE, volume

LINES_MAX = 500
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
