"""Rows that belong to a project: how they are written, and found by id."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from brickyard.core import clock
from brickyard.core.states import G
from brickyard.db import store
from brickyard.db.database import Row, Tx


def insert(tx: Tx, table: sa.Table, **values: Any) -> None:
    tx.execute(sa.insert(table), {"created_at": clock.stamp(), **values})


def find(tx: Tx, table: sa.Table, id: str, project_id: str | None, wide: sa.Select[Any] | None = None) -> Row | None:
    """One row; None if it is not there, or not the project's (None: any project's). `wide`: with what it is joined."""
    statement = (sa.select(table) if wide is None else wide).where(table.c.id == id)
    if project_id is not None:
        statement = statement.where(table.c.project_id == project_id)
    return tx.execute(statement).one_or_none()


def settle(tx: Tx, noun: str, table: sa.Table, id: str | None, members: sa.Select[Any]) -> None:
    """End what a whole waits for, if this was the last of its parts that was being created or deleted. Nothing for one
    that waits for nothing; None: the part is of no whole. `members` are the statuses of its parts."""
    if id is None:
        return
    store.hold(tx, noun, id)  # of several that end at the same time one is the last
    status = tx.scalar(sa.select(table.c.status).where(table.c.id == id))
    if status not in (G.CREATING, G.DELETING):
        return
    found = set(tx.scalars(members))
    if status == G.CREATING and G.CREATING not in found:
        store.end(tx, noun, id, "create", ok=G.ERROR not in found)
    elif status == G.DELETING and G.DELETING not in found:
        store.end(tx, noun, id, "delete", ok=not found)
