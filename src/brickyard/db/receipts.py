"""Receipts: that the content of a deleted brick can no longer be read, and how that was made sure."""

from __future__ import annotations

import uuid
from typing import Any

import sqlalchemy as sa

from brickyard.core import clock
from brickyard.db import listing, schema
from brickyard.db.database import Row, Tx

receipts = schema.receipts


def insert(tx: Tx, *, flow_id: str, pool: str, name: str, finished_at: str, **values: Any) -> bool:
    """Keep a receipt; False when the flow has kept this one already."""
    same = sa.and_(
        receipts.c.flow_id == flow_id,
        receipts.c.pool == pool,
        receipts.c.name == name,
        receipts.c.finished_at == finished_at,
    )
    if tx.scalar(sa.select(receipts.c.id).where(same)) is not None:
        return False
    key = {"flow_id": flow_id, "pool": pool, "name": name, "finished_at": finished_at}
    tx.execute(sa.insert(receipts).values(id=str(uuid.uuid4()), created_at=clock.stamp(), **key, **values))
    return True


def forget(tx: Tx, before: str, limit: int) -> int:
    """Remove the oldest of those that were made before a time, so many at the most; the number removed."""
    made_at = receipts.c.created_at
    old = sa.select(receipts.c.id).where(made_at < before).order_by(made_at, receipts.c.id).limit(limit)
    return tx.execute(sa.delete(receipts).where(receipts.c.id.in_(list(tx.scalars(old))))).rowcount


def find(tx: Tx, id: str) -> Row | None:
    return tx.execute(sa.select(receipts).where(receipts.c.id == id)).one_or_none()


def list_(tx: Tx, query: listing.Query) -> list[Row]:
    return listing.page(tx, sa.select(receipts), receipts, query)
