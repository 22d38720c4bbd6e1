"""/group_types, with their specs"""

from __future__ import annotations

import dataclasses
from typing import Any

from brickyard.api import listings
from brickyard.api.handlers.kinds import Kinds
from brickyard.api.request import Reply, Request, boolean
from brickyard.api.views import group_types as views
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


def _specs(request: Request, id: str) -> dict[str, Any]:
    with request.site.db.read() as tx:
        return dict(group_types.require(tx, request.caller, id).group_specs)


KINDS = Kinds("group type", "group_type", "group_specs", group_types, views.shown, _specs, specs_status=202)
