"""/v1/receipts"""

from __future__ import annotations

from brickyard.api import own_queries
from brickyard.api.request import Reply, Request
from brickyard.api.views import own as views
from brickyard.service import receipts


def index(request: Request) -> Reply:
    """List the receipts of deleted bricks, the newest first; by pool, by brick or by project."""
    most = request.site.settings.max_limit
    found = receipts.list_(
        request.site,
        pool=request.query.get("pool"),
        brick_id=request.query.get("brick_id"),
        project=request.query.get("project"),
        limit=own_queries.number(request.query, "limit", most, 1, most),
        marker=request.query.get("marker"),
    )
    return Reply(200, {"receipts": [views.receipt(row) for row in found]})


def show(request: Request, id: str) -> Reply:
    """Show a receipt: what was made unreadable, how, how that was verified, and when."""
    return Reply(200, views.receipt(receipts.show(request.site, id)))
