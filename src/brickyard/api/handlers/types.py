"""/types, with their extra specs and access"""

from __future__ import annotations

import dataclasses
from typing import Any

from brickyard.api import listings
from brickyard.api.handlers.kinds import Kinds
from brickyard.api.request import Reply, Request, boolean
from brickyard.api.views import types as views
from brickyard.db import types as rows
from brickyard.db.listing import Query
from brickyard.service import types


def index(request: Request) -> Reply:
    query, visible_to = _query(request)
    with request.site.db.read() as tx:
        found = rows.list_(tx, query, visible_to=visible_to) if _may_filter(request, query) else []
    return listings.reply(request, query, "volume_types", found, [views.shown(request, row) for row in found])


def _query(request: Request) -> tuple[Query, str | None]:
    """What to list, and whose types: without `is_public` the public ones and those that the project has access to."""
    caller, which = request.caller, request.query.get("is_public")
    params = {key: value for key, value in request.query.items() if key != "is_public"}
    if not request.since("3.52"):
        params = {key: value for key, value in params.items() if key in listings.PAGING}
    query = listings.query(dataclasses.replace(request, query=params), "volume_type")
    query = dataclasses.replace(query, project_id=None)
    if not caller.is_admin or which is None:
        return query, caller.project_id
    if which.strip().lower() == "none":
        return query, None
    if boolean(which, "is_public"):
        return query, caller.project_id
    return dataclasses.replace(query, filters={**query.filters, "is_public": False}), None


def _may_filter(request: Request, query: Query) -> bool:
    """Whether the caller may know the extra specs that the list is filtered by; if not, it finds nothing."""
    if request.allows("volume_extension:types_extra_specs:read_sensitive"):
        return True
    return set(query.filters.get("extra_specs", ())) <= types.VISIBLE_SPECS


def create(request: Request) -> Reply:
    body = request.body["volume_type"]
    row = types.create(
        request.site,
        name=body["name"],
        description=body.get("description"),
        is_public=boolean(body.get(views.ACCESS_KEY, True), views.ACCESS_KEY),
        extra_specs=body.get("extra_specs") or {},
    )
    return Reply(200, {"volume_type": views.created(request, row)})


def show(request: Request, id: str) -> Reply:
    with request.site.db.read() as tx:
        if id == "default":
            row = types.default(request.site, tx, request.caller)
        else:
            row = types.require(tx, request.caller, id)
    return Reply(200, {"volume_type": views.shown(request, row)})


def _specs(request: Request, id: str) -> dict[str, Any]:
    with request.site.db.read() as tx:
        row = types.require(tx, request.caller, id)
    return types.visible_specs(request.site, request.caller, row)


KINDS = Kinds("volume type", "volume_type", "extra_specs", types, views.updated, _specs, specs_status=200)


# access --------------------------------------------------------------------------------------------------------------


def access(request: Request, id: str) -> Reply:
    projects = types.projects(request.site, request.caller, id)
    return Reply(200, {"volume_type_access": [{"volume_type_id": id, "project_id": project} for project in projects]})


def add_access(request: Request, body: dict[str, Any], id: str) -> Reply:
    types.grant(request.site, request.caller, id, body["project"])
    return Reply(202)


def remove_access(request: Request, body: dict[str, Any], id: str) -> Reply:
    types.revoke(request.site, request.caller, id, body["project"])
    return Reply(202)
