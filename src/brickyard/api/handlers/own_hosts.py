"""/v1/hosts"""

from __future__ import annotations

from brickyard.api.request import Reply, Request
from brickyard.api.views import own as views
from brickyard.core import clock
from brickyard.db.database import Row
from brickyard.service import hosts


def index(request: Request) -> Reply:
    """List the hosts."""
    return Reply(200, {"hosts": [_shown(request, row) for row in hosts.list_(request.site)]})


def show(request: Request, name: str) -> Reply:
    """Show a host, by name or id."""
    with request.site.db.read() as tx:
        row = hosts.require(tx, name)
    return Reply(200, _shown(request, row))


def update(request: Request, name: str) -> Reply:
    """Change the labels of a host, or whether new work may go there."""
    return Reply(200, _shown(request, hosts.update(request.site, name, **request.body)))


def devices(request: Request, name: str) -> Reply:
    """List the disks of a host: their serials and sizes, what is on them, and which pool has them."""
    host, found = hosts.devices(request.site, name)
    return Reply(200, {"devices": [views.disk(disk, host) for disk in found]})


def _shown(request: Request, row: Row) -> dict[str, object]:
    oldest = clock.stamp(-request.site.settings.service_down_time_s)
    return views.host(row, hosts.up(row, oldest))
