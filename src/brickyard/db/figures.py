"""Figures of the whole site, for metrics and for the question whether it works: a few statements, whatever its size."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from brickyard.core import clock
from brickyard.db import schema
from brickyard.db.database import MARIADB, Database, Row, Tx
from brickyard.db.flows import OPEN

flows = schema.flows
COUNTED = {
    "volumes": schema.volumes,
    "snapshots": schema.snapshots,
    "attachments": schema.attachments,
    "instances": schema.instances,
}
BYTES = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "postgresql": "SELECT pg_database_size(current_database())",
    **dict.fromkeys(
        MARIADB,
        "SELECT SUM(data_length + index_length) FROM information_schema.tables WHERE table_schema = DATABASE()",
    ),
}


class Queue(NamedTuple):
    """Flows that are due and that no conductor has: how many, and since when the oldest of them is due."""

    waiting: int
    since: str | None


def queue(tx: Tx) -> Queue:
    now = clock.stamp()
    free = sa.or_(flows.c.owner.is_(None), flows.c.lease_until < now)
    statement = sa.select(sa.func.count(), sa.func.min(flows.c.not_before))
    number, since = tx.execute(statement.where(flows.c.status.in_(OPEN), flows.c.not_before <= now, free)).one()
    return Queue(int(number), since)


def open_flows(tx: Tx) -> list[Row]:
    """By name and status, of those that are not over: when the oldest began, and the most setbacks of one."""
    statement = sa.select(
        flows.c.name,
        flows.c.status,
        sa.func.min(flows.c.created_at).label("oldest"),
        sa.func.max(flows.c.setbacks).label("setbacks"),
    )
    return list(tx.execute(statement.where(flows.c.status.in_(OPEN)).group_by(flows.c.name, flows.c.status)))


def flow_counts(tx: Tx) -> list[Row]:
    return _by(tx, flows, flows.c.name, flows.c.status)


def status_counts(tx: Tx, noun: str) -> list[Row]:
    """How many rows of a noun of COUNTED are in each status."""
    table = COUNTED[noun]
    return _by(tx, table, table.c.status)


def held_guests(tx: Tx) -> int:
    """Instances that their host holds, because a pool that they write to is almost full."""
    instances = schema.instances
    statement = sa.select(sa.func.count()).select_from(instances).where(instances.c.paused_reason.is_not(None))
    return int(tx.scalar(statement) or 0)


def database_bytes(tx: Tx) -> int:
    return int(tx.scalar(sa.text(BYTES[tx.dialect.name])) or 0)


def database_free_bytes(db: Database) -> int | None:
    """What is free where the database of SQLite lies; None of a server, which knows that itself."""
    if db.dialect != "sqlite":
        return None
    found = os.statvfs(Path(str(db.url.database)).parent)
    return found.f_bavail * found.f_frsize


def _by(tx: Tx, table: sa.Table, *columns: sa.Column[Any]) -> list[Row]:
    statement = sa.select(*columns, sa.func.count().label("number")).select_from(table)
    return list(tx.execute(statement.group_by(*columns)))
