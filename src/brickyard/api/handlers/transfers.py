"""/os-volume-transfer and /volume-transfers, which are the same"""

from __future__ import annotations

import dataclasses
from typing import Any

from brickyard.api import listings
from brickyard.api.handlers.volumes import stripped
from brickyard.api.request import Reply, Request, boolean
from brickyard.api.views import transfers as views
from brickyard.db import transfers as rows
from brickyard.service import transfers


def index(request: Request) -> Reply:
    return _list(request, views.brief)


def detail(request: Request) -> Reply:
    return _list(request, views.detailed)


def _list(request: Request, view: Any) -> Reply:
    """Since 3.59 in pages and sorted; before, all that match."""
    paged = request.since("3.59")
    unpaged = {k: v for k, v in request.query.items() if k == "all_tenants" or k not in listings.PAGING}
    asked = request.query if paged else unpaged
    query = listings.query(dataclasses.replace(request, query=asked), "transfer")
    with request.site.db.read() as tx:
        found = rows.list_(tx, query)
    shown = [view(request, row) for row in found]
    return listings.reply(request, query, "transfers", found, shown) if paged else Reply(200, {"transfers": shown})


def create(request: Request) -> Reply:
    body = request.body["transfer"]
    row, key = transfers.create(
        request.site,
        request.caller,
        body["volume_id"],
        name=stripped(body, "name", "name"),
        no_snapshots=boolean(body.get("no_snapshots", False), "no_snapshots"),
    )
    return Reply(202, {"transfer": views.created(request, row, key)})


def show(request: Request, id: str) -> Reply:
    with request.site.db.read() as tx:
        row = transfers.require(tx, request.caller, id)
    request.check("volume:get_transfer", row.project_id)
    return Reply(200, {"transfer": views.detailed(request, row)})


def delete(request: Request, id: str) -> Reply:
    transfers.delete(request.site, request.caller, id)
    return Reply(202)


def accept(request: Request, id: str) -> Reply:
    row = transfers.accept(request.site, request.caller, id, request.body["accept"]["auth_key"])
    return Reply(202, {"transfer": views.brief(request, row)})
