"""/v1/reservations"""

from __future__ import annotations

from brickyard.api import own_queries
from brickyard.api.request import Reply, Request
from brickyard.api.views import own as views
from brickyard.service import reservations


def index(request: Request) -> Reply:
    """List what is reserved for the project; administrators: all_projects."""
    found = reservations.list_(request.site, own_queries.project(request))
    return Reply(200, {"reservations": [views.reservation(row) for row in found]})


def show(request: Request, id: str) -> Reply:
    """Show a reservation."""
    with request.site.db.read() as tx:
        row = reservations.require(tx, request.caller, id)
    return Reply(200, views.reservation(row))


def clear(request: Request, id: str) -> Reply:
    """Give back what a reservation holds."""
    reservations.clear(request.site, request.caller, id)
    return Reply(204)


def renew(request: Request, id: str) -> Reply:
    """Hold a reservation for the usual time from now."""
    return Reply(200, views.reservation(reservations.renew(request.site, request.caller, id)))
