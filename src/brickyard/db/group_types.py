"""Group types, and their specs."""

from __future__ import annotations

import uuid
from typing import Any

import sqlalchemy as sa

from brickyard.core import clock
from brickyard.db import database, listing, schema
from brickyard.db.database import Row, Tx

types = schema.group_types
RESERVED = "default_cgsnapshot_type"  # of consistency groups, which are groups under an older name
CONSISTENT = sa.select(types.c.id).where(types.c.name == RESERVED)


def insert(tx: Tx, **values: Any) -> None:
    tx.execute(sa.insert(types).values(created_at=clock.stamp(), **values))


def find(tx: Tx, name_or_id: str, *, private: bool) -> Row | None:
    """By id, or else by name; without `private` only a public one."""
    for column in (types.c.id, types.c.name):
        row = tx.execute(sa.select(types).where(column == name_or_id, _visible(private))).one_or_none()
        if row is not None:
            return row
    return None


def reserved(tx: Tx) -> Row:
    """The type of consistency groups; made when it is first needed, once, whoever else needs it at the same time."""
    row = find(tx, RESERVED, private=True)
    if row is None:
        specs = {"consistent_group_snapshot_enabled": "<is> True"}
        values = {"description": "Of consistency groups", "is_public": True, "group_specs": specs}
        id, now = str(uuid.uuid4()), clock.stamp()
        database.insert_or_leave(tx, types, id=id, name=RESERVED, created_at=now, **values)
        row = find(tx, RESERVED, private=True)
    assert row is not None  # nobody removes it
    return row


def is_reserved(tx: Tx, id: str) -> bool:
    return tx.scalar(CONSISTENT.where(types.c.id == id)) is not None


def list_(tx: Tx, query: listing.Query, *, private: bool) -> list[Row]:
    return listing.page(tx, sa.select(types).where(_visible(private)), types, query)


def update(tx: Tx, id: str, **values: Any) -> bool:
    return tx.execute(sa.update(types).where(types.c.id == id).values(updated_at=clock.stamp(), **values)).rowcount == 1


def delete(tx: Tx, id: str) -> bool:
    return tx.execute(sa.delete(types).where(types.c.id == id)).rowcount == 1


def in_use(tx: Tx, id: str) -> bool:
    return tx.scalar(sa.select(schema.groups.c.id).where(schema.groups.c.group_type_id == id).limit(1)) is not None


def _visible(private: bool) -> sa.ColumnElement[bool]:
    return sa.true() if private else types.c.is_public == sa.true()
