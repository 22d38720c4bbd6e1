"""/group_snapshots"""

from __future__ import annotations

import dataclasses
from typing import Any

from brickyard.api import listings
from brickyard.api.handlers.volumes import stripped
from brickyard.api.request import Reply, Request
from brickyard.api.views import group_snapshots as views
from brickyard.db import group_snapshots as rows
from brickyard.service import group_snapshots


def index(request: Request) -> Reply:
    return _list(request, views.brief)


def detail(request: Request) -> Reply:
    return _list(request, lambda row: views.detailed(request, row))


def _list(request: Request, view: Any) -> Reply:
    if not request.since("3.29"):  # no filters, no order and no pages before that
        params = {key: value for key, value in request.query.items() if key == "all_tenants"}
        request = dataclasses.replace(request, query=params)
    query = listings.query(request, "group_snapshot")
    with request.site.db.read() as tx:
        found = rows.list_(tx, query, consistent=False)
    return listings.reply(request, query, "group_snapshots", found, [view(row) for row in found])


def show(request: Request, id: str) -> Reply:
    with request.site.db.read() as tx:
        row = group_snapshots.require(tx, request.caller, id)
    request.check("group:get_group_snapshot", row.project_id)
    return Reply(200, {"group_snapshot": views.detailed(request, row)})


def create(request: Request) -> Reply:
    body = request.body["group_snapshot"]
    row = group_snapshots.create(
        request.site,
        request.caller,
        body["group_id"],
        name=stripped(body, "name", "name"),
        description=stripped(body, "description", "description"),
    )
    return Reply(202, {"group_snapshot": views.created(row)})


def delete(request: Request, id: str) -> Reply:
    group_snapshots.delete(request.site, request.caller, id)
    return Reply(202)


def reset_status(request: Request, value: Any, id: str) -> Reply:
    group_snapshots.reset(request.site, request.caller, id, value["status"])
    return Reply(202)
