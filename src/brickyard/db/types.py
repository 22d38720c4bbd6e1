"""Volume types, their extra specs and who may see the private ones."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from brickyard.core import clock
from brickyard.db import listing, schema
from brickyard.db.database import Row, Tx

types, access = schema.volume_types, schema.volume_type_access


def insert(tx: Tx, **values: Any) -> None:
    tx.execute(sa.insert(types).values(created_at=clock.stamp(), **values))


def find(tx: Tx, name_or_id: str, project_id: str | None = None) -> Row | None:
    """By id, or else by name; `project_id` None sees all, a project the public ones and those it has access to."""
    for column in (types.c.id, types.c.name):
        row = tx.execute(sa.select(types).where(column == name_or_id, visible(project_id))).one_or_none()
        if row is not None:
            return row
    return None


def list_(tx: Tx, query: listing.Query, *, visible_to: str | None) -> list[Row]:
    """A page of types; `visible_to` None: all of them."""
    return listing.page(tx, sa.select(types).where(visible(visible_to)), types, query)


def update(tx: Tx, id: str, **values: Any) -> bool:
    return tx.execute(sa.update(types).where(types.c.id == id).values(updated_at=clock.stamp(), **values)).rowcount == 1


def delete(tx: Tx, id: str) -> bool:
    return tx.execute(sa.delete(types).where(types.c.id == id)).rowcount == 1


def in_use(tx: Tx, id: str) -> bool:
    return tx.scalar(sa.select(schema.volumes.c.id).where(schema.volumes.c.volume_type_id == id).limit(1)) is not None


def grant(tx: Tx, id: str, project_id: str) -> None:
    tx.execute(sa.insert(access).values(volume_type_id=id, project_id=project_id))


def revoke(tx: Tx, id: str, project_id: str) -> bool:
    where = sa.and_(access.c.volume_type_id == id, access.c.project_id == project_id)
    return tx.execute(sa.delete(access).where(where)).rowcount == 1


def projects(tx: Tx, id: str) -> list[str]:
    return list(tx.scalars(sa.select(access.c.project_id).where(access.c.volume_type_id == id)))


def visible(project_id: str | None) -> sa.ColumnElement[bool]:
    if project_id is None:
        return sa.true()
    granted = sa.select(access.c.volume_type_id).where(access.c.project_id == project_id)
    return sa.or_(types.c.is_public, types.c.id.in_(granted))
