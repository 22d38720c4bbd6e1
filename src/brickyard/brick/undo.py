"""Undo of half-done work: the undo is registered on the line after the act, and runs only when something raised.

with undo.on_error() as stack:
    make(path)
    stack.callback(remove, path)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from brickyard.core import errors


@contextmanager
def on_error() -> Iterator[ExitStack]:
    """Run the registered callbacks, last first, if the block raises. A failing undo is an error that keeps both."""
    stack = ExitStack()
    try:
        yield stack
    except BaseException as causal:
        try:
            stack.close()
        except Exception as rollback:
            raise errors.UndoFailed(causal, rollback) from causal
        raise
