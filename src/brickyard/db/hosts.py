"""Hosts, their backends (`volume_backends`) and pools: what a node's report says, recorded."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from brickyard.core import clock, errors
from brickyard.db import schema
from brickyard.db.database import Database, Row, Tx, insert_or_leave

hosts, backends, pools, storages = schema.hosts, schema.volume_backends, schema.pools, schema.storages

BEING_MADE = "It is being made."  # why a backend is down whose flow make_pool is not over
BACKENDS = sa.select(
    backends, hosts.c.name.label("host"), hosts.c.heartbeat_at, hosts.c.enabled.label("host_enabled")
).join(hosts, hosts.c.id == backends.c.host_id)
POOLS = sa.select(
    pools,
    backends.c.name.label("backend"),
    backends.c.driver,
    backends.c.volume_backend_name,
    backends.c.availability_zone,
    backends.c.up,
    backends.c.why_down,
    backends.c.enabled,
    backends.c.frozen,
    backends.c.options,
    backends.c.place,
    backends.c.host_id,
    hosts.c.name.label("host"),
    hosts.c.heartbeat_at,
    (storages.c.limit_gib - storages.c.claimed_gib).label("storage_free_gib"),
).select_from(
    pools.join(backends, backends.c.id == pools.c.backend_id)
    .join(hosts, hosts.c.id == backends.c.host_id)
    .outerjoin(storages, storages.c.id == pools.c.storage_id)
)
POOLS_OF = POOLS.where(~backends.c.deleted, hosts.c.name.in_(sa.bindparam("names", expanding=True))).order_by(
    pools.c.name
)
POOL = POOLS.where(sa.or_(pools.c.name == sa.bindparam("this"), pools.c.id == sa.bindparam("this")))


def record_host(
    tx: Tx,
    *,
    name: str,
    labels: Mapping[str, str],
    vcpus: int,
    memory_mib: int,
    hypervisor: str | None,
    export_address: str | None = None,
) -> str:
    """Insert or update a host from its report; its id. Labels of the report win over the old ones, key by key.

    HostLost where it was declared lost: what it reports does not count before it is taken in again."""
    now = clock.stamp()
    row = tx.execute(sa.select(hosts).where(hosts.c.name == name)).one_or_none()
    if row is not None and row.lost_at is not None:
        raise errors.HostLost(_why_lost(row))
    values = {"vcpus_total": vcpus, "memory_mib_total": memory_mib, "hypervisor": hypervisor, "heartbeat_at": now}
    values["export_address"] = export_address
    if row is None:  # its first report; another conductor may record the second one at the same time
        first = {"id": str(uuid.uuid4()), "name": name, "labels": dict(labels), "created_at": now}
        insert_or_leave(tx, hosts, **first, **values)
        row = tx.execute(sa.select(hosts).where(hosts.c.name == name)).one()
    mine = sa.and_(hosts.c.id == row.id, hosts.c.lost_at.is_(None))
    changed = sa.update(hosts).where(mine).values(labels={**row.labels, **labels}, updated_at=now, **values)
    if tx.execute(changed).rowcount != 1:  # declared lost since it was read
        raise errors.HostLost(_why_lost(tx.execute(sa.select(hosts).where(hosts.c.id == row.id)).one()))
    return str(row.id)


def record_backend(tx: Tx, *, name: str, host_id: str, **values: Any) -> int:
    """Insert or update a row of volume_backends; its id. One that was deleted and comes back is the same row again."""
    now = clock.stamp()
    row = tx.execute(sa.select(backends).where(backends.c.name == name)).one_or_none()
    if row is None:
        done = tx.execute(sa.insert(backends).values(name=name, host_id=host_id, created_at=now, **values))
        return int(done.inserted_primary_key[0])  # type: ignore[index]
    values |= {"host_id": host_id, "deleted": False, "deleted_at": None}
    if not _is_so(row, values):
        tx.execute(sa.update(backends).where(backends.c.id == row.id).values(updated_at=now, **values))
    return int(row.id)


def record_pool(tx: Tx, *, name: str, backend_id: int, **values: Any) -> str:
    """Insert or update a pool; its id. What is claimed of it is not the report's to say."""
    now = clock.stamp()
    row = tx.execute(sa.select(pools).where(pools.c.name == name)).one_or_none()
    if row is None:
        id = str(uuid.uuid4())
        tx.execute(sa.insert(pools).values(id=id, name=name, backend_id=backend_id, created_at=now, **values))
        return id
    values |= {"backend_id": backend_id}
    if not _is_so(row, values):
        tx.execute(sa.update(pools).where(pools.c.id == row.id).values(updated_at=now, **values))
    return str(row.id)


def _is_so(row: Row, values: Mapping[str, Any]) -> bool:
    """Whether the row says so already: most reports say nothing new, and then nothing is written."""
    return all(row._mapping[name] == value for name, value in values.items())


