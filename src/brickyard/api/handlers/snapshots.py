"""/snapshots"""

from __future__ import annotations

from typing import Any

from brickyard.api import listings
from brickyard.api.handlers.volumes import stripped
from brickyard.api.request import Reply, Request, boolean
from brickyard.api.views import snapshots as views
from brickyard.core import errors
from brickyard.db import snapshots as rows
from brickyard.service import resets, snapshots


def index(request: Request) -> Reply:
    return _list(request, views.brief)


def detail(request: Request) -> Reply:
    return _list(request, views.detailed)


def _list(request: Request, view: Any) -> Reply:
    query = listings.query(request, "snapshot")
    with request.site.db.read() as tx:
        found = rows.list_(tx, query)
        total = rows.count(tx, query) if listings.wants_count(request) else None
    return listings.reply(request, query, "snapshots", found, [view(request, row) for row in found], total)


def create(request: Request) -> Reply:
    body = request.body["snapshot"]
    if body["volume_id"] is None:
        raise errors.NotFound("Volume None could not be found.")
    force = boolean(body["force"], "force") if body.get("force") is not None else None
    if force is False and request.since("3.66"):
        raise errors.Invalid("force may not be false since 3.66: leave it out.", field="force")
    row = snapshots.create(
        request.site,
        request.caller,
        body["volume_id"],
        name=stripped(body, "name", "display_name"),
        description=stripped(body, "description", "display_description"),
        metadata=body.get("metadata") or {},
        in_use=bool(force) or request.since("3.66"),
    )
    return Reply(202, {"snapshot": views.full(request, row)})


def show(request: Request, id: str) -> Reply:
    with request.site.db.read() as tx:
        row = snapshots.require(tx, request.caller, id)
    request.check("volume:get_snapshot", row.project_id)
    return Reply(200, {"snapshot": views.detailed(request, row)})


def update(request: Request, id: str) -> Reply:
    body = request.body["snapshot"]
    values: dict[str, Any] = {}
    for name, alias in (("name", "display_name"), ("description", "display_description")):
        if name in body or alias in body:
            values[name] = stripped(body, name, alias)
    row = snapshots.update(request.site, request.caller, id, values)
    return Reply(200, {"snapshot": views.full(request, row)})


def delete(request: Request, id: str) -> Reply:
    snapshots.delete(request.site, request.caller, id)
    return Reply(202)


# actions


def reset_status(request: Request, value: Any, id: str) -> Reply:
    resets.snapshot(request.site, request.caller, id, value["status"])
    return Reply(202)


def force_delete(request: Request, value: Any, id: str) -> Reply:
    snapshots.delete(request.site, request.caller, id, force=True)
    return Reply(202)


def update_status(request: Request, value: Any, id: str) -> Reply:
    progress = value.get("progress")
    resets.snapshot_progress(
        request.site, request.caller, id, value["status"], int(progress.rstrip("%")) if progress else None
    )
    return Reply(202)
