"""Consistency groups as the wire shows them."""

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
        "status": row.status,
        "availability_zone": row.availability_zone,
        "created_at": row.created_at,
        "description": row.description,
        "volume_types": list(row.volume_type_ids),
    }
