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
from brickyard.db.database import Row, Tx
from brickyard.service import grouping, groups


def index(request: Request) -> Reply:
    return _list(request, lambda row, members: views.brief(row, members))


def detail(request: Request) -> Reply:
    return _list(request, lambda row, members: views.detailed(request, row, members))


def _list(request: Request, view: Any) -> Reply:
    query = listings.query(request, "group")
    with request.site.db.read() as tx:
        found = rows.list_(tx, query, consistent=False)
        shown = [view(row, _members(request, tx, row.id)) for row in found]
    return listings.reply(request, query, "groups", found, shown)


def _members(request: Request, tx: Tx, id: str) -> list[str] | None:
    """The volumes of a group, where the request wants them."""
    if not request.since("3.25") or not request.flag("list_volume"):
        return None
    return [str(row.id) for row in volumes.of_group(tx, id)]


def show(request: Request, id: str) -> Reply:
    with request.site.db.read() as tx:
        row = grouping.found(tx, request.caller, id)
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
    return Reply(202, {"group": views.brief(made_from(request, value, "group_snapshot_id", "source_group_id"))})


def made_from(request: Request, value: Any, kept_key: str, source_key: str, *, consistent: bool = False) -> Row:
    """A new group of what one of the keys names: a snapshot of a group, or a group."""
    kept, source = value.get(kept_key), value.get(source_key)
    if bool(kept) == bool(source):
        raise errors.Invalid(f"Say either {kept_key} or {source_key}.", field=kept_key)
    make, origin = (groups.create_from_snapshot, kept) if kept else (groups.create_from_group, source)
    return make(
        request.site,
        request.caller,
        str(origin),
        name=stripped(value, "name", "name"),
        description=stripped(value, "description", "description"),
        consistent=consistent,
    )


def update(request: Request, id: str) -> Reply:
    change(request, id, request.body["group"])
    return Reply(202)


def change(request: Request, id: str, body: Any, *, blank: bool = True, consistent: bool = False) -> None:
    """What PUT says of a group; `blank`: a text that is empty is one, and not as if it were left out."""
    said = {key: body[key].strip() for key in ("name", "description") if body.get(key) is not None}
    values = {key: text for key, text in said.items() if text or blank}
    add, remove = words(body.get("add_volumes")), words(body.get("remove_volumes"))
    if not values and not add and not remove:
        raise errors.Invalid("Say what to change: name, description, add_volumes or remove_volumes.", field="name")
    groups.update(request.site, request.caller, id, values, add=add, remove=remove, consistent=consistent)


def words(text: str | None) -> list[str]:
    """What is joined by commas."""
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
