"""/v1/flows"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from brickyard.api import own_queries
from brickyard.api.request import Reply, Request
from brickyard.api.views import own as views
from brickyard.service import flows

LIST, LIST_MAX = 100, 1000
SEQ_MAX = 2**31 - 1


def index(request: Request) -> Reply:
    """List flows, the newest first; `open` for those that run, `resource_id` for those of one resource."""
    found = flows.list_(
        request.site,
        own_queries.project(request),
        open_only=request.flag("open"),
        resource_id=request.query.get("resource_id"),
        limit=own_queries.number(request.query, "limit", LIST, 1, LIST_MAX),
    )
    return Reply(200, {"flows": [views.flow(row) for row in found]})


def show(request: Request, id: str) -> Reply:
    """Show a flow with its log, and the refusals if it found no place.

    `progress` is how far the step is that is done or undone now, if it takes long and can tell: of which brick or
    device, and bytes. It is renewed once a second.
    """
    row, log = flows.show(request.site, request.caller, id)
    return Reply(200, {**views.flow(row), "log": [views.entry(entry) for entry in log]})


def events(request: Request, id: str) -> Reply:
    """The log of a flow as server-sent events: `step` for each entry as it happens, `flow` when it is over.

    Between them, `progress` tells how far a step is that takes long. It has no id: after a break, Last-Event-ID
    continues the entries where they were.
    """
    last = request.headers.get("LAST-EVENT-ID")
    after = own_queries.number({"Last-Event-ID": last}, "Last-Event-ID", 0, 0, SEQ_MAX) if last else -1
    entries = flows.watch(request.site, request.caller, id, after)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Reply(200, stream=Stream(entries), headers=headers, content_type="text/event-stream")


class Stream:
    """Rows as events. The server calls `close` when the client has gone."""

    def __init__(self, entries: flows.Watch) -> None:
        self._entries = entries

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return _event(next(self._entries))

    def close(self) -> None:
        self._entries.close()


def _event(row: flows.Event) -> bytes:
    if row is None:
        return b": still here\n\n"
    if isinstance(row, dict):
        return b"event: progress\ndata: %s\n\n" % msgspec.json.encode(views.progress(row))
    if hasattr(row, "seq"):
        return b"id: %d\nevent: step\ndata: %s\n\n" % (row.seq, msgspec.json.encode(views.entry(row)))
    return b"event: flow\ndata: %s\n\n" % msgspec.json.encode(views.flow(row))
