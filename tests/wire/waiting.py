"""Waiting for what a service does in its own time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def until(true: Callable[[], object], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def becomes(get: Callable[[str], Any], one: Any, status: str) -> Any:
    """The resource when it has the status; the SDK's own `wait_for_status` would believe what it was told before."""
    until(lambda: get(one.id).status == status)
    return get(one.id)


def vanishes(get: Callable[[str], Any], one: Any, gone: type[Exception]) -> None:
    """Wait until asking for the resource raises `gone`."""

    def looked() -> bool:
        try:
            get(one.id)
        except gone:
            return True
        return False

    until(looked)
