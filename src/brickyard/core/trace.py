"""On whose behalf a thread works now: facts for every line of the log, from a request to the commands of its flow.

A thread begins with none. Whoever hands work to another thread or machine hands over `now()`, and the other side begins
with `of(**facts)`.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator, Mapping

NONE: Mapping[str, str] = {}
_facts: contextvars.ContextVar[Mapping[str, str]] = contextvars.ContextVar("facts", default=NONE)


def now() -> Mapping[str, str]:
    """The facts of this thread, for example request_id, flow_id, flow and step."""
    return _facts.get()


def begin(**facts: str | None) -> None:
    """From here this thread works for somebody else; what is None is not known. Without facts: for nobody."""
    _facts.set({name: fact for name, fact in facts.items() if fact is not None})


@contextlib.contextmanager
def of(**facts: str | None) -> Iterator[None]:
    """Add facts while the block runs."""
    token = _facts.set({**_facts.get(), **{name: fact for name, fact in facts.items() if fact is not None}})
    try:
        yield
    finally:
        _facts.reset(token)
