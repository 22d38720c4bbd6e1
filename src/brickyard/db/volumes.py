"""Volumes. The rows that leave here carry `volume_type` (name), `host` (host@backend#pool) and `consistencygroup_id`
beside their own columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from brickyard.core import clock
from brickyard.core.states import S, V
from brickyard.db import group_types, listing, schema
from brickyard.db.database import Row, Tx

volumes, attachments = schema.volumes, schema.attachments

# the group, where it is a consistency group
_CONSISTENCY_GROUP = (
    sa.select(schema.groups.c.id)
    .where(schema.groups.c.id == volumes.c.group_id, schema.groups.c.group_type_id.in_(group_types.CONSISTENT))
    .scalar_subquery()
)
BESIDE = (
    schema.volume_types.c.name.label("volume_type"),
    schema.pools.c.name.label("host"),
    _CONSISTENCY_GROUP.label("consistencygroup_id"),
    sa.exists(sa.select(attachments.c.id).where(attachments.c.volume_id == volumes.c.id)).label("has_attachments"),
)


def _joined(*columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    return (
        sa.select(*columns, *BESIDE)
        .select_from(volumes)
        .outerjoin(schema.volume_types, schema.volume_types.c.id == volumes.c.volume_type_id)
        .outerjoin(schema.pools, schema.pools.c.id == volumes.c.pool_id)
    )


WIDE = _joined(*volumes.c, schema.volume_types.c.extra_specs.label("extra_specs"))
JSON = ("metadata", "image_metadata")
FLAGS = ("bootable", "multiattach", "readonly")
UNSHOWN = ("before", "target_gib", "backend_id", "backup_id", "fault", "generation")
# For long lists: JSON stays text, and a flag stays the number that it is in the database, because to convert each
# takes longer than to find the row; what an answer does not show is left out.
LISTED = _joined(
    *(c for c in volumes.c if c.name not in (*JSON, *FLAGS, *UNSHOWN)),
    *(sa.cast(volumes.c[name], sa.Text).label(name) for name in JSON),
    *(sa.type_coerce(volumes.c[name], sa.Integer).label(name) for name in FLAGS),
)
BY_ID = WIDE.where(volumes.c.id == sa.bindparam("id"))
INSERT = sa.insert(volumes)
UPDATE = sa.update(volumes).where(volumes.c.id == sa.bindparam("this"))
BY_ID_AND_PROJECT = BY_ID.where(volumes.c.project_id == sa.bindparam("project_id"))

ATTACHMENTS = (
    sa.select(attachments)
    .where(attachments.c.volume_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(attachments.c.created_at)
)


def insert(tx: Tx, **values: Any) -> None:
    tx.execute(INSERT, {"created_at": clock.stamp(), **values})


def find(tx: Tx, id: str, project_id: str | None = None) -> Row | None:
    """One volume; None if it is not there, or not the project's (None: any project's)."""
    if project_id is None:
        return tx.execute(BY_ID, {"id": id}).one_or_none()
    return tx.execute(BY_ID_AND_PROJECT, {"id": id, "project_id": project_id}).one_or_none()


def list_(tx: Tx, query: listing.Query) -> list[Row]:
    return listing.page(tx, WIDE, volumes, query)


def list_raw(tx: Tx, query: listing.Query) -> list[Row]:
    """As `list_`, with metadata and image_metadata as JSON text, and without what no answer shows."""
    return listing.page(tx, LISTED, volumes, query)


def summary(tx: Tx, query: listing.Query) -> Row:
    """total and size_gib of all that match."""
    return listing.count(tx, volumes, query, sa.func.coalesce(sa.func.sum(volumes.c.size_gib), 0).label("size_gib"))


def metadata_of(tx: Tx, query: listing.Query) -> list[dict[str, str]]:
    """The metadata of all that match, of those that have any."""
    statement = listing.narrowed(sa.select(volumes.c["metadata"]), volumes, query)
    return [found for found in tx.scalars(statement) if found]


def not_a_source(volume_id: str | None, snapshot_ids: Sequence[str]) -> sa.ColumnElement[bool]:
    """Nothing is being created from the volume or the snapshots: they must stay until it is done."""
    new = volumes.alias("new")
    origin: sa.ColumnElement[bool] = new.c.snapshot_id.in_(snapshot_ids)
    if volume_id is not None:  # NULL is the source of every volume that is made of nothing
        origin = sa.or_(new.c.source_volid == volume_id, origin)
    return ~sa.exists(sa.select(new.c.id).where(new.c.status == V.CREATING, origin))


def not_being_copied(volume_id: str) -> sa.ColumnElement[bool]:
    """Neither a volume nor a snapshot is being made of the volume: a copy is as large as what it copies."""
    snapshots = schema.snapshots
    making = sa.select(snapshots.c.id).where(snapshots.c.volume_id == volume_id, snapshots.c.status == S.CREATING)
    return sa.and_(not_a_source(volume_id, []), ~sa.exists(making))


def update(tx: Tx, id: str, **values: Any) -> bool:
    """Change anything but the status, which only store.py changes."""
    assert "status" not in values
    done = tx.execute(UPDATE, {"this": id, "updated_at": clock.stamp(), **values})
    return done.rowcount == 1


def switch(tx: Tx, id: str, *, from_pool_id: str, generation: int, **values: Any) -> bool:
    """The volume lies elsewhere from here on, with this generation; False unless it lay on that pool."""
    there = sa.and_(volumes.c.id == id, volumes.c.pool_id == from_pool_id)
    return tx.execute(sa.update(volumes).where(there).values(generation=generation, **values)).rowcount == 1


def attachments_of(tx: Tx, found: Iterable[Row]) -> dict[str, list[Row]]:
    """The attachments of some volumes, by volume id, the oldest first; of rows that leave here."""
    ids = [row.id for row in found if row.has_attachments]
    attached: dict[str, list[Row]] = {}
    for chunk in _chunks(ids):
        for row in tx.execute(ATTACHMENTS, {"ids": chunk}):
            attached.setdefault(row.volume_id, []).append(row)
    return attached


def on_pool(tx: Tx, pool_id: str) -> list[Row]:
    return list(tx.execute(WIDE.where(volumes.c.pool_id == pool_id)))


def of_group(tx: Tx, group_id: str) -> list[Row]:
    """The oldest first."""
    return list(tx.execute(WIDE.where(volumes.c.group_id == group_id).order_by(volumes.c.created_at, volumes.c.id)))


def hosts_of(tx: Tx, ids: Iterable[str], project_id: str | None) -> dict[str, str]:
    """host@backend#pool of some volumes, those that are placed."""
    statement = WIDE.where(volumes.c.id.in_(list(ids)))
    if project_id is not None:
        statement = statement.where(volumes.c.project_id == project_id)
    return {row.id: row.host for row in tx.execute(statement) if row.host}


def _chunks(ids: Sequence[str], size: int = 500) -> Iterable[Sequence[str]]:
    return (ids[n : n + size] for n in range(0, len(ids), size))
