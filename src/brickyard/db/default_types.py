"""The volume types of projects' requests that name none."""

from __future__ import annotations

import sqlalchemy as sa

from brickyard.db import schema
from brickyard.db.database import Row, Tx

defaults = schema.default_types
OF_PROJECT = sa.select(defaults).where(defaults.c.project_id == sa.bindparam("project"))


def find(tx: Tx, project_id: str) -> Row | None:
    return tx.execute(OF_PROJECT, {"project": project_id}).one_or_none()


def list_(tx: Tx) -> list[Row]:
    return list(tx.execute(sa.select(defaults).order_by(defaults.c.project_id)))


def projects_of(tx: Tx, type_id: str) -> list[str]:
    """The projects whose default a type is."""
    return list(tx.scalars(sa.select(defaults.c.project_id).where(defaults.c.volume_type_id == type_id)))


def put(tx: Tx, project_id: str, type_id: str) -> None:
    statement = sa.update(defaults).where(defaults.c.project_id == project_id)
    if tx.execute(statement.values(volume_type_id=type_id)).rowcount == 0:
        tx.execute(sa.insert(defaults).values(project_id=project_id, volume_type_id=type_id))


def delete(tx: Tx, project_id: str) -> None:
    tx.execute(sa.delete(defaults).where(defaults.c.project_id == project_id))
