"""/volumes"""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec

from brickyard.api import listings
from brickyard.api.request import Reply, Request, boolean
from brickyard.api.views import volumes as views
from brickyard.core import errors
from brickyard.db import volumes as rows
from brickyard.service import volumes


def index(request: Request) -> Reply:
    query = listings.query(request, "volume")
    with request.site.db.read() as tx:
        found = rows.list_(tx, query)
        total = rows.summary(tx, query).total if listings.wants_count(request) else None
    return listings.reply(request, query, "volumes", found, [views.brief(request, row) for row in found], total)


def detail(request: Request) -> Reply:
    query = listings.query(request, "volume")
    with request.site.db.read() as tx:
        found = rows.list_raw(tx, query)
        attached = rows.attachments_of(tx, found)
        total = rows.summary(tx, query).total if listings.wants_count(request) else None
    return listings.reply(request, query, "volumes", found, views.page(request, found, attached), total)


def summary(request: Request) -> Reply:
    query = dataclasses.replace(listings.query(request, "volume"), filters={})
    with request.site.db.read() as tx:
        found = rows.summary(tx, query)
        tagged = rows.metadata_of(tx, query) if request.since("3.36") else []
    view: dict[str, Any] = {"total_count": found.total, "total_size": int(found.size_gib)}
    if request.since("3.36"):
        values: dict[str, set[str]] = {}
        for key, value in (item for metadata in tagged for item in metadata.items()):
            values.setdefault(key, set()).add(value)
        view["metadata"] = {key: sorted(distinct) for key, distinct in sorted(values.items())}
    return Reply(200, {"volume-summary": view})


def encryption(request: Request, id: str) -> Reply:
    """No volume of ours is encrypted; clients ask before they attach."""
    with request.site.db.read() as tx:
        volumes.require(tx, request.caller, id)
    return Reply(200, {"encryption_key_id": None})


def encryption_key(request: Request, id: str, key: str) -> Reply:
    """One value of the same, bare."""
    found = encryption(request, id).body
    if key not in found:
        raise errors.NotFound(f"Volume {id} is not encrypted: there is no {key}.")
    return Reply(200, msgspec.json.encode(found[key]))


def create(request: Request) -> Reply:
    body = request.body["volume"]
    if body.get("multiattach") and boolean(body["multiattach"], "multiattach"):
        raise errors.Invalid("Use a volume type with the extra spec multiattach.", field="multiattach")
    group_id = body.get("group_id") if request.since("3.13") else None
    consistency_group_id = body.get("consistencygroup_id")
    if group_id and consistency_group_id:
        raise errors.Invalid("Say either group_id or consistencygroup_id.", field="consistencygroup_id")
    hints = request.body.get("OS-SCH-HNT:scheduler_hints") or body.get("OS-SCH-HNT:scheduler_hints") or {}
    image = body.get("imageRef") or body.get("image_id")
    new = volumes.NewVolume(
        size_gib=int(body["size"]) if body.get("size") is not None else None,
        name=stripped(body, "name", "display_name"),
        description=stripped(body, "description", "display_description"),
        availability_zone=body.get("availability_zone"),
        volume_type=body.get("volume_type"),
        metadata=body.get("metadata") or {},
        snapshot_id=body.get("snapshot_id"),
        source_volid=body.get("source_volid"),
        image_id=image.rpartition("/")[2] if image else None,
        hints=hints,
        group_id=consistency_group_id or group_id,
        group_is_consistent=bool(consistency_group_id),
        backup_id=body.get("backup_id") if request.since("3.47") else None,
    )
    row = volumes.create(request.site, request.caller, new)
    return Reply(202, {"volume": views.full(request, row, ())})


def show(request: Request, id: str) -> Reply:
    with request.site.db.read() as tx:
        row = volumes.require(tx, request.caller, id)
        attached = rows.attachments_of(tx, [row]).get(id, [])
    if not request.allows("volume:get", row.project_id):
        raise errors.NotFound(f"Volume {id} could not be found.")
    return Reply(200, {"volume": views.detailed(request, row, attached)})


def update(request: Request, id: str) -> Reply:
    body = request.body["volume"]
    values: dict[str, Any] = {}
    for name, alias in (("name", "display_name"), ("description", "display_description")):
        if name in body or alias in body:
            values[name] = stripped(body, name, alias)
    if body.get("metadata") is not None:
        values["metadata"] = body["metadata"]
    row = volumes.update(request.site, request.caller, id, values)
    with request.site.db.read() as tx:
        attached = rows.attachments_of(tx, [row]).get(id, [])
    return Reply(200, {"volume": views.full(request, row, attached)})


def delete(request: Request, id: str) -> Reply:
    force = request.since("3.23") and request.flag("force")
    volumes.delete(request.site, request.caller, id, cascade=request.flag("cascade"), force=force)
    return Reply(202)


def stripped(body: dict[str, Any], name: str, alias: str) -> str | None:
    """A text under its name or its older one, without blanks around it."""
    value = body.get(name) if body.get(name) is not None else body.get(alias)
    return value.strip() if value is not None else None
