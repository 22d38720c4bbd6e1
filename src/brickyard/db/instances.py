"""Instances. The rows that leave here carry `host` (a name) and `root_pool` (host@backend#pool) as well."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from brickyard.core import clock, states
from brickyard.db import listing, schema
from brickyard.db.database import Row, Tx

instances = schema.instances
WIDE = (
    sa.select(instances, schema.hosts.c.name.label("host"), schema.pools.c.name.label("root_pool"))
    .outerjoin(schema.hosts, schema.hosts.c.id == instances.c.host_id)
    .outerjoin(schema.pools, schema.pools.c.id == instances.c.root_pool_id)
)


def insert(tx: Tx, **values: Any) -> None:
    tx.execute(sa.insert(instances).values(created_at=clock.stamp(), **values))


def find(tx: Tx, id: str, project_id: str | None = None) -> Row | None:
    statement = WIDE.where(instances.c.id == id)
    if project_id is not None:
        statement = statement.where(instances.c.project_id == project_id)
    return tx.execute(statement).one_or_none()


def named(tx: Tx, name: str, project_id: str | None) -> list[Row]:
    statement = WIDE.where(instances.c.name == name)
    if project_id is not None:
        statement = statement.where(instances.c.project_id == project_id)
    return list(tx.execute(statement))


def list_(tx: Tx, query: listing.Query) -> list[Row]:
    return listing.page(tx, WIDE, instances, query)


def on_host(tx: Tx, host_id: str) -> list[Row]:
    return list(tx.execute(WIDE.where(instances.c.host_id == host_id)))


def active_on(tx: Tx, host: str) -> list[Row]:
    """The instances that should be running on a host."""
    return list(tx.execute(WIDE.where(schema.hosts.c.name == host, instances.c.status == states.I.ACTIVE)))


def hosts_with_active(tx: Tx, names: Collection[str]) -> set[str]:
    """Those of the hosts of these names on which an instance should be running."""
    statement = sa.select(schema.hosts.c.name).join(instances, instances.c.host_id == schema.hosts.c.id).distinct()
    return set(tx.scalars(statement.where(schema.hosts.c.name.in_(names), instances.c.status == states.I.ACTIVE)))


def update(tx: Tx, id: str, **values: Any) -> bool:
    """Change anything but the status, which only store.py changes."""
    assert "status" not in values
    done = tx.execute(sa.update(instances).where(instances.c.id == id).values(updated_at=clock.stamp(), **values))
    return done.rowcount == 1
