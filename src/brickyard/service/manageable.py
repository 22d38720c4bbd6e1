"""What lies in a pool and is nobody's becomes a volume or a snapshot, without a copy; and the other way round.

A request looks at the pool itself before it writes anything, so that what cannot be is refused and not left in error.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from brickyard.core import bricks, clock, errors, pools, sizes
from brickyard.core import quotas as quota_rules
from brickyard.core.bricks import Found, Kind, Label
from brickyard.core.placement import PoolView
from brickyard.core.states import S, V
from brickyard.db import claims, hosts, snapshots, store, types, volumes
from brickyard.db.database import Row, Tx, after_commit
from brickyard.flows import manage_brick, unmanage_brick
from brickyard.service import abilities, quotas, scheduler_stats, work
from brickyard.service import snapshots as snapshot_service
from brickyard.service import types as type_service
from brickyard.service import volumes as volume_service
from brickyard.service.site import Caller, Site

MANAGED = "already managed"


@dataclass(frozen=True, slots=True)
class Manageable:
    """One piece of storage in a pool. `known_id` is the volume or snapshot that it is already; `why_not` says why it
    cannot be taken over; `parent` is the brick that a snapshot is of, where that is known."""

    name: str
    size_gib: int
    why_not: str | None = None
    known_id: str | None = None
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shall become a volume or a snapshot: `name` is what it is called in the pool."""

    name: str
    title: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    volume_type: str | None = None
    availability_zone: str | None = None
    bootable: bool = False


def list_(site: Site, host: str, kind: Kind) -> list[Manageable]:
    """Everything in a pool (host@backend#pool, or host@backend) that is a volume, or a snapshot, or may become one.

    What has no owner is listed as a snapshot where it has the name of one, and as a volume otherwise.
    """
    with site.db.read() as tx:
        pool = usable_pool(site, tx, host)
        rows = {row.id for row in volumes.on_pool(tx, pool.id)} | set(snapshots.on_pool(tx, pool.id))
    node, backend = site.world.nodes[pool.host], pools.parse(pool.name).backend
    owned = [found for found in node.bricks(backend) if found.label is not None]
    listed = [_owned(found, rows) for found in owned if found.label is not None and found.label.kind is kind]
    for found in node.strangers(backend):
        parsed = bricks.parse(found.name)
        looks = Kind.SNAPSHOT if parsed is not None and parsed[0] is Kind.SNAPSHOT else Kind.VOLUME
        if looks is kind:
            listed.append(Manageable(found.name, sizes.bytes_to_gib(found.size_bytes)))
    return listed


def _owned(found: Found, rows: set[str]) -> Manageable:
    label = found.label
    assert label is not None
    parent = bricks.name_of(Kind.VOLUME, label.parent) if label.parent else None
    why = MANAGED if label.id in rows else f"belongs to {label.kind} {label.id} of project {label.project}"
    return Manageable(
        found.name, sizes.bytes_to_gib(found.size_bytes), why, label.id if label.id in rows else None, parent
    )


def manage_volume(site: Site, caller: Caller, host: str, wanted: Wanted) -> Row:
    """Insert the volume, `creating`, with its flow. It belongs to the caller's project."""
    with site.db.read() as tx:
        pool = usable_pool(site, tx, host)
    size_gib = sizes.bytes_to_gib(_stranger(site, pool, wanted.name).size_bytes)
    view = next(view for view in site.world.places.pools() if view.id == pool.id)
    label = Label(Kind.VOLUME, str(uuid.uuid4()), caller.project_id)
    with site.db.begin() as tx:
        type_ = _type(site, caller, tx, view, wanted.volume_type)
        volume_service.check_type(type_, size_gib)
        if wanted.availability_zone not in (None, pool.availability_zone):
            raise errors.Invalid(
                f"Pool {pool.name} is in availability zone {pool.availability_zone}.", field="availability_zone"
            )
        deltas = quota_rules.volume_deltas(size_gib, type_name=type_.name if type_ else None)
        quotas.take(site, tx, caller.project_id, deltas, size_gib=size_gib)
        volumes.insert(
            tx,
            id=label.id,
            project_id=caller.project_id,
            user_id=caller.user_id,
            name=wanted.title,
            description=wanted.description,
            size_gib=size_gib,
            status=V.CREATING,
            availability_zone=pool.availability_zone,
            pool_id=pool.id,
            backend_id=pool.backend_id,
            volume_type_id=type_.id if type_ else None,
            image_metadata={},
            metadata=dict(wanted.metadata),
            bootable=wanted.bootable,
            multiattach=volume_service.is_multiattach(type_.extra_specs if type_ else {}),
        )
        _claim_and_queue(site, caller, tx, pool, size_gib, wanted.name, label)
        return volume_service.require(tx, caller, label.id)


