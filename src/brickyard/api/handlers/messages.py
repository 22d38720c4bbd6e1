"""/messages"""

from __future__ import annotations

from brickyard.api import listings
from brickyard.api.request import Reply, Request
from brickyard.api.views import messages as views
from brickyard.db import listing
from brickyard.db import messages as rows
from brickyard.service import messages


def index(request: Request) -> Reply:
    """Since 3.5 in pages, sorted and filtered; before, all of them."""
    paged = request.since("3.5")
    query = listings.query(request, "message") if paged else listing.Query(request.caller.project_id)
    with request.site.db.read() as tx:
        found = rows.list_(tx, query, operators=request.caller.is_admin)
    shown = [views.full(request, row) for row in found]
    if not paged:
        return Reply(200, {"messages": shown})
    return listings.reply(request, query, "messages", found, shown)


def show(request: Request, id: str) -> Reply:
    with request.site.db.read() as tx:
        row = messages.require(tx, request.caller, id)
    request.check("message:get", row.project_id)
    return Reply(200, {"message": views.full(request, row)})


def delete(request: Request, id: str) -> Reply:
    messages.delete(request.site, request.caller, id)
    return Reply(204)
