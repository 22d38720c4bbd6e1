"""The span of a request: begun when it has come, below the caller's own if it says one, and ended with its answer."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

from brickyard.core import spans, trace

QUIET = frozenset({"/healthcheck", "/metrics"})  # asked every few seconds by programs that want no trace of it


@dataclass(frozen=True, slots=True)
class Open:
    span: spans.Span
    ends: contextlib.ExitStack


def begin(req: Any) -> Open | None:
    """From here this thread is in the span, until `end`."""
    if req.path in QUIET:
        return None
    ends = contextlib.ExitStack()
    facts = {"http_method": req.method, "url_path": req.path}
    parent = req.get_header("traceparent")
    span = ends.enter_context(spans.begun(str(req.method), "server", parent=parent, **facts))
    trace.begin(**trace.now(), trace_id=spans.trace_id())
    return Open(span, ends)


def end(req: Any, resp: Any, open_: Open) -> None:
    """The route is known by now, and so is the caller."""
    status, caller = int(str(resp.status)[:3]), getattr(req.context, "caller", None)
    route = getattr(req, "uri_template", None)
    if route:
        open_.span.rename(f"{req.method} {route}")
    open_.span.note(http_route=route, http_status=status)
    if caller is not None:
        open_.span.note(project_id=caller.project_id, user_id=caller.user_id)
    if status >= 500:
        open_.span.fail(f"HTTP {status}")
    open_.ends.close()
