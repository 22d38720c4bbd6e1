"""/v1/pools"""

from __future__ import annotations

from typing import Any

from brickyard.api.request import Reply, Request
from brickyard.api.views import own as views
from brickyard.core import clock, errors
from brickyard.db import hosts as rows
from brickyard.db import overviews
from brickyard.db.database import Row
from brickyard.service import audit, new_pools, pool_devices, pools

LISTS = ("devices", "wipe")


def index(request: Request) -> Reply:
    """List the pools, and the backends that have never worked with the reason."""
    found, silent, numbers, wiping = pools.list_(request.site)
    oldest = _oldest(request)
    shown = [views.pool(row, numbers.get(row.id, 0), wiping.get(row.id, 0), oldest) for row in found]
    shown += [views.silent_backend(row, oldest) for row in silent]
    return Reply(200, {"pools": sorted(shown, key=lambda pool: str(pool["name"]))})


def show(request: Request, name: str) -> Reply:
    """Show a pool, by id, host@backend#pool or host@backend."""
    with request.site.db.read() as tx:
        row = rows.require_pool(tx, name)
    return _shown(request, 200, row)


def create(request: Request) -> Reply:
    """Make a storage resource on a host: of a directory, of devices, or of a volume group that is there. 201 when it is
    new, 200 when it was there already, 409 with what was found when a device is not empty."""
    given: dict[str, Any] = {name: tuple(value) if name in LISTS else value for name, value in request.body.items()}
    row, new = pools.create(request.site, request.caller, new_pools.NewPool(**given))
    audit.take_over(request.site, request.caller, row)
    return _shown(request, 201 if new else 200, row)


def update(request: Request, name: str) -> Reply:
    """Let new volumes go to a pool, or not."""
    return _shown(request, 200, pools.update(request.site, name, **request.body))


def delete(request: Request, name: str) -> Reply:
    """Forget an empty pool that was made through the API. Its directory stays, and a volume group that was taken over;
    what was made of devices is taken apart."""
    pools.delete(request.site, request.caller, name)
    return Reply(204)


def extend(request: Request, name: str) -> Reply:
    """Add a device to a pool. A thin pool grows onto it, unless `grow` is false: then it is kept for a drain."""
    body = request.body
    wipe, grow = tuple(body.get("wipe", ())), body.get("grow", True)
    row = pool_devices.extend(request.site, request.caller, name, body["device"], wipe, grow=grow)
    return _shown(request, 200, row)


def drain(request: Request, name: str) -> Reply:
    """Move everything from a device of a pool to the others. Follow it by its flow_id: it may take hours."""
    return Reply(202, {"flow_id": pool_devices.drain(request.site, request.caller, name, request.body["device"])})


def remove(request: Request, name: str) -> Reply:
    """Take a drained device out of a pool."""
    device = request.query.get("device")
    if not device:
        raise errors.Invalid("device is missing; say which one: ?device=/dev/vdb.", field="device")
    return _shown(request, 200, pool_devices.remove(request.site, request.caller, name, device))


def _shown(request: Request, status: int, row: Row) -> Reply:
    with request.site.db.read() as tx:
        numbers, wiping = rows.volumes_per_pool(tx), overviews.deleting_gib(tx)
    shown = views.pool(row, numbers.get(row.id, 0), wiping.get(row.id, 0), _oldest(request))
    return Reply(status, shown)


def _oldest(request: Request) -> str:
    return clock.stamp(-request.site.settings.service_down_time_s)