def manage_snapshot(site: Site, caller: Caller, volume_id: str, wanted: Wanted) -> Row:
    """Insert the snapshot, `creating`, with its flow. It lies on the pool of its volume, and belongs to its project."""
    with site.db.read() as tx:
        volume = volume_service.require(tx, caller, volume_id)
        if volume.pool_id is None:
            raise errors.InvalidState(f"Volume {volume_id} lies nowhere; it has no snapshots.", field="volume_id")
        pool = usable_pool(site, tx, volume.host)
    size_gib = sizes.bytes_to_gib(_stranger(site, pool, wanted.name).size_bytes)
    label = Label(Kind.SNAPSHOT, str(uuid.uuid4()), volume.project_id, parent=volume_id)
    with site.db.begin() as tx:
        store.hold(tx, "volume", volume_id)
        volume = volume_service.require(tx, caller, volume_id)
        if volume.status not in (V.AVAILABLE, V.IN_USE) or volume.pool_id != pool.id:
            raise errors.InvalidState(f"Volume {volume_id} must be available or in-use, but is {volume.status}.")
        if size_gib > volume.size_gib:
            raise errors.Invalid(
                f"{wanted.name} has {size_gib} GiB, and volume {volume_id} only {volume.size_gib}: it is no snapshot "
                "of it.",
                field="ref",
            )
        counted = not site.settings.no_snapshot_gb_quota
        deltas = quota_rules.snapshot_deltas(size_gib, type_name=volume.volume_type, count_gigabytes=counted)
        quotas.take(site, tx, volume.project_id, deltas)
        snapshots.insert(
            tx,
            id=label.id,
            volume_id=volume_id,
            project_id=volume.project_id,
            user_id=caller.user_id,
            name=wanted.title,
            description=wanted.description,
            size_gib=size_gib,
            status=S.CREATING,
            pool_id=pool.id,
            volume_type_id=volume.volume_type_id,
            metadata=dict(wanted.metadata),
        )
        _claim_and_queue(site, caller, tx, pool, size_gib, wanted.name, label)
        return snapshot_service.require(tx, caller, label.id)


def _claim_and_queue(site: Site, caller: Caller, tx: Tx, pool: Row, gib: int, name: str, label: Label) -> None:
    if not claims.claim(tx, pool_id=pool.id, brick_id=label.id, gib=gib):
        raise errors.Invalid(f"Pool {pool.name} does not take {gib} GiB: it {claims.why_not(tx, pool.id)}.")
    after_commit(tx, site.world.places.refresh)
    params = manage_brick.params(pool=pool.name, pool_id=pool.id, gib=gib, name=name, label=label)
    work.queue(site, caller, tx, "manage_brick", params, resource_id=label.id, project_id=label.project)