def record_storage(tx: Tx, id: str, limit_gib: int) -> None:
    """Insert or update what pools lie on together."""
    now = clock.stamp()
    known = tx.scalar(sa.select(storages.c.limit_gib).where(storages.c.id == id))
    if known is None:
        tx.execute(sa.insert(storages).values(id=id, limit_gib=limit_gib, created_at=now))
    elif known != limit_gib:
        tx.execute(sa.update(storages).where(storages.c.id == id).values(limit_gib=limit_gib, updated_at=now))


def storage_exists(tx: Tx, id: str) -> bool:
    return tx.scalar(sa.select(storages.c.id).where(storages.c.id == id)) is not None


def move_pool(tx: Tx, id: str, storage_id: str | None) -> None:
    """The pool lies on this storage now: its promises count there, and no longer where it was."""
    row = tx.execute(sa.select(pools.c.storage_id, pools.c.claimed_gib).where(pools.c.id == id)).one()
    if row.storage_id == storage_id:
        return
    for storage, gib in ((row.storage_id, -row.claimed_gib), (storage_id, row.claimed_gib)):
        tx.execute(sa.update(storages).where(storages.c.id == storage).values(claimed_gib=storages.c.claimed_gib + gib))
    tx.execute(sa.update(pools).where(pools.c.id == id).values(storage_id=storage_id))


def backends_down(tx: Tx, host_id: str, keep: set[str], why: str) -> None:
    """Mark the backends of a host that its report does not name any more; an administrator deletes them."""
    now = clock.stamp()
    for row in tx.execute(sa.select(backends).where(backends.c.host_id == host_id, ~backends.c.deleted)).all():
        if row.name not in keep and (row.up or row.why_down != why):
            tx.execute(
                sa.update(backends).where(backends.c.id == row.id).values(up=False, why_down=why, updated_at=now)
            )


def delete_backend(tx: Tx, id: int) -> None:
    """Mark it deleted and remove its pools, which must be empty."""
    now = clock.stamp()
    tx.execute(sa.delete(pools).where(pools.c.backend_id == id))
    tx.execute(sa.update(backends).where(backends.c.id == id).values(deleted=True, deleted_at=now, up=False))


def freed(tx: Tx, pool_id: str, gib: int) -> None:
    """So much was given back by a thick pool since its last report; the next one says so itself."""
    tx.execute(sa.update(pools).where(pools.c.id == pool_id).values(free_gib=pools.c.free_gib + gib))


class Touched(NamedTuple):
    """Hosts that are there: for which that is written now, or was by another process a moment ago, and those that
    others have locked, which is for the next time."""

    written: set[str]
    known: set[str]
    locked: set[str]


def touch(tx: Tx, names: Collection[str], since: str) -> Touched:
    """These hosts are there, all of them in one statement, where that was not written since; the rest has never
    reported, or was declared lost."""
    mine = sa.and_(hosts.c.name.in_(names), hosts.c.lost_at.is_(None))
    stale = sa.and_(mine, sa.or_(hosts.c.heartbeat_at.is_(None), hosts.c.heartbeat_at < since))
    found = tx.execute(sa.select(hosts.c.name, stale.label("stale")).where(mine)).all()
    due = free = {row.name for row in found if row.stale}
    if due and tx.dialect.name != "sqlite":
        free = set(tx.scalars(sa.select(hosts.c.name).where(stale).with_for_update(skip_locked=True)))
    if free:
        tx.execute(sa.update(hosts).where(mine, hosts.c.name.in_(free)).values(heartbeat_at=clock.stamp()))
    return Touched(free, {row.name for row in found if not row.stale}, due - free)


def refuse_lost(db: Database, name: str) -> None:
    """HostLost for a host that was declared lost."""
    with db.read() as tx:
        row = tx.execute(sa.select(hosts).where(hosts.c.name == name, hosts.c.lost_at.is_not(None))).one_or_none()
    if row is not None:
        raise errors.HostLost(_why_lost(row))


def _why_lost(row: Row) -> str:
    return (
        f"Host {row.name} was declared lost at {row.lost_at}: it is asked for nothing before it is taken in again, "
        f"by `brickyard host enroll {row.name}`."
    )


def check_thawed(tx: Tx, pool_id: str | None) -> None:
    """InvalidState while an administrator keeps the backend of a pool as it is."""
    pool = find_pool(tx, pool_id) if pool_id is not None else None
    if pool is not None and pool.frozen:
        raise errors.InvalidState(
            f"Backend {pool.backend} is frozen: nothing is made, changed or deleted there until it is thawed.",
            field="status",
        )


def pools_of(tx: Tx, host_id: str) -> list[Row]:
    """The pools of a host, by name."""
    return list(tx.execute(POOLS.where(backends.c.host_id == host_id).order_by(pools.c.name)))


def deleted_backends(tx: Tx, host: str) -> list[Row]:
    statement = sa.select(backends.c.name).join(hosts, hosts.c.id == backends.c.host_id)
    return list(tx.execute(statement.where(hosts.c.name == host, backends.c.deleted)))


