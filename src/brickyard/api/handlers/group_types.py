"""/group_types, with their specs"""

from __future__ import annotations

import dataclasses
from typing import Any

from brickyard.api import listings
from brickyard.api.request import Reply, Request, boolean
from brickyard.api.views import group_types as views
from brickyard.core import errors
from brickyard.db import group_types as rows
from brickyard.db.listing import Query
from brickyard.service import group_types


def index(request: Request) -> Reply:
    query = _query(request)
    with request.site.db.read() as tx:
        found = rows.list_(tx, query, private=request.caller.is_admin)
    return listings.reply(request, query, "group_types", found, [views.shown(request, row) for row in found])


def _query(request: Request) -> Query:
    """Administrators see all of them, or the public or private ones; everybody else sees the public ones."""
    which = request.query.get("is_public", "none").strip().lower()
    params = {key: value for key, value in request.query.items() if key in listings.PAGING}
    query = listings.query(dataclasses.replace(request, query=params), "group_type")
    filters = {} if which == "none" or not request.caller.is_admin else {"is_public": boolean(which, "is_public")}
    return dataclasses.replace(query, project_id=None, filters=filters)


def create(request: Request) -> Reply:
    body = request.body["group_type"]
    row = group_types.create(
        request.site,
        name=body["name"],
        description=body.get("description"),
        is_public=boolean(body.get("is_public", True), "is_public"),
        group_specs=body.get("group_specs") or {},
    )
    return Reply(202, {"group_type": views.shown(request, row)})


def show(request: Request, id: str) -> Reply:
    with request.site.db.read() as tx:
        row = group_types.require(tx, request.caller, id)
    return Reply(200, {"group_type": views.shown(request, row)})


def update(request: Request, id: str) -> Reply:
    body = request.body["group_type"]
    values = {key: body[key] for key in ("name", "description", "is_public") if body.get(key) is not None}
    if not values:
        raise errors.Invalid("Specify group type name, description, is_public or a combination of them.")
    if "is_public" in values:
        values["is_public"] = boolean(values["is_public"], "is_public")
    row = group_types.update(request.site, request.caller, id, values)
    return Reply(200, {"group_type": views.shown(request, row)})


def delete(request: Request, id: str) -> Reply:
    group_types.delete(request.site, request.caller, id)
    return Reply(202)


# group specs ---------------------------------------------------------------------------------------------------------


def specs(request: Request, id: str) -> Reply:
    return Reply(200, {"group_specs": _specs(request, id)})


def spec(request: Request, id: str, key: str) -> Reply:
    found = _specs(request, id)
    if key not in found:
        raise errors.NotFound(f"Group type {id} has no group spec {key}.")
    return Reply(200, {key: found[key]})


def create_specs(request: Request, id: str) -> Reply:
    group_types.set_specs(request.site, request.caller, id, request.body["group_specs"])
    return Reply(202, {"group_specs": request.body["group_specs"]})


def update_spec(request: Request, id: str, key: str) -> Reply:
    if set(request.body) != {key}:
        raise errors.Invalid(f"The body must have the one key that the URL names, {key}.", field="group_specs")
    group_types.set_specs(request.site, request.caller, id, request.body)
    return Reply(200, request.body)


def delete_spec(request: Request, id: str, key: str) -> Reply:
    group_types.delete_spec(request.site, request.caller, id, key)
    return Reply(202)


def _specs(request: Request, id: str) -> dict[str, Any]:
    with request.site.db.read() as tx:
        return dict(group_types.require(tx, request.caller, id).group_specs)
