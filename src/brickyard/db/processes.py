"""Processes of the control plane that share a database: which there are, and when each was last there."""

from __future__ import annotations

import sqlalchemy as sa

from brickyard.core import clock
from brickyard.db import schema
from brickyard.db.database import Row, Tx

processes = schema.processes


def beat(tx: Tx, id: str, binary: str, host: str) -> None:
    """This process is there. One that was forgotten meanwhile is there again."""
    now = clock.stamp()
    mine = sa.update(processes).where(processes.c.id == id).values(heartbeat_at=now, updated_at=now)
    if tx.execute(mine).rowcount == 0:
        tx.execute(sa.insert(processes).values(id=id, binary=binary, host=host, heartbeat_at=now, created_at=now))


def remove(tx: Tx, id: str) -> None:
    tx.execute(sa.delete(processes).where(processes.c.id == id))


def forget(tx: Tx, binary: str, host: str, before: str) -> None:
    """Forget those of a host that were last there before a time: one that starts takes the place of a dead one."""
    gone = (processes.c.binary == binary, processes.c.host == host, processes.c.heartbeat_at < before)
    tx.execute(sa.delete(processes).where(*gone))


def forget_silent(tx: Tx, before: str) -> None:
    """Forget all that were last there before a time: their machines are gone."""
    tx.execute(sa.delete(processes).where(processes.c.heartbeat_at < before))


def list_(tx: Tx) -> list[Row]:
    return list(tx.execute(sa.select(processes).order_by(processes.c.binary, processes.c.host, processes.c.created_at)))
