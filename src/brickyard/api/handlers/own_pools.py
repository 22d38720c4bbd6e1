"""/v1/pools"""

from __future__ import annotations

from brickyard.api.request import Reply, Request
from brickyard.api.views import own as views
from brickyard.db import hosts as rows
from brickyard.service import pools


def index(request: Request) -> Reply:
    """List the pools, and the backends that have never worked with the reason."""
    found, silent, numbers = pools.list_(request.site)
    shown = [views.pool(row, numbers.get(row.id, 0)) for row in found]
    shown += [views.silent_backend(row) for row in silent]
    return Reply(200, {"pools": sorted(shown, key=lambda pool: str(pool["name"]))})


def show(request: Request, name: str) -> Reply:
    """Show a pool, by id, host@backend#pool or host@backend."""
    with request.site.db.read() as tx:
        row = pools.require(tx, name)
        numbers = rows.volumes_per_pool(tx)
    return Reply(200, views.pool(row, numbers.get(row.id, 0)))


def create(request: Request) -> Reply:
    """Make a storage resource on a host. 201 when it is new, 200 when it was there already."""
    row, new = pools.create(request.site, pools.NewPool(**request.body))
    return Reply(201 if new else 200, views.pool(row, 0))


def update(request: Request, name: str) -> Reply:
    """Let new volumes go to a pool, or not."""
    row = pools.update(request.site, name, **request.body)
    with request.site.db.read() as tx:
        numbers = rows.volumes_per_pool(tx)
    return Reply(200, views.pool(row, numbers.get(row.id, 0)))


def delete(request: Request, name: str) -> Reply:
    """Forget an empty pool that was made through the API. Its directory stays."""
    pools.delete(request.site, name)
    return Reply(204)
