"""Backups as the wire shows them."""

from __future__ import annotations

from typing import Any

from brickyard.api.request import Request
from brickyard.api.views.volumes import links
from brickyard.db.database import Row

OWNER = "backup:backup_project_attribute"


def brief(request: Request, row: Row) -> dict[str, Any]:
    """The view of plain lists, and of what was created, changed or imported."""
    return {"id": row.id, "name": row.name, "links": links(request, "backups", row.id)}


def detailed(request: Request, row: Row) -> dict[str, Any]:
    """The view of show and of detailed lists."""
    view = {
        **brief(request, row),
        "status": row.status,
        "size": row.size_gib,
        "object_count": row.object_count,
        "availability_zone": row.availability_zone,
        "container": row.container,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "description": row.description,
        "fail_reason": row.fault,
        "volume_id": row.volume_id,
        "is_incremental": row.parent_id is not None,
        "has_dependent_backups": bool(row.has_dependents),
        "snapshot_id": row.snapshot_id,
        "data_timestamp": row.data_timestamp,
    }
    shows_owner = request.allows(OWNER, row.project_id)
    return view | {
        name: value(row) for since, name, value, owner in ADDED if request.since(since) and (shows_owner or not owner)
    }


# microversion, field, value, whether it says whose the backup is
ADDED: tuple[tuple[str, str, Any, bool], ...] = (
    ("3.18", "os-backup-project-attr:project_id", lambda row: row.project_id, True),
    ("3.43", "metadata", lambda row: row.metadata, False),
    ("3.56", "user_id", lambda row: row.user_id, True),
)
