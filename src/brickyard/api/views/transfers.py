"""Transfers as the wire shows them: under the older of their two names, whichever was asked for."""

from __future__ import annotations

from typing import Any

from brickyard.api.request import Request
from brickyard.api.views.volumes import links
from brickyard.db.database import Row

# microversion, field, value
ADDED: tuple[tuple[str, str, Any], ...] = (
    ("3.55", "no_snapshots", lambda row: bool(row.no_snapshots)),
    ("3.57", "source_project_id", lambda row: row.project_id),
    ("3.57", "destination_project_id", lambda row: None),  # who accepts one ends it
    ("3.57", "accepted", lambda row: False),
)


def brief(request: Request, row: Row) -> dict[str, Any]:
    """The view of plain lists, and of what was accepted."""
    return {
        "id": row.id,
        "volume_id": row.volume_id,
        "name": row.name,
        "links": links(request, "os-volume-transfer", row.id),
    }


def detailed(request: Request, row: Row) -> dict[str, Any]:
    """The view of show and of detailed lists."""
    view = {**brief(request, row), "created_at": row.created_at}
    return view | {name: value(row) for since, name, value in ADDED if request.since(since)}


def created(request: Request, row: Row, key: str) -> dict[str, Any]:
    """The only view that has the key."""
    return {**detailed(request, row), "auth_key": key}
