"""/consistencygroups: groups of the reserved type, under the name that they had before there were groups"""

from __future__ import annotations

from typing import Any

from brickyard.api import listings
from brickyard.api.handlers.groups import change, made_from, words
from brickyard.api.handlers.volumes import stripped
from brickyard.api.request import Reply, Request, boolean
from brickyard.api.views import consistencygroups as views
from brickyard.core import errors
from brickyard.db import groups as rows
from brickyard.db.database import Row
from brickyard.service import grouping, groups


def index(request: Request) -> Reply:
    return _list(request, views.brief)


def detail(request: Request) -> Reply:
    return _list(request, views.detailed)


def _list(request: Request, view: Any) -> Reply:
    query = listings.query(request, "consistencygroup")
    with request.site.db.read() as tx:
        found = rows.list_(tx, query, consistent=True)
    return listings.reply(request, query, "consistencygroups", found, [view(row) for row in found])


def show(request: Request, id: str) -> Reply:
    with request.site.db.read() as tx:
        row = grouping.found(tx, request.caller, id, consistent=True)
    request.check("group:get", row.project_id)
    return Reply(200, {"consistencygroup": views.detailed(row)})


def create(request: Request) -> Reply:
    body = request.body["consistencygroup"]
    types = words(body["volume_types"])
    if not types:
        raise errors.Invalid("Name the volume types of the consistency group.", field="volume_types")
    new = groups.NewGroup(
        group_type=None,
        volume_types=types,
        name=stripped(body, "name", "name"),
        description=stripped(body, "description", "description"),
        availability_zone=body.get("availability_zone"),
    )
    return _made(groups.create(request.site, request.caller, new))


def create_from_src(request: Request) -> Reply:
    body = request.body["consistencygroup-from-src"]
    return _made(made_from(request, body, "cgsnapshot_id", "source_cgid", consistent=True))


def _made(row: Row) -> Reply:
    return Reply(202, {"consistencygroup": views.brief(row)})


def update(request: Request, id: str) -> Reply:
    change(request, id, request.body["consistencygroup"], blank=request.since("3.6"), consistent=True)
    return Reply(202)


def delete(request: Request, id: str) -> Reply:
    """The key has an underscore in requests of openstacksdk."""
    body = request.body.get("consistencygroup") or request.body.get("consistency_group") or {}
    force = boolean(body.get("force", False), "force")
    groups.delete(request.site, request.caller, id, with_volumes=force, consistent=True)
    return Reply(202)
