"""Snapshots as the wire shows them."""

from __future__ import annotations

from typing import Any

from brickyard.api.request import Request
from brickyard.db.database import Row


def brief(request: Request, row: Row) -> dict[str, Any]:
    """The view of plain lists."""
    return {
        "id": row.id,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "name": row.name,
        "description": row.description,
        "volume_id": row.volume_id,
        "status": row.status,
        "size": row.size_gib,
        "metadata": row.metadata,
    }


def full(request: Request, row: Row) -> dict[str, Any]:
    """The view of create and update."""
    view = brief(request, row)
    for version, name, value in ADDED:
        if request.since(version):
            view[name] = value(row)
    return view


def detailed(request: Request, row: Row) -> dict[str, Any]:
    """The view of show and of detailed lists."""
    view = full(request, row)
    if request.allows("volume_extension:extended_snapshot_attributes", row.project_id):
        view["os-extended-snapshot-attributes:project_id"] = row.project_id
        view["os-extended-snapshot-attributes:progress"] = f"{row.progress}%"
    return view


# microversion, field, value
ADDED: tuple[tuple[str, str, Any], ...] = (
    ("3.14", "group_snapshot_id", lambda row: row.group_snapshot_id),
    ("3.41", "user_id", lambda row: row.user_id),
    ("3.65", "consumes_quota", lambda row: True),
)
