"""Flavors: what an instance may use, and the local storage that comes with it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from brickyard.core import clock
from brickyard.db import schema
from brickyard.db.database import Row, Tx

flavors = schema.flavors


def insert(tx: Tx, **values: Any) -> None:
    tx.execute(sa.insert(flavors).values(created_at=clock.stamp(), **values))


def find(tx: Tx, name_or_id: str) -> Row | None:
    for column in (flavors.c.id, flavors.c.name):
        if row := tx.execute(sa.select(flavors).where(column == name_or_id)).one_or_none():
            return row
    return None


def list_(tx: Tx) -> list[Row]:
    return list(tx.execute(sa.select(flavors).order_by(flavors.c.vcpus, flavors.c.memory_mib, flavors.c.name)))


def delete(tx: Tx, id: str) -> bool:
    return tx.execute(sa.delete(flavors).where(flavors.c.id == id)).rowcount == 1
