"""Groups of volumes."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from brickyard.core import clock
from brickyard.core.states import G, V
from brickyard.db import listing, schema, store
from brickyard.db.database import Row, Tx

groups, volumes = schema.groups, schema.volumes


def insert(tx: Tx, **values: Any) -> None:
    tx.execute(sa.insert(groups), {"created_at": clock.stamp(), **values})


def find(tx: Tx, id: str, project_id: str | None = None) -> Row | None:
    """One group; None if it is not there, or not the project's (None: any project's)."""
    statement = sa.select(groups).where(groups.c.id == id)
    if project_id is not None:
        statement = statement.where(groups.c.project_id == project_id)
    return tx.execute(statement).one_or_none()


def list_(tx: Tx, query: listing.Query) -> list[Row]:
    return listing.page(tx, sa.select(groups), groups, query)


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
    """End what a group waits for, if this was the last of its volumes that was being created or deleted. Nothing for a
    group that waits for nothing; None: the volume is in no group."""
    if id is None:
        return
    store.hold(tx, "group", id)  # of several that end at the same time one is the last
    status = tx.scalar(sa.select(groups.c.status).where(groups.c.id == id))
    if status not in (G.CREATING, G.DELETING):
        return
    found = set(tx.scalars(sa.select(volumes.c.status).where(volumes.c.group_id == id)))
    if status == G.CREATING and V.CREATING not in found:
        store.end(tx, "group", id, "create", ok=V.ERROR not in found)
    elif status == G.DELETING and V.DELETING not in found:
        store.end(tx, "group", id, "delete", ok=not found)
