"""Group types as the wire shows them."""

from __future__ import annotations

from typing import Any

from brickyard.api.request import Request
from brickyard.db.database import Row


def shown(request: Request, row: Row) -> dict[str, Any]:
    view = {"id": row.id, "name": row.name, "description": row.description, "is_public": bool(row.is_public)}
    if request.allows("group:access_group_types_specs"):
        view["group_specs"] = row.group_specs
    return view
