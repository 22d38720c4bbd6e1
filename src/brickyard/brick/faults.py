"""Injection points: places where a test may raise, or die, to prove that every verb can be repeated.

Every outside command and every file step calls `point` before it acts and after it. Without a hook this costs one
comparison. The hook belongs to the whole process, because the verbs of one brick may run in any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Hook = Callable[[str], None]

_hook: Hook | None = None


def point(name: str) -> None:
    """Tell the hook, where there is one, that this step is about to happen or has happened."""
    if _hook is not None:
        _hook(name)


@contextmanager
def installed(hook: Hook) -> Iterator[None]:
    """Call `hook` at every point while the block runs; what it raises is what the step raises."""
    global _hook
    before = _hook
    _hook = hook
    try:
        yield
    finally:
        _hook = before


@contextmanager
def step(what: str) -> Iterator[None]:
    """One act that is either done or not done: a point before it, and one after it."""
    point(f"before {what}")
    yield
    point(f"after {what}")