def find_host(tx: Tx, name_or_id: str) -> Row | None:
    return tx.execute(
        sa.select(hosts).where(sa.or_(hosts.c.name == name_or_id, hosts.c.id == name_or_id))
    ).one_or_none()


def list_hosts(tx: Tx, names: Collection[str] | None = None) -> list[Row]:
    """Every host, or those of these names, by name."""
    statement = sa.select(hosts).order_by(hosts.c.name)
    return list(tx.execute(statement if names is None else statement.where(hosts.c.name.in_(names))))


def update_host(tx: Tx, id: str, **values: Any) -> bool:
    return tx.execute(sa.update(hosts).where(hosts.c.id == id).values(updated_at=clock.stamp(), **values)).rowcount == 1


def hold(tx: Tx, id: str) -> None:
    """Lock its row until the transaction ends: of those who declare it lost or take it in again one goes on at a time.

    Where a database has one writer at a time (SQLite) it is locked already.
    """
    if tx.dialect.name != "sqlite":
        tx.execute(sa.select(hosts.c.id).where(hosts.c.id == id).with_for_update())


def hold_if_free(tx: Tx, name: str, *, wait: bool) -> Row | None:
    """The host, locked as by `hold`; None when it is not there, or when another transaction has it and we do not wait.

    Whoever needs several hosts takes what nobody else has at this moment, and waits for one while it has none: so no
    two of them wait for each other.
    """
    statement = sa.select(hosts).where(hosts.c.name == name)
    if tx.dialect.name != "sqlite":
        statement = statement.with_for_update(skip_locked=not wait)
    return tx.execute(statement).one_or_none()


def lose_host(tx: Tx, id: str) -> str:
    """Declare it lost, if it is not; since when it is. It was never heard, so nothing takes it for up."""
    tx.execute(sa.update(hosts).where(hosts.c.id == id, hosts.c.lost_at.is_(None)).values(lost_at=clock.stamp()))
    update_host(tx, id, heartbeat_at=None)
    return str(tx.scalar(sa.select(hosts.c.lost_at).where(hosts.c.id == id)))


def find_backend(tx: Tx, name: str) -> Row | None:
    """By host@section."""
    return tx.execute(BACKENDS.where(backends.c.name == name, ~backends.c.deleted)).one_or_none()


def list_backends(tx: Tx, of: str | None = None) -> list[Row]:
    """Every backend, or those of one host, by its name; by host@section."""
    statement = BACKENDS.where(~backends.c.deleted).order_by(backends.c.name)
    return list(tx.execute(statement if of is None else statement.where(hosts.c.name == of)))


def update_backend(tx: Tx, id: int, **values: Any) -> bool:
    done = tx.execute(sa.update(backends).where(backends.c.id == id).values(updated_at=clock.stamp(), **values))
    return done.rowcount == 1


def find_pool(tx: Tx, name_or_id: str) -> Row | None:
    return tx.execute(POOL, {"this": name_or_id}).one_or_none()


def require_pool(tx: Tx, name_or_id: str) -> Row:
    """By id, host@backend#pool or host@backend; NotFound."""
    row = find_pool(tx, name_or_id)
    if row is None:
        row = next((pool for pool in list_pools(tx) if pool.backend == name_or_id), None)
    if row is None:
        raise errors.NotFound(f"Pool {name_or_id} could not be found; list the pools to see their names.")
    return row


def list_pools(tx: Tx, of: Collection[str] | None = None) -> list[Row]:
    """Every pool, or those of the hosts of these names, by name."""
    if of is not None:
        return list(tx.execute(POOLS_OF, {"names": list(of)}))
    return list(tx.execute(POOLS.where(~backends.c.deleted).order_by(pools.c.name)))


def volumes_per_pool(tx: Tx, of: Collection[str] | None = None) -> dict[str, int]:
    """How many volumes lie on each pool, or on these, by their ids."""
    volumes = schema.volumes
    which = volumes.c.pool_id.is_not(None) if of is None else volumes.c.pool_id.in_(of)
    statement = sa.select(volumes.c.pool_id, sa.func.count()).where(which)
    return {row[0]: row[1] for row in tx.execute(statement.group_by(volumes.c.pool_id))}


class Contents(NamedTuple):
    """What a project has on some backends."""

    project_id: str
    volumes: int
    volume_gib: int
    snapshots: int
    snapshot_gib: int


def contents(tx: Tx, backend_ids: Sequence[int]) -> list[Contents]:
    """By project, in the order of their ids."""
    found: dict[str, list[int]] = {}
    for place, table in enumerate((schema.volumes, schema.snapshots)):
        statement = (
            sa.select(table.c.project_id, sa.func.count(), sa.func.sum(table.c.size_gib))
            .join(pools, pools.c.id == table.c.pool_id)
            .where(pools.c.backend_id.in_(backend_ids))
            .group_by(table.c.project_id)
        )
        for project_id, number, gib in tx.execute(statement):
            found.setdefault(project_id, [0, 0, 0, 0])[2 * place : 2 * place + 2] = [number, int(gib)]
    return [Contents(project_id, *found[project_id]) for project_id in sorted(found)]
