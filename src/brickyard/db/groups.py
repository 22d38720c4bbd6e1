"""Groups of volumes."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from brickyard.core import clock
from brickyard.db import group_types, listing, owned, schema
from brickyard.db.database import Row, Tx

groups, volumes = schema.groups, schema.volumes


def insert(tx: Tx, **values: Any) -> None:
    owned.insert(tx, groups, **values)


def find(tx: Tx, id: str, project_id: str | None = None) -> Row | None:
    """One group; None if it is not there, or not the project's (None: any project's)."""
    return owned.find(tx, groups, id, project_id)


def list_(tx: Tx, query: listing.Query, *, consistent: bool) -> list[Row]:
    """Those of consistency groups, or those of all others."""
    reserved = groups.c.group_type_id.in_(group_types.CONSISTENT)
    return listing.page(tx, sa.select(groups).where(reserved if consistent else ~reserved), groups, query)


def update(tx: Tx, id: str, **values: Any) -> bool:
    """Change anything but the status, which only store.py changes."""
    assert "status" not in values
    done = tx.execute(sa.update(groups).where(groups.c.id == id).values(updated_at=clock.stamp(), **values))
    return done.rowcount == 1


def pool_of(tx: Tx, id: str, *, but: str) -> str | None:
    """The name of the pool on which a group lies, if any of its volumes does; `but` is a volume that does not count."""
    statement = (
        sa.select(schema.pools.c.name)
        .join(volumes, volumes.c.pool_id == schema.pools.c.id)
        .where(volumes.c.group_id == id, volumes.c.id != but)
        .limit(1)
    )
    return tx.scalar(statement)


def has_snapshots(tx: Tx, id: str) -> bool:
    snapshots = schema.group_snapshots
    return tx.scalar(sa.select(snapshots.c.id).where(snapshots.c.group_id == id).limit(1)) is not None


def settle(tx: Tx, id: str | None) -> None:
    """End what a group waits for, if this was the last of its volumes that was being created or deleted."""
    owned.settle(tx, "group", groups, id, sa.select(volumes.c.status).where(volumes.c.group_id == id))
