"""Reads across nouns: what lists show beside their own rows, and what holds a pool or an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from brickyard.core.states import C, I, S, V
from brickyard.db import schema
from brickyard.db.database import Row, Tx

volumes, attachments, instances = schema.volumes, schema.attachments, schema.instances
flows, images, snapshots = schema.flows, schema.images, schema.snapshots
BOOTING = (I.BUILDING, I.STARTING)
READING = (V.CREATING, V.DOWNLOADING)  # volumes in these read their image
CHUNK = 500  # ids in one IN (…)


def volumes_of(tx: Tx, instance_ids: Sequence[str]) -> dict[str, list[Row]]:
    """The volumes of some instances, attached or about to be, by instance id."""
    found: dict[str, list[Row]] = {}
    statement: sa.Select[Any] = (
        sa.select(
            attachments.c.id.label("attachment_id"),
            attachments.c.instance_uuid,
            attachments.c.status.label("attach_status"),
            attachments.c.mountpoint,
            volumes.c.id,
            volumes.c.name,
            volumes.c.size_gib,
            volumes.c.status,
            schema.pools.c.name.label("pool"),
        )
        .join(volumes, volumes.c.id == attachments.c.volume_id)
        .outerjoin(schema.pools, schema.pools.c.id == volumes.c.pool_id)
        .order_by(attachments.c.created_at, attachments.c.id)
    )
    for start in range(0, len(instance_ids), CHUNK):
        chunk = instance_ids[start : start + CHUNK]
        for row in tx.execute(statement.where(attachments.c.instance_uuid.in_(chunk))):
            found.setdefault(row.instance_uuid, []).append(row)
    return found


def newest_flows(tx: Tx, resource_ids: Sequence[str]) -> dict[str, str]:
    """The id of the newest flow of some resources, by resource id."""
    found: dict[str, str] = {}
    for start in range(0, len(resource_ids), CHUNK):
        chunk = resource_ids[start : start + CHUNK]
        statement = sa.select(flows.c.resource_id, flows.c.id).where(flows.c.resource_id.in_(chunk))
        for row in tx.execute(statement.order_by(flows.c.created_at)):
            found[row.resource_id] = row.id
    return found


def held(tx: Tx, pool_id: str) -> dict[str, list[str]]:
    """What is on a pool or promised of it: ids by noun. Whatever is claimed and has no row yet is 'claims'."""
    found = {
        "volumes": list(tx.scalars(sa.select(volumes.c.id).where(volumes.c.pool_id == pool_id))),
        "snapshots": list(tx.scalars(sa.select(snapshots.c.id).where(snapshots.c.pool_id == pool_id))),
        "instances": list(tx.scalars(sa.select(instances.c.id).where(instances.c.root_pool_id == pool_id))),
    }
    cached = schema.cached_images
    found["cached images"] = list(tx.scalars(sa.select(cached.c.id).where(cached.c.pool_id == pool_id)))
    known = {id for ids in found.values() for id in ids}
    claimed = tx.scalars(sa.select(schema.claims.c.brick_id).where(schema.claims.c.pool_id == pool_id))
    found["claims"] = [id for id in claimed if id not in known]
    return {noun: sorted(ids) for noun, ids in found.items() if ids}


def deleting_gib(tx: Tx) -> dict[str, int]:
    """What is claimed of each pool by bricks that are being deleted: nobody's any more, and not free before their
    content cannot be read."""
    claims = schema.claims
    found: dict[str, int] = {}
    wiped = (
        (volumes, V.DELETING),
        (snapshots, S.DELETING),
        (instances, I.DELETING),
        (schema.cached_images, C.DELETING),
    )
    for table, gone in wiped:
        statement = sa.select(claims.c.pool_id, sa.func.sum(claims.c.gib)).join(table, table.c.id == claims.c.brick_id)
        for pool_id, gib in tx.execute(statement.where(table.c.status == gone).group_by(claims.c.pool_id)):
            found[pool_id] = found.get(pool_id, 0) + int(gib)
    return found


def image_users(tx: Tx, image_id: str) -> dict[str, list[str]]:
    """The volumes that are being made of an image, or made it anew, and the instances that boot of it: they read it."""
    making = sa.select(volumes.c.id).where(volumes.c.image_id == image_id, volumes.c.status.in_(READING))
    building = sa.select(instances.c.id).where(instances.c.image_id == image_id, instances.c.status.in_(BOOTING))
    found = {"volumes": list(tx.scalars(making)), "instances": list(tx.scalars(building))}
    return {noun: sorted(ids) for noun, ids in found.items() if ids}


def image_files(tx: Tx) -> set[str]:
    """The SHA-256 of every file that an image has."""
    return {sha256 for files in tx.scalars(sa.select(images.c.files)) for sha256 in files.values()}