def unmanage_volume(site: Site, caller: Caller, id: str) -> None:
    """Begin to forget a volume that nobody has attached and that has no snapshots; what it holds stays in its pool."""
    with site.db.begin() as tx:
        store.hold(tx, "volume", id)
        row = volume_service.require(tx, caller, id)
        site.policy.check("volume_extension:volume_unmanage", caller, row.project_id)
        if store.attachment_statuses(tx, id):
            raise errors.InvalidState(f"Volume {id} is attached or reserved; detach it first.", field="status")
        if store.has_snapshots(tx, id):
            raise errors.InvalidState(f"Volume {id} has snapshots; delete or unmanage them first.", field="status")
        if row.group_id is not None:
            raise errors.InvalidState(f"Volume {id} is in group {row.group_id}; remove it from that first.")
        _begin(tx, "volume", row, volumes.not_a_source(id, []))
        _queue_unmanage(site, caller, tx, Kind.VOLUME, row)


def unmanage_snapshot(site: Site, caller: Caller, id: str) -> None:
    with site.db.begin() as tx:
        store.hold(tx, "snapshot", id)
        row = snapshot_service.require(tx, caller, id)
        site.policy.check("snapshot_extension:snapshot_unmanage", caller, row.project_id)
        snapshot_service.check_alone(row)
        _begin(tx, "snapshot", row, volumes.not_a_source(None, [id]))
        _queue_unmanage(site, caller, tx, Kind.SNAPSHOT, row)


def _begin(tx: Tx, noun: str, row: Row, idle: Any) -> None:
    if row.pool_id is None:
        raise errors.InvalidState(f"{noun.capitalize()} {row.id} lies nowhere; delete it.", field="status")
    hosts.check_thawed(tx, row.pool_id)
    abilities.require(tx, row.pool_id, "adopts", field="status")
    store.begin(tx, noun, row.id, "unmanage", where=idle, why=volume_service.COPIED)


def _queue_unmanage(site: Site, caller: Caller, tx: Tx, kind: Kind, row: Row) -> None:
    params = unmanage_brick.params(kind=kind, id=row.id, pool=row.host, pool_id=row.pool_id, gib=row.size_gib)
    work.queue(site, caller, tx, "unmanage_brick", params, resource_id=row.id, project_id=row.project_id)


# where it lies -------------------------------------------------------------------------------------------------------


def usable_pool(site: Site, tx: Tx, host: str) -> Row:
    """The pool that a request names; Invalid while nothing can be asked of it."""
    try:
        pool = hosts.require_pool(tx, host)
    except errors.NotFound as error:
        raise errors.Invalid(
            f"Service cinder-volume could not be found on host {host}; it must look like host@backend#pool.",
            field="host",
        ) from error
    if not pool.enabled:
        raise errors.Invalid(f"Backend {pool.backend} is disabled; enable it first.", field="host")
    if not pool.up or (pool.heartbeat_at or "") < clock.stamp(-site.settings.service_down_time_s):
        raise errors.Invalid(f"Backend {pool.backend} is down; try again when it is up.", field="host")
    return pool


def _type(site: Site, caller: Caller, tx: Tx, pool: PoolView, asked: str | None) -> Row | None:
    """The type that is asked for, or else the default one where the pool serves it."""
    name = asked or type_service.default_name(site, tx, caller)
    row = types.find(tx, name, caller.sees) if name else None
    if row is not None and scheduler_stats.serves(pool, dict(row.extra_specs)):
        type_service.check_encryption(tx, row)
        return row
    if not asked:
        return None
    if row is None:
        raise errors.NotFound(f"Volume type {asked} could not be found.")
    raise errors.Invalid(f"Pool {pool.name} does not serve volumes of type {row.name}.", field="volume_type")


def _stranger(site: Site, pool: Row, name: str) -> Found:
    """What is called so in the pool and belongs to nobody; Invalid where there is no such thing."""
    node, backend = site.world.nodes[pool.host], pools.parse(pool.name).backend
    for found in node.strangers(backend):
        if found.name == name:
            return found
    there = node.find_brick(backend, name) if bricks.parse(name) else None
    if there is not None and there.label is not None:
        raise errors.Invalid(
            f"{name} on {pool.name} belongs to {there.label.kind} {there.label.id} already: it is not taken over.",
            field="ref",
        )
    raise errors.Invalid(
        f"There is no {name} on {pool.name} that could be taken over; list what there is to see the names.",
        field="ref",
    )
