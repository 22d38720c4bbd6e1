"""Snapshots of consistency groups as the wire shows them."""

from __future__ import annotations

from typing import Any

from brickyard.db.database import Row


def brief(row: Row) -> dict[str, Any]:
    """The view of plain lists and of create."""
    return {"id": row.id, "name": row.name}


def detailed(row: Row) -> dict[str, Any]:
    """The view of show and of detailed lists."""
    return {
        **brief(row),
        "consistencygroup_id": row.group_id,
        "status": row.status,
        "created_at": row.created_at,
        "description": row.description,
    }
