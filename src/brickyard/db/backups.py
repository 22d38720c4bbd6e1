"""Backups. The rows that leave here carry `has_dependents` beside their own columns."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from brickyard.core import clock
from brickyard.core.states import B, V
from brickyard.db import listing, schema
from brickyard.db.database import Row, Tx

backups = schema.backups
_later = backups.alias("later")
WHOLE = (B.AVAILABLE, B.RESTORING)  # all of it is there
HAS_DEPENDENTS = sa.exists(sa.select(_later.c.id).where(_later.c.parent_id == backups.c.id))
WIDE = sa.select(backups, HAS_DEPENDENTS.label("has_dependents"))


def insert(tx: Tx, **values: Any) -> None:
    tx.execute(sa.insert(backups).values(created_at=clock.stamp(), **values))


def of_volume(volume: Row) -> dict[str, Any]:
    """What a backup keeps of the row of its volume; what it is restored to has these values then."""
    return {
        "metadata": volume.metadata,
        "image_metadata": volume.image_metadata,
        "bootable": bool(volume.bootable),
    }


def find(tx: Tx, id: str, project_id: str | None = None) -> Row | None:
    """One backup; None if it is not there, or not the project's (None: any project's)."""
    statement = WIDE.where(backups.c.id == id)
    if project_id is not None:
        statement = statement.where(backups.c.project_id == project_id)
    return tx.execute(statement).one_or_none()


def list_(tx: Tx, query: listing.Query) -> list[Row]:
    return listing.page(tx, WIDE, backups, query)


def count(tx: Tx, query: listing.Query) -> int:
    return int(listing.count(tx, backups, query).total)


def update(tx: Tx, id: str, **values: Any) -> bool:
    """Change anything but the status, which only store.py changes."""
    assert "status" not in values
    done = tx.execute(sa.update(backups).where(backups.c.id == id).values(updated_at=clock.stamp(), **values))
    return done.rowcount == 1


def remove_cancelled(tx: Tx, id: str) -> bool:
    """Remove a backup that was not to be made any more, and of which nothing is left."""
    cancelled = sa.and_(backups.c.id == id, backups.c.cancelled, backups.c.status == B.ERROR)
    return tx.execute(sa.delete(backups).where(cancelled)).rowcount == 1


def base_of(tx: Tx, volume_id: str, project_id: str, place: str, at: str) -> Row | None:
    """What a new incremental backup of that moment is compared with: the latest one that is no younger."""
    mine = sa.and_(backups.c.volume_id == volume_id, backups.c.project_id == project_id, backups.c.place == place)
    whole = sa.and_(backups.c.status.in_(WHOLE), backups.c.data_timestamp <= at)
    newest = (backups.c.data_timestamp.desc(), backups.c.created_at.desc(), backups.c.id.desc())
    return tx.execute(WIDE.where(mine, whole).order_by(*newest).limit(1)).one_or_none()


def not_a_source(id: str) -> sa.ColumnElement[bool]:
    """No volume is being created from the backup: it must stay until that is done."""
    volumes = schema.volumes
    return ~sa.exists(sa.select(volumes.c.id).where(volumes.c.status == V.CREATING, volumes.c.backup_id == id))
