"""QoS specs, and the volume types that have them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from brickyard.core import clock
from brickyard.db import listing, schema
from brickyard.db.database import Row, Tx

qos, types = schema.qos_specs, schema.volume_types
OF_TYPE = sa.select(qos).join(types, types.c.qos_specs_id == qos.c.id).where(types.c.id == sa.bindparam("type"))


def insert(tx: Tx, **values: Any) -> None:
    tx.execute(sa.insert(qos).values(created_at=clock.stamp(), **values))


def find(tx: Tx, id: str) -> Row | None:
    return tx.execute(sa.select(qos).where(qos.c.id == id)).one_or_none()


def is_taken(tx: Tx, name: str) -> bool:
    return tx.scalar(sa.select(qos.c.id).where(qos.c.name == name)) is not None


def of_type(tx: Tx, type_id: str) -> Row | None:
    """What volumes of a type are promised; None where that is nothing."""
    return tx.execute(OF_TYPE, {"type": type_id}).one_or_none()


def list_(tx: Tx, query: listing.Query) -> list[Row]:
    return listing.page(tx, sa.select(qos), qos, query)


def hold(tx: Tx, id: str) -> Row | None:
    """As `find`, and nobody else changes it or its types until the transaction ends."""
    return tx.execute(sa.select(qos).where(qos.c.id == id).with_for_update()).one_or_none()


def update(tx: Tx, id: str, **values: Any) -> None:
    tx.execute(sa.update(qos).where(qos.c.id == id).values(updated_at=clock.stamp(), **values))


def delete(tx: Tx, id: str) -> None:
    tx.execute(sa.delete(qos).where(qos.c.id == id))


def types_of(tx: Tx, id: str) -> list[Row]:
    """The volume types that have it, by name."""
    return list(tx.execute(sa.select(types).where(types.c.qos_specs_id == id).order_by(types.c.name)))


def give(tx: Tx, id: str, type_id: str) -> bool:
    """Let a type have it; False when it has others."""
    free = sa.or_(types.c.qos_specs_id.is_(None), types.c.qos_specs_id == id)
    statement = sa.update(types).where(types.c.id == type_id, free)
    return tx.execute(statement.values(qos_specs_id=id, updated_at=clock.stamp())).rowcount == 1


def take(tx: Tx, id: str, type_id: str | None = None) -> int:
    """Take it from a type, or from all; from how many."""
    statement = sa.update(types).where(types.c.qos_specs_id == id)
    if type_id is not None:
        statement = statement.where(types.c.id == type_id)
    return tx.execute(statement.values(qos_specs_id=None, updated_at=clock.stamp())).rowcount
