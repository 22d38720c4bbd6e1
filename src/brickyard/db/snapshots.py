"""Snapshots. The rows that leave here carry `host` (host@backend#pool) beside their own columns."""

from __future__ import annotations

import dataclasses
from typing import Any

import sqlalchemy as sa

from brickyard.core import clock
from brickyard.core.states import S
from brickyard.db import listing, owned, schema
from brickyard.db.database import Row, Tx

snapshots = schema.snapshots
WIDE = sa.select(snapshots, schema.pools.c.name.label("host")).outerjoin(
    schema.pools, schema.pools.c.id == snapshots.c.pool_id
)


def insert(tx: Tx, **values: Any) -> None:
    owned.insert(tx, snapshots, **values)


def find(tx: Tx, id: str, project_id: str | None = None) -> Row | None:
    """One snapshot; None if it is not there, or not the project's (None: any project's)."""
    return owned.find(tx, snapshots, id, project_id, WIDE)


def list_(tx: Tx, query: listing.Query) -> list[Row]:
    return listing.page(tx, WIDE, snapshots, _placed(query))


def count(tx: Tx, query: listing.Query) -> int:
    return int(listing.count(tx, snapshots, _placed(query)).total)


def _placed(query: listing.Query) -> listing.Query:
    """A snapshot is in the availability zone of its pool."""
    if "availability_zone" not in query.filters:
        return query
    filters = dict(query.filters)
    zone = filters.pop("availability_zone")
    pools, backends = schema.pools, schema.volume_backends
    there = sa.select(pools.c.id).join(backends, backends.c.id == pools.c.backend_id)
    there = listing.narrowed(there, backends, listing.Query(None, {"availability_zone": zone}))
    return dataclasses.replace(query, filters={**filters, "pool_id": there})


def update(tx: Tx, id: str, **values: Any) -> bool:
    """Change anything but the status, which only store.py changes."""
    assert "status" not in values
    done = tx.execute(sa.update(snapshots).where(snapshots.c.id == id).values(updated_at=clock.stamp(), **values))
    return done.rowcount == 1


def of_volume(tx: Tx, volume_id: str) -> list[Row]:
    """The newest first."""
    newest = (snapshots.c.created_at.desc(), snapshots.c.id.desc())
    return list(tx.execute(WIDE.where(snapshots.c.volume_id == volume_id).order_by(*newest)))


def of_group_snapshot(tx: Tx, group_snapshot_id: str) -> list[Row]:
    return list(tx.execute(WIDE.where(snapshots.c.group_snapshot_id == group_snapshot_id).order_by(snapshots.c.id)))


def is_being_kept(tx: Tx, volume_id: str) -> bool:
    """Whether a snapshot of a volume is being made that is one of a group snapshot."""
    mine = sa.and_(snapshots.c.volume_id == volume_id, snapshots.c.status == S.CREATING)
    kept = sa.select(snapshots.c.id).where(mine, snapshots.c.group_snapshot_id.is_not(None))
    return tx.scalar(kept.limit(1)) is not None


def on_pool(tx: Tx, pool_id: str) -> list[str]:
    """The ids of the snapshots on a pool."""
    return list(tx.scalars(sa.select(snapshots.c.id).where(snapshots.c.pool_id == pool_id)))
