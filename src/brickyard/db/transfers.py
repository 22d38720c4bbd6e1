"""Transfers: volumes that a project offers to whoever has the key. Salt and hash of the key leave here by `find` only,
and nobody can sort or filter by them."""

from __future__ import annotations

from typing import Any, cast

import sqlalchemy as sa

from brickyard.db import listing, owned, schema
from brickyard.db.database import Row, Tx

transfers = schema.transfers
SECRET = ("salt", "key_hash")
SHOWN = cast(sa.Table, sa.select(*(c for c in transfers.c if c.name not in SECRET)).subquery("shown"))


def insert(tx: Tx, **values: Any) -> None:
    owned.insert(tx, transfers, **values)


def find(tx: Tx, id: str, project_id: str | None = None) -> Row | None:
    """One transfer; None if it is not there, or not offered by the project (None: by any)."""
    return owned.find(tx, transfers, id, project_id)


def list_(tx: Tx, query: listing.Query) -> list[Row]:
    return listing.page(tx, sa.select(SHOWN), SHOWN, query)


def delete(tx: Tx, id: str) -> bool:
    return tx.execute(sa.delete(transfers).where(transfers.c.id == id)).rowcount == 1


def forget_volume(tx: Tx, volume_id: str) -> None:
    """What was offered before, of a volume whose status an administrator has set by hand."""
    tx.execute(sa.delete(transfers).where(transfers.c.volume_id == volume_id))
