"""/attachments"""

from __future__ import annotations

from typing import Any

from brickyard.api import listings
from brickyard.api.request import Reply, Request
from brickyard.api.views import attachments as views
from brickyard.db import attachments as rows
from brickyard.service import attachments


def index(request: Request) -> Reply:
    return _list(request, views.brief)


def detail(request: Request) -> Reply:
    return _list(request, views.detailed)


def _list(request: Request, view: Any) -> Reply:
    query = listings.query(request, "attachment")
    with request.site.db.read() as tx:
        found = rows.list_(tx, query)
    return Reply(200, {"attachments": [view(row) for row in found]})


def show(request: Request, id: str) -> Reply:
    with request.site.db.read() as tx:
        row = attachments.require(tx, request.caller, id)
    return Reply(200, {"attachment": views.detailed(row)})


def create(request: Request) -> Reply:
    body = request.body["attachment"]
    row = attachments.create(
        request.site,
        request.caller,
        body["volume_uuid"],
        instance_uuid=body.get("instance_uuid"),
        connector=body.get("connector"),
        mode=body.get("mode"),
    )
    return Reply(200, {"attachment": views.detailed(row)})


def update(request: Request, id: str) -> Reply:
    row = attachments.update(request.site, request.caller, id, request.body["attachment"]["connector"])
    return Reply(200, {"attachment": views.detailed(row)})


def delete(request: Request, id: str) -> Reply:
    remaining = attachments.delete(request.site, request.caller, id)
    return Reply(200, {"attachments": [views.brief(row) for row in remaining]})


def complete(request: Request, value: Any, id: str) -> Reply:
    attachments.complete(request.site, request.caller, id)
    return Reply(204)
