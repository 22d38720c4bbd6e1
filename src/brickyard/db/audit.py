"""What an audit reads and keeps: all records as they are at one moment, who works on what, and since when it differs.

`records` reads everything that promises something of a host: an audit is asked for by hand, and what it compares must
be of one moment. Rows that come back from what the disks say are made here too, for the audit and for a rebuild.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from brickyard.core import bricks, clock, sizes
from brickyard.core.bricks import Found, Kind, Label
from brickyard.core.states import V
from brickyard.db import claims, hosts, quotas, schema, snapshots, store, volumes
from brickyard.db import flows as flow_rows
from brickyard.db.database import Row, Tx

flows, findings = schema.flows, schema.audit_findings
CHUNK = 500
IDS_MAX = 100  # in one question for flows
UNKNOWN_USER = "unknown"  # whose it was is lost: no label says it
TABLES = {
    Kind.VOLUME: schema.volumes,
    Kind.SNAPSHOT: schema.snapshots,
    Kind.ROOT: schema.instances,
    Kind.IMAGE: schema.cached_images,
}


@dataclass(frozen=True, slots=True)
class Placed:
    """A row that promises a brick: where it lies, and what its label must say."""

    kind: Kind
    id: str
    pool_id: str
    gib: int
    project_id: str
    status: str
    generation: int | None  # of volumes only

    @property
    def name(self) -> str:
        return bricks.name_of(self.kind, self.id)


@dataclass(frozen=True, slots=True)
class Records:
    placed: Mapping[str, Placed]  # by the name of the brick
    volumes: Mapping[str, Row]
    snapshots: Mapping[str, Row]
    instances: Mapping[str, Row]
    attachments: Sequence[Row]
    pools: Mapping[str, Row]  # by id, as hosts.list_pools gives them
    backends: Sequence[Row]
    hosts: Mapping[str, Row]  # by id
    storages: Mapping[str, Row]
    claims: Sequence[Row]
    host_claims: Sequence[Row]
    reservations: Sequence[Row]
    working: frozenset[str]  # ids that a flow works on, or has worked on since the audit began
    open_flows: frozenset[str]
    lost: Mapping[str, str]  # names of bricks, and of pools, that nothing is adopted from any more → since when


def records(tx: Tx, since: str) -> Records:
    """Everything at one moment; `since` is when the audit began."""
    # One picture for all statements; whoever gives the connection back ends it.
    together = "BEGIN" if tx.dialect.name == "sqlite" else "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
    tx.exec_driver_sql(together)
    found_volumes = _by_id(tx, schema.volumes)
    found_snapshots = _by_id(tx, schema.snapshots)
    found_instances = _by_id(tx, schema.instances)
    found_cached = _by_id(tx, schema.cached_images)
    running = flows.c.status.in_(flow_rows.OPEN)
    recent = tx.execute(sa.select(flows).where(sa.or_(running, flows.c.finished_at >= since))).all()
    return Records(
        placed={p.name: p for p in _placed(found_volumes, found_snapshots, found_instances, found_cached)},
        volumes=found_volumes,
        snapshots=found_snapshots,
        instances=found_instances,
        attachments=list(tx.execute(sa.select(schema.attachments))),
        pools={row.id: row for row in hosts.list_pools(tx)},
        backends=hosts.list_backends(tx),
        hosts=_by_id(tx, schema.hosts),
        storages=_by_id(tx, schema.storages),
        claims=list(tx.execute(sa.select(schema.claims))),
        host_claims=list(tx.execute(sa.select(schema.host_claims))),
        reservations=list(tx.execute(sa.select(schema.reservations))),
        working=frozenset(id for row in recent for id in ids_of(row)),
        open_flows=frozenset(row.id for row in recent if row.status in flow_rows.OPEN),
        lost={row.name: row.lost_at for row in tx.execute(sa.select(schema.lost_bricks))},
    )


def working_on(tx: Tx, ids: Collection[str], *, but: str | None = None, besides: Collection[str] = ()) -> str | None:
    """An open flow, other than `but` and those of the names `besides`, that works on one of these ids."""
    # The database looks through the text of the parameters, which is much quicker than to decode all of them here.
    text, wanted = sa.cast(flows.c.params, sa.Text), sorted(ids)
    for start in range(0, len(wanted), IDS_MAX):
        some = wanted[start : start + IDS_MAX]
        named = sa.or_(*(sa.or_(flows.c.resource_id == id, text.contains(id, autoescape=True)) for id in some))
        for row in tx.execute(sa.select(flows).where(flows.c.status.in_(flow_rows.OPEN), named)):
            if row.id != but and row.name not in besides and not ids_of(row).isdisjoint(ids):
                return str(row.id)
    return None


def placed(tx: Tx, kind: Kind, id: str) -> Placed | None:
    """The row of a brick, if there is one and it is placed."""
    table = TABLES[kind]
    found = {row.id: row for row in tx.execute(sa.select(table).where(table.c.id == id))}
    none: dict[str, Row] = {}
    every = dict.fromkeys(Kind, none) | {kind: found}
    return next(_placed(*(every[kind] for kind in TABLES)), None)


def _placed(
    found_volumes: Mapping[str, Row],
    found_snapshots: Mapping[str, Row],
    found_instances: Mapping[str, Row],
    found_cached: Mapping[str, Row],
) -> Iterator[Placed]:
    for row in found_volumes.values():
        if row.pool_id is not None:
            yield Placed(Kind.VOLUME, row.id, row.pool_id, row.size_gib, row.project_id, row.status, row.generation)
    for row in found_snapshots.values():
        if row.pool_id is not None:
            yield Placed(Kind.SNAPSHOT, row.id, row.pool_id, row.size_gib, row.project_id, row.status, None)
    for row in found_instances.values():
        if row.root_pool_id is not None:
            yield Placed(Kind.ROOT, row.id, row.root_pool_id, row.root_gib, row.project_id, row.status, None)
    for row in found_cached.values():
        yield Placed(Kind.IMAGE, row.id, row.pool_id, row.size_gib, bricks.NOBODY, row.status, None)


def _by_id(tx: Tx, table: sa.Table) -> dict[str, Row]:
    return {row.id: row for row in tx.execute(sa.select(table))}


def ids_of(flow: Row) -> set[str]:
    """Everything that a flow may touch: each id in its parameters, but for that of the volume that a snapshot is of."""
    found = {flow.resource_id}
    todo: list[Any] = [flow.params]
    while todo:
        value = todo.pop()
        if isinstance(value, str) and re.fullmatch(bricks.UUID, value):
            found.add(value)
        elif isinstance(value, dict):
            todo += [inner for key, inner in value.items() if key != "parent"]
        elif isinstance(value, list):
            todo += value
    return found


# since when ------------------------------------------------------------------------------------------------------


def first_seen(tx: Tx) -> dict[str, str]:
    """Key of a difference → when an audit first saw it."""
    return {row.key: row.first_seen_at for row in tx.execute(sa.select(findings))}


def remember(tx: Tx, keys: Collection[str], gone: Collection[str]) -> dict[str, str]:
    """Keep when each difference was first seen, and forget those that are gone; `first_seen` after that."""
    known = first_seen(tx)
    new = [{"key": key, "first_seen_at": clock.stamp()} for key in sorted(set(keys) - set(known))]
    if new and tx.dialect.name in ("mysql", "mariadb"):
        tx.execute(sa.insert(findings).prefix_with("IGNORE"), new)
    elif new:  # another audit may see the same at the same time
        insert = "INSERT INTO audit_findings (key, first_seen_at) VALUES (:key, :first_seen_at) ON CONFLICT DO NOTHING"
        tx.execute(sa.text(insert), new)
    lost = sorted(set(gone) & set(known))
    for start in range(0, len(lost), CHUNK):
        tx.execute(sa.delete(findings).where(findings.c.key.in_(lost[start : start + CHUNK])))
    return first_seen(tx)


# rows that come back ---------------------------------------------------------------------------------------------


def restore(tx: Tx, pool: Row, label: Label, size_bytes: int) -> bool:
    """The row and the claim of a volume or snapshot that lies on a pool (a row of hosts.list_pools), as its label says.

    It is `creating` until the caller ends that. False when it has a row already, when its data were declared lost, or
    when a snapshot's volume has none there.
    """
    table = schema.volumes if label.kind is Kind.VOLUME else schema.snapshots
    lost = sa.select(schema.lost_bricks.c.name).where(schema.lost_bricks.c.name.in_((label.name, pool.name)))
    there = sa.select(table.c.id).where(table.c.id == label.id)
    if tx.scalar(there) is not None or tx.scalar(lost.limit(1)) is not None:
        return False
    quotas.lock(tx, label.project)
    gib = sizes.bytes_to_gib(size_bytes)
    values: dict[str, Any] = {
        "id": label.id,
        "project_id": label.project,
        "user_id": UNKNOWN_USER,
        "name": f"recovered-{label.id[:8]}",
        "description": f"Found on {pool.name}, where it says whose it is. Its name is lost.",
        "size_gib": gib,
        "status": V.CREATING,
        "pool_id": pool.id,
        "metadata": {},
    }
    if label.kind is Kind.VOLUME:
        zone = {"availability_zone": pool.availability_zone, "backend_id": pool.backend_id}
        volumes.insert(tx, **values, **zone, generation=label.generation, image_metadata={})
    else:
        parent = placed(tx, Kind.VOLUME, label.parent or "")
        if parent is None or parent.pool_id != pool.id:
            return False
        snapshots.insert(tx, **values, volume_id=label.parent)
    claims.count(tx, pool_id=pool.id, brick_id=label.id, gib=gib)
    return True


def restored(tx: Tx, label: Label) -> None:
    """What `restore` began is available."""
    more = {"progress": 100} if label.kind is Kind.SNAPSHOT else {}
    store.end(tx, str(label.kind), label.id, "create", ok=True, **more)


def unrestore(tx: Tx, label: Label) -> None:
    """The undo of `restore`; the brick stays."""
    if store.drop_created(tx, label.id, str(label.kind)):
        claims.release(tx, label.id)


def best(found: Sequence[tuple[str, Found]]) -> tuple[str, Found] | None:
    """Of the bricks of one name in several pools the one that counts: that of the highest generation, since every move
    raises it; None when two of them claim the same."""
    ranked = sorted(found, key=lambda one: one[1].label.generation if one[1].label else 0, reverse=True)
    generations = [one[1].label.generation for one in ranked if one[1].label]
    return None if len(generations) > 1 and generations[0] == generations[1] else ranked[0]
