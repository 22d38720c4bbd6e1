"""Attachments: who may use a volume, from where. Their rows decide the status of the volume (store.settle)."""

from __future__ import annotations

import dataclasses
from typing import Any

import sqlalchemy as sa

from brickyard.core import clock, errors
from brickyard.core.states import A
from brickyard.db import flows as flow_rows
from brickyard.db import listing, schema
from brickyard.db.database import Row, Tx

attachments, volumes = schema.attachments, schema.volumes
WIDE = sa.select(attachments, volumes.c.project_id.label("project_id")).join(
    volumes, volumes.c.id == attachments.c.volume_id
)
# Built once: each step of an attachment's life runs them, and to build one takes longer than to run it.
BY_ID = WIDE.where(attachments.c.id == sa.bindparam("id"))
BY_ID_AND_PROJECT = BY_ID.where(volumes.c.project_id == sa.bindparam("project_id"))
OF_VOLUME = WIDE.where(attachments.c.volume_id == sa.bindparam("volume")).order_by(attachments.c.created_at)
INSERT = sa.insert(attachments)
_THIS = attachments.c.id == sa.bindparam("this")
UPDATE = sa.update(attachments).where(_THIS)
DELETE = sa.delete(attachments).where(_THIS)
CONNECTED = UPDATE.where(attachments.c.status.in_((A.ATTACHING, A.ATTACHED)))
FLOWS = ("attach_volume", "detach_volume")
NVMEOF = "nvmeof"  # the driver_volume_type of what is exported to a host that is none of ours
BUSY = (
    sa.select(schema.flows.c.id)
    .where(
        schema.flows.c.resource_id == sa.bindparam("volume"),
        schema.flows.c.name.in_(FLOWS),
        schema.flows.c.status.in_(flow_rows.OPEN),
    )
    .limit(1)
)


def insert(tx: Tx, **values: Any) -> None:
    tx.execute(INSERT, {"created_at": clock.stamp(), **values})


def find(tx: Tx, id: str, project_id: str | None = None) -> Row | None:
    """One attachment; visible to the project of its volume."""
    if project_id is None:
        return tx.execute(BY_ID, {"id": id}).one_or_none()
    return tx.execute(BY_ID_AND_PROJECT, {"id": id, "project_id": project_id}).one_or_none()


def list_(tx: Tx, query: listing.Query) -> list[Row]:
    statement = WIDE
    if query.project_id is not None:
        statement = statement.where(volumes.c.project_id == query.project_id)
        if query.marker is not None and find(tx, query.marker, query.project_id) is None:
            raise errors.NotFound(f"Marker {query.marker} could not be found.")
    wide = dataclasses.replace(query, project_id=None)
    return listing.page(tx, statement, attachments, wide)


def is_exported(row: Row) -> bool:
    """Whether a host that is none of ours has the volume by NVMe."""
    return (row.connection_info or {}).get("driver_volume_type") == NVMEOF


def of_volume(tx: Tx, volume_id: str) -> list[Row]:
    """The oldest first."""
    return list(tx.execute(OF_VOLUME, {"volume": volume_id}))


def of_instance(tx: Tx, instance_id: str) -> list[Row]:
    """The oldest first."""
    return list(tx.execute(WIDE.where(attachments.c.instance_uuid == instance_id).order_by(attachments.c.created_at)))


def known_by_path(tx: Tx, backend: str) -> list[str]:
    """The volumes of a backend (host@backend) whose path on their host somebody outside was told, or is being told, or
    the kernel serves."""
    ours = schema.volume_backends.c.name == backend
    rows = tx.execute(
        WIDE.join(schema.volume_backends, schema.volume_backends.c.id == volumes.c.backend_id).where(ours)
    )
    told = [
        row
        for row in rows
        if row.status == A.ATTACHING or "device_path" in (row.connection_info or {}) or is_exported(row)
    ]
    return sorted({str(row.volume_id) for row in told})


def update(tx: Tx, id: str, **values: Any) -> bool:
    """Change anything but the status, which only store.py changes."""
    assert "status" not in values
    return tx.execute(UPDATE, {"this": id, "updated_at": clock.stamp(), **values}).rowcount == 1


def delete(tx: Tx, id: str) -> bool:
    return tx.execute(DELETE, {"this": id}).rowcount == 1


def connected(tx: Tx, id: str, **values: Any) -> bool:
    """Write the connection of an attachment; False when nobody waits for one: it is being detached, or gone."""
    return tx.execute(CONNECTED, {"this": id, "updated_at": clock.stamp(), **values}).rowcount == 1


def busy(tx: Tx, volume_id: str) -> str | None:
    """The flow that connects or disconnects an attachment of the volume now: one at a time, so that none closes a
    brick that another has just opened."""
    return tx.scalar(BUSY, {"volume": volume_id})
