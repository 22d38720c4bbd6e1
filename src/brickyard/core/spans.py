"""Spans: what a request came to, in every process that it went through, for a collector of traces to put together.

Nothing is made of it unless the process was told to (`daemons/tracing.py`): then `use` names who makes it. A request
and a run of a flow begin a span by themselves; all else only within one, so that nobody hears of work that nobody asked
for. Whoever hands work to another process hands over `carried()`, and the other side begins with `parent=` from it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Protocol

TRACEPARENT = "traceparent"  # the name of the W3C, in headers, messages and records of flows
Fact = str | int | float | bool | None


class NotFailed(Exception):
    """Raised to leave off; no span has failed by that."""


class Span(Protocol):
    """What the block of a span may add to it. A fact that is None is left out."""

    def note(self, **facts: Fact) -> None: ...

    def rename(self, name: str) -> None: ...

    def fail(self, message: str) -> None: ...


class Tracer(Protocol):
    """Who makes spans. `kind`: internal | client | server | consumer; `parent`: a traceparent of another process."""

    def span(
        self, name: str, kind: str, parent: str | None, facts: Mapping[str, Fact]
    ) -> contextlib.AbstractContextManager[Span]: ...

    def within(self, parent: str) -> contextlib.AbstractContextManager[None]: ...

    def carried(self) -> str | None: ...


class _Nothing:
    def note(self, **facts: Fact) -> None:
        pass

    def rename(self, name: str) -> None:
        pass

    def fail(self, message: str) -> None:
        pass


NOTHING: Span = _Nothing()
_tracer: Tracer | None = None


def use(tracer: Tracer | None) -> None:
    """From here this process makes spans, or none."""
    global _tracer
    _tracer = tracer


def on() -> bool:
    return _tracer is not None


@contextlib.contextmanager
def of(name: str, kind: str = "internal", /, *, parent: str | None = None, **facts: Fact) -> Iterator[Span]:
    """A span of the block, below the one that this thread is in, or below `parent`; none where there is neither. What
    the block raises is its failure."""
    if _tracer is None or (parent is None and _tracer.carried() is None):
        yield NOTHING
        return
    with _tracer.span(name, kind, parent, facts) as span:
        yield span


@contextlib.contextmanager
def begun(name: str, kind: str, /, *, parent: str | None, **facts: Fact) -> Iterator[Span]:
    """The same, which begins a trace where there is no parent."""
    if _tracer is None:
        yield NOTHING
        return
    with _tracer.span(name, kind, parent, facts) as span:
        yield span


@contextlib.contextmanager
def within(parent: str | None) -> Iterator[None]:
    """What the block begins and hands over is below `parent`; there is no span of the block itself."""
    if _tracer is None or parent is None:
        yield
        return
    with _tracer.within(parent):
        yield


def carried() -> dict[str, str]:
    """What to hand to another process, {"traceparent": …}; nothing where this thread is in no span."""
    found = _tracer.carried() if _tracer is not None else None
    return {TRACEPARENT: found} if found else {}


def trace_id() -> str | None:
    """The trace that this thread works for, in hexadecimal, for lines of the log."""
    found = _tracer.carried() if _tracer is not None else None
    return found.split("-")[1] if found else None
