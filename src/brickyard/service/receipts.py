"""Receipts: what administrators show to whoever asks whether deleted data is really gone."""

from __future__ import annotations

import contextlib

from brickyard.core import errors
from brickyard.db import hosts, receipts
from brickyard.db.database import Row
from brickyard.db.listing import Query
from brickyard.service.site import Site


def list_(
    site: Site, *, pool: str | None, brick_id: str | None, project: str | None, limit: int, marker: str | None
) -> list[Row]:
    """The newest first. `pool` is a name or an id; of a pool that is gone, the name."""
    filters = {"brick_id": brick_id, "project_id": project}
    with site.db.read() as tx:
        if pool is not None:
            filters["pool"] = pool
            with contextlib.suppress(errors.NotFound):
                filters["pool"] = hosts.require_pool(tx, pool).name
        given = {name: value for name, value in filters.items() if value is not None}
        return receipts.list_(tx, Query(project_id=None, filters=given, limit=limit, marker=marker))


def show(site: Site, id: str) -> Row:
    with site.db.read() as tx:
        row = receipts.find(tx, id)
    if row is None:
        raise errors.NotFound(f"Receipt {id} could not be found; list them by brick or project.")
    return row
