"""Snapshots of groups: one row each, and a snapshot of every volume that was in the group."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from brickyard.core import clock
from brickyard.core.states import G, S
from brickyard.db import listing, schema, store
from brickyard.db.database import Row, Tx

group_snapshots, snapshots = schema.group_snapshots, schema.snapshots


def insert(tx: Tx, **values: Any) -> None:
    tx.execute(sa.insert(group_snapshots), {"created_at": clock.stamp(), **values})


def find(tx: Tx, id: str, project_id: str | None = None) -> Row | None:
    """One group snapshot; None if it is not there, or not the project's (None: any project's)."""
    statement = sa.select(group_snapshots).where(group_snapshots.c.id == id)
    if project_id is not None:
        statement = statement.where(group_snapshots.c.project_id == project_id)
    return tx.execute(statement).one_or_none()


def list_(tx: Tx, query: listing.Query) -> list[Row]:
    return listing.page(tx, sa.select(group_snapshots), group_snapshots, query)


def settle(tx: Tx, id: str | None) -> None:
    """End what a group snapshot waits for, if this was the last of its snapshots that was being created or deleted;
    None: the snapshot is of no group."""
    if id is None:
        return
    store.hold(tx, "group_snapshot", id)  # of several that end at the same time one is the last
    status = tx.scalar(sa.select(group_snapshots.c.status).where(group_snapshots.c.id == id))
    if status not in (G.CREATING, G.DELETING):
        return
    found = set(tx.scalars(sa.select(snapshots.c.status).where(snapshots.c.group_snapshot_id == id)))
    if status == G.CREATING and S.CREATING not in found:
        store.end(tx, "group_snapshot", id, "create", ok=S.ERROR not in found)
    elif status == G.DELETING and S.DELETING not in found:
        store.end(tx, "group_snapshot", id, "delete", ok=not found)
