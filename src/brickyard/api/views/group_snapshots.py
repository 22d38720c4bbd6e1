"""Group snapshots as the wire shows them."""

from __future__ import annotations

from typing import Any

from brickyard.api.request import Request
from brickyard.db.database import Row


def brief(row: Row) -> dict[str, Any]:
    return {"id": row.id, "name": row.name}


def created(row: Row) -> dict[str, Any]:
    return {**brief(row), "group_type_id": row.group_type_id}


def detailed(request: Request, row: Row) -> dict[str, Any]:
    view = {
        "id": row.id,
        "group_id": row.group_id,
        "group_type_id": row.group_type_id,
        "status": row.status,
        "created_at": row.created_at,
        "name": row.name,
        "description": row.description,
    }
    if request.since("3.58") and request.allows("group:group_snapshot_project_attribute", row.project_id):
        view["project_id"] = row.project_id
    return view
