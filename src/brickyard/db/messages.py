"""User messages: why something asynchronous failed, in words for the person who asked; and what befell a pool."""

from __future__ import annotations

import dataclasses
import uuid

import sqlalchemy as sa

from brickyard.core import clock
from brickyard.db import listing, schema
from brickyard.db.database import Row, Tx

messages = schema.messages
TTL_S = 30 * 86400
OPERATORS = "-"  # instead of a project: for administrators, whatever project they work in

ACTIONS = {
    "schedule": ("001", "schedule allocate volume"),
    "attach": ("002", "attach volume"),
    "upload": ("003", "copy volume to image"),
    "copy_image": ("005", "copy image to volume"),
    "extend": ("007", "extend volume"),
    "create": ("008", "create volume from backend storage"),
    "snapshot_create": ("009", "create snapshot"),
    "snapshot_delete": ("010", "delete snapshot"),
    "revert": ("011", "update snapshot"),
    "backup_create": ("013", "create backup"),
    "backup_delete": ("014", "delete backup"),
    "backup_restore": ("015", "restore backup"),
    "move": ("008", "move volume"),
    "reimage": ("016", "reimage volume"),
}
DETAILS = {
    "unknown": ("001", "An unknown error occurred."),
    "no_host": ("003", "Could not find any available weighted backend."),
    "quota": ("006", "Quota exceeded."),
    "extend_failed": ("010", "Volume backend failed to extend the volume."),
    "move_failed": ("012", "Driver failed to create the volume."),
    "create_failed": ("012", "Driver failed to create the volume."),
    "snapshot_failed": ("013", "Volume snapshot failed."),
    "backup_failed": ("020", "Backup driver failed to create backup."),
    "backup_delete_failed": ("023", "Backup driver failed to delete backup."),
    "restore_failed": ("024", "Backup driver failed to restore backup."),
    "image_unacceptable": ("029", "The image is in a format, or asks for something, that is not accepted."),
}


def insert(
    tx: Tx,
    *,
    project_id: str,
    request_id: str | None,
    resource_type: str,
    resource_uuid: str,
    action: str,
    detail: str,
    cause: str = "",
) -> None:
    """Tell the owner of a resource what went wrong; `cause` is what we know beyond the field's standard text."""
    action_code, action_text = ACTIONS[action]
    detail_code, detail_text = DETAILS[detail]
    tx.execute(
        sa.insert(messages).values(
            id=str(uuid.uuid4()),
            project_id=project_id,
            request_id=request_id,
            event_id=f"VOLUME_{resource_type}_{action_code}_{detail_code}",
            user_message=f"{action_text}:{detail_text} {cause}".rstrip(),
            level="ERROR",
            resource_type=resource_type,
            resource_uuid=resource_uuid,
            guaranteed_until=clock.stamp(TTL_S),
            created_at=clock.stamp(),
        )
    )


def tell_operators(tx: Tx, *, event: str, level: str, text: str, resource_type: str, resource_uuid: str | None) -> None:
    """Tell the administrators something that is no project's business."""
    tell(tx, project_id=OPERATORS, event=event, level=level, text=text, resource=(resource_type, resource_uuid))


def tell(tx: Tx, *, project_id: str, event: str, level: str, text: str, resource: tuple[str, str | None]) -> None:
    """Tell a project what happened by itself, and not to a request."""
    tx.execute(
        sa.insert(messages).values(
            id=str(uuid.uuid4()),
            project_id=project_id,
            event_id=event,
            user_message=text,
            level=level,
            resource_type=resource[0],
            resource_uuid=resource[1],
            guaranteed_until=clock.stamp(TTL_S),
            created_at=clock.stamp(),
        )
    )


def find(tx: Tx, id: str, project_id: str | None = None) -> Row | None:
    """One message; None if it is not there, or not the project's."""
    statement = sa.select(messages).where(messages.c.id == id)
    if project_id is not None:
        statement = statement.where(messages.c.project_id == project_id)
    return tx.execute(statement).one_or_none()


def list_(tx: Tx, query: listing.Query, *, operators: bool = False) -> list[Row]:
    """`operators`: with what is for administrators, beside what is the project's."""
    if operators and query.project_id is not None:
        either = {**query.filters, "project_id": (query.project_id, OPERATORS)}
        query = dataclasses.replace(query, project_id=None, filters=either)
    return listing.page(tx, sa.select(messages), messages, query)


def delete(tx: Tx, id: str) -> None:
    tx.execute(sa.delete(messages).where(messages.c.id == id))


def forget_expired(tx: Tx) -> int:
    return tx.execute(sa.delete(messages).where(messages.c.guaranteed_until < clock.stamp())).rowcount
