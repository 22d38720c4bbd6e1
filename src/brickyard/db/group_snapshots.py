"""Snapshots of groups: one row each, and a snapshot of every volume that was in the group."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from brickyard.db import group_types, listing, owned, schema
from brickyard.db.database import Row, Tx

group_snapshots, snapshots = schema.group_snapshots, schema.snapshots


def insert(tx: Tx, **values: Any) -> None:
    owned.insert(tx, group_snapshots, **values)


def find(tx: Tx, id: str, project_id: str | None = None) -> Row | None:
    """One group snapshot; None if it is not there, or not the project's (None: any project's)."""
    return owned.find(tx, group_snapshots, id, project_id)


def list_(tx: Tx, query: listing.Query, *, consistent: bool) -> list[Row]:
    """Those of consistency groups, or those of all others."""
    reserved = group_snapshots.c.group_type_id.in_(group_types.CONSISTENT)
    return listing.page(
        tx, sa.select(group_snapshots).where(reserved if consistent else ~reserved), group_snapshots, query
    )


def settle(tx: Tx, id: str | None) -> None:
    """End what a group snapshot waits for, if this was the last of its snapshots that was being created or deleted."""
    members = sa.select(snapshots.c.status).where(snapshots.c.group_snapshot_id == id)
    owned.settle(tx, "group_snapshot", group_snapshots, id, members)
