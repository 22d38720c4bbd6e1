"""/backups"""

from __future__ import annotations

from typing import Any

from brickyard.api import listings
from brickyard.api.handlers.volumes import stripped
from brickyard.api.request import Reply, Request, boolean
from brickyard.api.views import backups as views
from brickyard.db import backups as rows
from brickyard.service import backups, restores


def index(request: Request) -> Reply:
    return _list(request, views.brief)


def detail(request: Request) -> Reply:
    return _list(request, views.detailed)


def _list(request: Request, view: Any) -> Reply:
    query = listings.query(request, "backup")
    with request.site.db.read() as tx:
        found = rows.list_(tx, query)
        total = rows.count(tx, query) if listings.wants_count(request) else None
    return listings.reply(request, query, "backups", found, [view(request, row) for row in found], total)


def create(request: Request) -> Reply:
    body = request.body["backup"]
    new = backups.NewBackup(
        volume_id=body["volume_id"],
        snapshot_id=body.get("snapshot_id"),
        name=stripped(body, "name", "name"),
        description=stripped(body, "description", "description"),
        container=stripped(body, "container", "container"),
        incremental=boolean(body.get("incremental") or False, "incremental"),
        force=boolean(body.get("force") or False, "force"),
        availability_zone=body.get("availability_zone"),
        metadata=body.get("metadata") or {},
    )
    row = backups.create(request.site, request.caller, new)
    return Reply(202, {"backup": views.brief(request, row)})


def show(request: Request, id: str) -> Reply:
    with request.site.db.read() as tx:
        row = backups.require(tx, request.caller, id)
    request.check("backup:get", row.project_id)
    return Reply(200, {"backup": views.detailed(request, row)})


def update(request: Request, id: str) -> Reply:
    body = request.body["backup"]
    values: dict[str, Any] = {name: stripped(body, name, name) for name in ("name", "description") if name in body}
    if body.get("metadata") is not None:
        values["metadata"] = body["metadata"]
    row = backups.update(request.site, request.caller, id, values)
    return Reply(200, {"backup": views.brief(request, row)})


def delete(request: Request, id: str) -> Reply:
    backups.delete(request.site, request.caller, id)
    return Reply(202)


def restore(request: Request, id: str) -> Reply:
    body = request.body["restore"]
    volume = restores.restore(
        request.site, request.caller, id, body.get("volume_id"), stripped(body, "name", "name") or None
    )
    return Reply(202, {"restore": {"backup_id": id, "volume_id": volume.id, "volume_name": volume.name}})


def export_record(request: Request, id: str) -> Reply:
    return Reply(200, {"backup-record": restores.export_record(request.site, request.caller, id)})


def import_record(request: Request) -> Reply:
    body = request.body["backup-record"]
    row = restores.import_record(request.site, request.caller, body["backup_service"], body["backup_url"])
    return Reply(201, {"backup": views.brief(request, row)})


# actions


def reset_status(request: Request, value: Any, id: str) -> Reply:
    backups.reset_status(request.site, request.caller, id, value["status"])
    return Reply(202)


def force_delete(request: Request, value: Any, id: str) -> Reply:
    backups.force_delete(request.site, request.caller, id)
    return Reply(202)
