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


def insert(tx: Tx, **values: Any) -> None:
    tx.execute(sa.insert(attachments).values(created_at=clock.stamp(), **values))


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


def of_volume(tx: Tx, volume_id: str) -> list[Row]:
    """The oldest first."""
    return list(tx.execute(OF_VOLUME, {"volume": volume_id}))


def of_instance(tx: Tx, instance_id: str) -> list[Row]:
    """The oldest first."""
    return list(tx.execute(WIDE.where(attachments.c.instance_uuid == instance_id).order_by(attachments.c.created_at)))


def update(tx: Tx, id: str, **values: Any) -> bool:
    """Change anything but the status, which only store.py changes."""
    assert "status" not in values
    done = tx.execute(sa.update(attachments).where(attachments.c.id == id).values(updated_at=clock.stamp(), **values))
    return done.rowcount == 1


def delete(tx: Tx, id: str) -> bool:
    return tx.execute(sa.delete(attachments).where(attachments.c.id == id)).rowcount == 1


def connected(tx: Tx, id: str, **values: Any) -> bool:
    """Write the connection of an attachment; False when nobody waits for one: it is being detached, or gone."""
    waiting = sa.and_(attachments.c.id == id, attachments.c.status.in_((A.ATTACHING, A.ATTACHED)))
    done = tx.execute(sa.update(attachments).where(waiting).values(updated_at=clock.stamp(), **values))
    return done.rowcount == 1


def busy(tx: Tx, volume_id: str) -> str | None:
    """The flow that connects or disconnects an attachment of the volume now: one at a time, so that none closes a
    brick that another has just opened."""
    flows = schema.flows
    running = sa.and_(flows.c.resource_id == volume_id, flows.c.name.in_(FLOWS), flows.c.status.in_(flow_rows.OPEN))
    return tx.scalar(sa.select(flows.c.id).where(running).limit(1))


FLOWS = ("attach_volume", "detach_volume")
