"""/v1/flavors"""

from __future__ import annotations

from brickyard.api.request import Reply, Request
from brickyard.api.views import own as views
from brickyard.service import flavors


def index(request: Request) -> Reply:
    """List the flavors, the smallest first."""
    return Reply(200, {"flavors": [views.flavor(row) for row in flavors.list_(request.site)]})


def show(request: Request, name: str) -> Reply:
    """Show a flavor, by name or id."""
    with request.site.db.read() as tx:
        row = flavors.require(tx, name)
    return Reply(200, views.flavor(row))


def create(request: Request) -> Reply:
    """Create a flavor. With local_storage_gb, every instance of it gets such a volume unless it asks for another."""
    return Reply(201, views.flavor(flavors.create(request.site, flavors.NewFlavor(**request.body))))


def delete(request: Request, name: str) -> Reply:
    """Delete a flavor. Its instances stay as they are."""
    flavors.delete(request.site, name)
    return Reply(204)
