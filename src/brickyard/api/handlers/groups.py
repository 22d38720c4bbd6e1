"""/groups"""

from __future__ import annotations

from typing import Any

from brickyard.api import listings
from brickyard.api.handlers.volumes import stripped
from brickyard.api.request import Reply, Request, boolean
from brickyard.api.views import groups as views
from brickyard.core import errors
from brickyard.db import groups as rows
from brickyard.db import volumes
from brickyard.db.database import Tx
from brickyard.service import groups


def index(request: Request) -> Reply:
    return _list(request, lambda row, members: views.brief(row, members))


def detail(request: Request) -> Reply:
    return _list(request, lambda row, members: views.detailed(request, row, members))


def _list(request: Request, view: Any) -> Reply:
    query = listings.query(request, "group")
    with request.site.db.read() as tx:
        found = rows.list_(tx, query)
        shown = [view(row, _members(request, tx, row.id)) for row in found]
    return listings.reply(request, query, "groups", found, shown)


def _members(request: Request, tx: Tx, id: str) -> list[str] | None:
    """The volumes of a group, where the request wants them."""
    if not request.since("3.25") or not request.flag("list_volume"):
        return None
    return [str(row.id) for row in volumes.of_group(tx, id)]


def show(request: Request, id: str) -> Reply:
    with request.site.db.read() as tx:
        row = groups.require(tx, request.caller, id)
        members = _members(request, tx, id)
    request.check("group:get", row.project_id)
    return Reply(200, {"group": views.detailed(request, row, members)})


def create(request: Request) -> Reply:
    body = request.body["group"]
    new = groups.NewGroup(
        group_type=body["group_type"],
        volume_types=body["volume_types"],
        name=stripped(body, "name", "name"),
        description=stripped(body, "description", "description"),
        availability_zone=body.get("availability_zone"),
    )
    return Reply(202, {"group": views.brief(groups.create(request.site, request.caller, new))})


def create_from(request: Request, value: Any) -> Reply:
    kept, source = value.get("group_snapshot_id"), value.get("source_group_id")
    if bool(kept) == bool(source):
        raise errors.Invalid("Say either group_snapshot_id or source_group_id.", field="group_snapshot_id")
    make, origin = (groups.create_from_snapshot, kept) if kept else (groups.create_from_group, source)
    row = make(
        request.site,
        request.caller,
        str(origin),
        name=stripped(value, "name", "name"),
        description=stripped(value, "description", "description"),
    )
    return Reply(202, {"group": views.brief(row)})


def update(request: Request, id: str) -> Reply:
    body = request.body["group"]
    values = {key: body[key].strip() for key in ("name", "description") if body.get(key) is not None}
    add, remove = _ids(body.get("add_volumes")), _ids(body.get("remove_volumes"))
    if not values and not add and not remove:
        raise errors.Invalid("Say what to change: name, description, add_volumes or remove_volumes.", field="name")
    groups.update(request.site, request.caller, id, values, add=add, remove=remove)
    return Reply(202)


def _ids(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]


# actions


def delete(request: Request, value: Any, id: str) -> Reply:
    wanted = (value or {}).get("delete-volumes", False)
    groups.delete(request.site, request.caller, id, with_volumes=boolean(wanted, "delete-volumes"))
    return Reply(202)


def reset_status(request: Request, value: Any, id: str) -> Reply:
    groups.reset(request.site, request.caller, id, value["status"])
    return Reply(202)


def replication(request: Request, value: Any, id: str) -> Reply:
    groups.refuse_replication(request.site, request.caller, id)
    return Reply(202)
