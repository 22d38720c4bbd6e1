"""The services that make backups: one for each host that has a place for them. The rows that leave here carry `host`
(its name), `labels` and `heartbeat_at` beside their own columns."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from brickyard.core import clock
from brickyard.db import schema
from brickyard.db.database import Row, Tx

services, hosts = schema.backup_services, schema.hosts
WIDE = sa.select(services, hosts.c.name.label("host"), hosts.c.labels, hosts.c.heartbeat_at).join(
    hosts, hosts.c.id == services.c.host_id
)


def record(tx: Tx, host_id: str, **values: Any) -> None:
    """What a host reports of its service; without anything it has none, and its row goes."""
    mine = services.c.host_id == host_id
    if not values:
        tx.execute(sa.delete(services).where(mine))
        return
    if values.get("place") is None:
        values.pop("place", None)  # it is not reached now; what lies there is where it was
    if tx.execute(sa.update(services).where(mine).values(updated_at=clock.stamp(), **values)).rowcount == 0:
        tx.execute(sa.insert(services).values(host_id=host_id, created_at=clock.stamp(), **values))


def list_(tx: Tx) -> list[Row]:
    return list(tx.execute(WIDE.order_by(hosts.c.name)))


def of_host(tx: Tx, host: str) -> Row | None:
    return tx.execute(WIDE.where(hosts.c.name == host)).one_or_none()


def of_place(tx: Tx, place: str) -> list[Row]:
    """Those that reach a place, by the name of their host."""
    return list(tx.execute(WIDE.where(services.c.place == place).order_by(hosts.c.name)))


def switch(tx: Tx, host: str, *, enabled: bool, reason: str | None) -> bool:
    """Whether it makes new backups; False when there is no such service."""
    its_host = sa.select(hosts.c.id).where(hosts.c.name == host).scalar_subquery()
    statement = sa.update(services).where(services.c.host_id == its_host)
    return tx.execute(statement.values(enabled=enabled, disabled_reason=reason)).rowcount == 1
