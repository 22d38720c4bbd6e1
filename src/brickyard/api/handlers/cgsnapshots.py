"""/cgsnapshots: snapshots of consistency groups"""

from __future__ import annotations

from typing import Any

from brickyard.api import listings
from brickyard.api.handlers.volumes import stripped
from brickyard.api.request import Reply, Request
from brickyard.api.views import cgsnapshots as views
from brickyard.db import group_snapshots as rows
from brickyard.service import group_snapshots


def index(request: Request) -> Reply:
    return _list(request, views.brief)


def detail(request: Request) -> Reply:
    return _list(request, views.detailed)


def _list(request: Request, view: Any) -> Reply:
    query = listings.query(request, "cgsnapshot")
    with request.site.db.read() as tx:
        found = rows.list_(tx, query, consistent=True)
    return listings.reply(request, query, "cgsnapshots", found, [view(row) for row in found])


def show(request: Request, id: str) -> Reply:
    with request.site.db.read() as tx:
        row = group_snapshots.require(tx, request.caller, id, consistent=True)
    request.check("group:get_group_snapshot", row.project_id)
    return Reply(200, {"cgsnapshot": views.detailed(row)})


def create(request: Request) -> Reply:
    body = request.body["cgsnapshot"]
    row = group_snapshots.create(
        request.site,
        request.caller,
        body["consistencygroup_id"],
        name=stripped(body, "name", "name"),
        description=stripped(body, "description", "description"),
        consistent=True,
    )
    return Reply(202, {"cgsnapshot": views.brief(row)})


def delete(request: Request, id: str) -> Reply:
    group_snapshots.delete(request.site, request.caller, id, consistent=True)
    return Reply(202)
