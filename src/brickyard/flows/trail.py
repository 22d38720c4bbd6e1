"""The lines of the log, and the spans, that lead from a request to its flow and to what the flow did."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from brickyard.core import clock, spans, trace
from brickyard.db import flows as rows

if TYPE_CHECKING:
    from brickyard.flows.journal import Journal

LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def of(journal: Journal) -> Iterator[None]:
    """What is logged in the block names the flow and the request that asked for it; a last line says how it ended. The
    block is a span below that request, as is each other run of the flow: before a conductor died, and after."""
    run, started, name = journal.run, clock.monotonic(), journal.flow.name
    facts: dict[str, spans.Fact] = {
        "resource_id": journal.resource_id,
        "project_id": run.project_id,
        "attempt": run.attempt,
    }
    with (
        trace.of(request_id=run.request_id, flow_id=run.id, flow=name),
        spans.begun(f"flow {name}", "consumer", parent=run.traceparent, epoch=run.epoch, **facts) as span,
        trace.of(trace_id=spans.trace_id()),
    ):
        yield
        span.note(status=journal.status)
        if journal.status == "failed" and journal.error:
            span.fail(journal.error.message)
        if journal.status in rows.OPEN:
            return
        line = {"attempt": run.attempt, "seconds": round(clock.monotonic() - started, 3)}
        if journal.status == "done":
            LOG.info("flow is done", extra=line)
        else:
            LOG.warning("flow has failed", extra={**line, "error": journal.error.message if journal.error else None})


@contextlib.contextmanager
def step(name: str) -> Iterator[None]:
    """The same for a step that touches the world; its end is told to those who want every line."""
    started, outcome = clock.monotonic(), "failed"
    with trace.of(step=name), spans.of(f"step {name}"):
        try:
            yield
            outcome = "ended"
        finally:
            LOG.debug("step has %s", outcome, extra={"seconds": round(clock.monotonic() - started, 3)})
