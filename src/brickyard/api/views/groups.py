"""Groups as the wire shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from brickyard.api.request import Request
from brickyard.db.database import Row

# microversion, field, value
ADDED: tuple[tuple[str, str, Any], ...] = (
    ("3.14", "group_snapshot_id", lambda row: row.group_snapshot_id),
    ("3.14", "source_group_id", lambda row: row.source_group_id),
    ("3.38", "replication_status", lambda row: "not-capable"),
)


def brief(row: Row, volumes: Sequence[str] | None = None) -> dict[str, Any]:
    """The view of plain lists and of create; `volumes` where they were asked for."""
    return {"id": row.id, "name": row.name} | ({} if volumes is None else {"volumes": list(volumes)})


def detailed(request: Request, row: Row, volumes: Sequence[str] | None = None) -> dict[str, Any]:
    """The view of show and of detailed lists."""
    view: dict[str, Any] = {
        "id": row.id,
        "status": row.status,
        "availability_zone": row.availability_zone,
        "created_at": row.created_at,
        "name": row.name,
        "description": row.description,
        "group_type": row.group_type_id,
        "volume_types": list(row.volume_type_ids),
    }
    for version, name, value in ADDED:
        if request.since(version):
            view[name] = value(row)
    if volumes is not None:
        view["volumes"] = list(volumes)
    if request.since("3.58") and request.allows("group:group_project_attribute", row.project_id):
        view["project_id"] = row.project_id
    return view
