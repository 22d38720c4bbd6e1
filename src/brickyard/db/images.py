"""Images that instances boot from and volumes are made of. Their files lie in the image store, named by their hash."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from brickyard.core import clock
from brickyard.db import schema
from brickyard.db.database import Row, Tx

images = schema.images


def insert(tx: Tx, **values: Any) -> None:
    tx.execute(sa.insert(images).values(created_at=clock.stamp(), **values))


def find(tx: Tx, name_or_id: str, project_id: str | None = None) -> list[Row]:
    """By id, or else by name, which may be several; `project_id` None sees all, a project its own and the public."""
    for column in (images.c.id, images.c.name):
        if found := list(tx.execute(sa.select(images).where(column == name_or_id, _visible(project_id)))):
            return found
    return []


def list_(tx: Tx, project_id: str | None = None) -> list[Row]:
    return list(tx.execute(sa.select(images).where(_visible(project_id)).order_by(images.c.created_at, images.c.id)))


def update(tx: Tx, id: str, **values: Any) -> bool:
    done = tx.execute(sa.update(images).where(images.c.id == id).values(updated_at=clock.stamp(), **values))
    return done.rowcount == 1


def delete(tx: Tx, id: str) -> bool:
    return tx.execute(sa.delete(images).where(images.c.id == id)).rowcount == 1


def _visible(project_id: str | None) -> sa.ColumnElement[bool]:
    return sa.true() if project_id is None else sa.or_(images.c.is_public, images.c.project_id == project_id)
