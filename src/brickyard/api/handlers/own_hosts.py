"""/v1/hosts"""

from __future__ import annotations

from brickyard.api.request import Reply, Request
from brickyard.api.views import own as views
from brickyard.api.views import own_drains as views_of_drain
from brickyard.api.views import own_losses as views_of_loss
from brickyard.core import clock
from brickyard.db.database import Row
from brickyard.service import drains, hosts, lost_hosts


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


def loss(request: Request, name: str) -> Reply:
    """Show what is only on a host, and what would become of it if the host was lost. Nothing changes."""
    return Reply(200, views_of_loss.loss(lost_hosts.look(request.site, name)))


def lose(request: Request, name: str) -> Reply:
    """Declare a host lost; with `data_lost` what lies there is given up for good. `confirm`, the name of the host once
    more, is needed for that, and while the host is up. Follow it by its flow_id."""
    body = request.body
    data_lost, confirm = body.get("data_lost", False), body.get("confirm")
    id = lost_hosts.lose(request.site, request.caller, name, data_lost=data_lost, confirm=confirm)
    return Reply(202, {"flow_id": id})


def back(request: Request, name: str) -> Reply:
    """Look at a host that was lost and is back, or again at what was not found there. Follow it by its flow_id."""
    return Reply(202, {"flow_id": lost_hosts.take_back(request.site, request.caller, name)})


def drained(request: Request, name: str) -> Reply:
    """Show where the volumes of a host would go, or how far it is drained, and what stays. Nothing changes."""
    return Reply(200, views_of_drain.drain(drains.look(request.site, name)))


def drain(request: Request, name: str) -> Reply:
    """Move the volumes of a host to others, `parallel` at a time; nothing new goes there. Follow it by its flow_id.
    What cannot move stays; a repeat goes on with that."""
    id = drains.start(request.site, request.caller, name, request.body.get("parallel", drains.PARALLEL))
    return Reply(202, {"flow_id": id})


def end_drain(request: Request, name: str) -> Reply:
    """Begin no more moves. Those that have begun go on to their end; the host stays disabled."""
    return Reply(202, {"flow_id": drains.cancel(request.site, name)})


def _shown(request: Request, row: Row) -> dict[str, object]:
    oldest = clock.stamp(-request.site.settings.service_down_time_s)
    return views.host(row, hosts.up(row, oldest))
