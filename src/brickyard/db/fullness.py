"""Instances that write to pools of other hosts, and which of those pools are almost full."""

from __future__ import annotations

import sqlalchemy as sa

from brickyard.core.fullness import Stage
from brickyard.core.states import A, I
from brickyard.db import schema
from brickyard.db.database import Tx

hosts, backends, pools = schema.hosts, schema.volume_backends, schema.pools
instances, attachments, volumes = schema.instances, schema.attachments, schema.volumes
_there = hosts.alias("there")  # where the pool is


def _far(pool_id: sa.ColumnElement[str], joined: sa.FromClause) -> sa.Select[tuple[str, str]]:
    """The active instances whose disk in this pool lies on another host, and its backend (host@backend). Of a host that
    is lost nobody will say that there is room again."""
    joined = (
        joined.join(hosts, hosts.c.id == instances.c.host_id)
        .join(pools, pools.c.id == pool_id)
        .join(backends, backends.c.id == pools.c.backend_id)
        .join(_there, _there.c.id == backends.c.host_id)
    )
    found = sa.select(instances.c.id, backends.c.name.label("backend")).select_from(joined)
    return found.where(
        instances.c.status == I.ACTIVE, backends.c.host_id != instances.c.host_id, _there.c.lost_at.is_(None)
    )


_roots = _far(instances.c.root_pool_id, instances)
_volumes = _far(
    volumes.c.pool_id,
    instances.join(attachments, attachments.c.instance_uuid == instances.c.id).join(
        volumes, volumes.c.id == attachments.c.volume_id
    ),
).where(attachments.c.status == A.ATTACHED, sa.func.coalesce(attachments.c.mode, "rw") != "ro")


def far_from(tx: Tx, host: str) -> dict[str, set[str]]:
    """Instance of this host → the backends of others that are almost full and that it writes to."""
    found: dict[str, set[str]] = {}
    for statement in (_roots, _volumes):
        for row in tx.execute(statement.where(hosts.c.name == host, pools.c.stage == Stage.PAUSED.value)):
            found.setdefault(row.id, set()).add(row.backend)
    return found


def hosts_that_reach(tx: Tx, host: str) -> set[str]:
    """The other hosts with instances that write to pools of this one which may fill up."""
    found: set[str] = set()
    for statement in (_roots, _volumes):
        may_fill = sa.or_(pools.c.data_percent.is_not(None), pools.c.stage != Stage.OK.value)
        names = statement.where(_there.c.name == host, may_fill).with_only_columns(hosts.c.name).distinct()
        found |= set(tx.scalars(names))
    return found
