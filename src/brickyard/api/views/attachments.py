"""Attachments as the wire shows them."""

from __future__ import annotations

from typing import Any

from brickyard.db.database import Row


def brief(row: Row) -> dict[str, Any]:
    """The view of plain lists."""
    return {"id": row.id, "status": row.status, "instance": row.instance_uuid, "volume_id": row.volume_id}


def detailed(row: Row) -> dict[str, Any]:
    """A mode that nobody has chosen yet is the word `null`, and a time that has not come is empty."""
    return {
        **brief(row),
        "attached_at": row.attached_at or "",
        "detached_at": row.detached_at or "",
        "attach_mode": row.mode or "null",
        "connection_info": row.connection_info or {},
    }


def connection(row_info: dict[str, Any]) -> dict[str, Any]:
    """A connection in the form of the older calls: the kind and what is asked of multipath, and the rest as `data`."""
    data = {name: value for name, value in row_info.items() if name not in OUTSIDE}
    return {**{name: row_info[name] for name in OUTSIDE if name in row_info}, "data": data}


OUTSIDE = ("driver_volume_type", "enforce_multipath")
