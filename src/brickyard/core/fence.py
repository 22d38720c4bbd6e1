"""Under which claim of a flow a thread works now.

Whoever carries a call to another machine says it there, and that machine does nothing for a claim that is older than
one that it knows of (nodes/fences.py): a conductor that was stopped while its lease ran out cannot disturb the next.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from dataclasses import dataclass

from brickyard.core import spans


@dataclass(frozen=True, slots=True)
class Claim:
    """The flow, and the number of the claim, which grows with each; "" and 0: what is asked belongs to no flow."""

    flow: str
    epoch: int


class Stop(spans.NotFailed):
    """This process must do nothing more for the flow that it runs: another conductor has it, or this process ends.

    Nothing has failed by that, so it is no error that a step might answer by trying elsewhere."""


NONE = Claim("", 0)
_claim: contextvars.ContextVar[Claim] = contextvars.ContextVar("claim", default=NONE)


def now() -> Claim:
    return _claim.get()


@contextlib.contextmanager
def of(flow: str, epoch: int) -> Iterator[None]:
    """What this thread asks for while the block runs is under this claim."""
    token = _claim.set(Claim(flow, epoch))
    try:
        yield
    finally:
        _claim.reset(token)
