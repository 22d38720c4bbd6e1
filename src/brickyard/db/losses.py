"""Hosts that are lost: what lies there, which work is about them, and which bricks must not come back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from brickyard.core import clock
from brickyard.core.states import B
from brickyard.db import audit, database, schema
from brickyard.db import flows as flow_rows
from brickyard.db.database import Row, Tx

volumes, snapshots, instances, attachments = (
    schema.volumes,
    schema.snapshots,
    schema.instances,
    schema.attachments,
)
backups, flows, bricks = schema.backups, schema.flows, schema.lost_bricks
CHUNK = 500


@dataclass(frozen=True, slots=True)
class OnHost:
    """Everything whose only place is one host."""

    volumes: Sequence[Row]
    snapshots: Sequence[Row]
    instances: Sequence[Row]
    attachments: Sequence[Row]
    cached_images: Sequence[Row]

    def ids(self) -> set[str]:
        return {row.id for rows in self._all() for row in rows}

    def _all(self) -> tuple[Sequence[Row], ...]:
        return self.volumes, self.snapshots, self.instances, self.attachments, self.cached_images


def on_host(tx: Tx, host_id: str) -> OnHost:
    """The oldest of each kind first."""
    there = (
        sa.select(schema.pools.c.id)
        .join(schema.volume_backends, schema.volume_backends.c.id == schema.pools.c.backend_id)
        .where(schema.volume_backends.c.host_id == host_id)
    )
    held = sa.select(volumes.c.id).where(volumes.c.pool_id.in_(there))
    return OnHost(
        _listed(tx, volumes, volumes.c.pool_id.in_(there)),
        _listed(tx, snapshots, snapshots.c.pool_id.in_(there)),
        _listed(tx, instances, instances.c.host_id == host_id),
        _listed(tx, attachments, attachments.c.volume_id.in_(held)),
        _listed(tx, schema.cached_images, schema.cached_images.c.pool_id.in_(there)),
    )


def _listed(tx: Tx, table: sa.Table, where: sa.ColumnElement[bool]) -> list[Row]:
    return list(tx.execute(sa.select(table).where(where).order_by(table.c.created_at, table.c.id)))


def with_volumes(tx: Tx, host_id: str) -> set[str]:
    """The instances of a host that volumes are attached to, wherever these lie."""
    here = sa.select(instances.c.id).where(instances.c.host_id == host_id)
    return set(tx.scalars(sa.select(attachments.c.instance_uuid).where(attachments.c.instance_uuid.in_(here))))


def rooted_on(tx: Tx, pool_ids: Collection[str]) -> Sequence[Row]:
    """The instances whose root disk lies on one of these pools."""
    return _listed(tx, instances, instances.c.root_pool_id.in_(pool_ids))


def kept_elsewhere(tx: Tx, host_id: str, volume_ids: Sequence[str]) -> dict[str, list[str]]:
    """Volume → its backups, the oldest first, that can be read where this host is not."""
    services = schema.backup_services
    reached = sa.select(services.c.place).where(services.c.host_id != host_id, services.c.place.is_not(None))
    found: dict[str, list[str]] = {}
    for start in range(0, len(volume_ids), CHUNK):
        some = backups.c.volume_id.in_(volume_ids[start : start + CHUNK])
        where = sa.and_(some, backups.c.status == B.AVAILABLE, backups.c.place.in_(reached))
        for row in _listed(tx, backups, where):
            found.setdefault(row.volume_id, []).append(row.id)
    return found


def waits_for_pool(tx: Tx, pool_id: str) -> bool:
    """Whether something lies there that was declared unreachable, and may be what it was when it is found."""
    tables = ((volumes, volumes.c.pool_id), (snapshots, snapshots.c.pool_id), (instances, instances.c.root_pool_id))
    return any(
        tx.scalar(sa.select(table.c.id).where(place == pool_id, table.c.lost_at.is_not(None)).limit(1)) is not None
        for table, place in tables
    )


# work ------------------------------------------------------------------------------------------------------------


def flows_about(tx: Tx, host: str, ids: Collection[str]) -> list[Row]:
    """Open flows that work on one of these ids, or have to do with the host; the oldest first."""
    log = schema.flow_log
    is_open = flows.c.status.in_(flow_rows.OPEN)
    said: dict[str, list[Any]] = {}
    for row in tx.execute(sa.select(log.c.flow_id, log.c.data).join(flows).where(is_open, log.c.data.is_not(None))):
        said.setdefault(row.flow_id, []).append(row.data)
    found = tx.execute(sa.select(flows).where(is_open).order_by(flows.c.created_at, flows.c.id))
    return [
        row
        for row in found
        if not audit.ids_of(row).isdisjoint(ids) or _names(host, [row.params, *said.get(row.id, ())])
    ]


def _names(host: str, todo: list[Any]) -> bool:
    """Whether the host, or a pool of it, is named anywhere in these values."""
    while todo:
        value = todo.pop()
        if isinstance(value, str) and (value == host or value.startswith(f"{host}@")):
            return True
        if isinstance(value, dict):
            todo += value.values()
        elif isinstance(value, list):
            todo += value
    return False


def hurry(tx: Tx, ids: Sequence[str]) -> None:
    """Let these flows run at once that wait for a better time."""
    for start in range(0, len(ids), CHUNK):
        waiting = sa.and_(flows.c.id.in_(ids[start : start + CHUNK]), flows.c.owner.is_(None))
        tx.execute(sa.update(flows).where(waiting, flows.c.not_before > clock.stamp()).values(not_before=clock.stamp()))


# what must not come back -----------------------------------------------------------------------------------------


def keep_out(tx: Tx, found: Iterable[tuple[str, str]]) -> None:
    """(name, pool) of bricks that nothing is served from any more, whatever rows say later; a pool under its own name
    stands for what lies there without a row."""
    for name, pool in found:
        database.insert_or_leave(tx, bricks, name=name, pool=pool, lost_at=clock.stamp())
