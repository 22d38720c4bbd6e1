"""Encryption that volume types ask for; one at most for a type."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from brickyard.core import clock
from brickyard.db import schema
from brickyard.db.database import Row, Tx

encryptions = schema.encryptions
OF_TYPE = sa.select(encryptions).where(encryptions.c.volume_type_id == sa.bindparam("type"))
_TYPE = sa.select(schema.volume_types.c.id).where(schema.volume_types.c.id == sa.bindparam("type"))
SHARED, ALONE = _TYPE.with_for_update(read=True), _TYPE.with_for_update()


def of_type(tx: Tx, type_id: str, *, hold: bool = False) -> Row | None:
    """What volumes of the type must be; with `hold` that stays so until the transaction ends, which makes one."""
    if hold and tx.dialect.name != "sqlite":
        tx.execute(SHARED, {"type": type_id})
    return tx.execute(OF_TYPE, {"type": type_id}).one_or_none()


def hold_type(tx: Tx, type_id: str) -> None:
    """Until the transaction ends nobody makes a volume of the type."""
    tx.execute(ALONE, {"type": type_id})


def insert(tx: Tx, **values: Any) -> None:
    tx.execute(sa.insert(encryptions).values(created_at=clock.stamp(), **values))


def update(tx: Tx, id: str, **values: Any) -> None:
    tx.execute(sa.update(encryptions).where(encryptions.c.id == id).values(updated_at=clock.stamp(), **values))


def delete(tx: Tx, id: str) -> None:
    tx.execute(sa.delete(encryptions).where(encryptions.c.id == id))
