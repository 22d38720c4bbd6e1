"""Volume types as the wire shows them. Which keys there are differs between the answers; clients check that."""

from __future__ import annotations

from typing import Any

from brickyard.api.request import Request
from brickyard.db.database import Row
from brickyard.service import types

ACCESS_KEY = "os-volume-type-access:is_public"


def shown(request: Request, row: Row) -> dict[str, Any]:
    """The view of show and list."""
    view = updated(request, row)
    if request.allows("volume_extension:access_types_qos_specs_id"):
        view["qos_specs_id"] = row.qos_specs_id
    if request.allows("volume_extension:volume_type_access"):
        view[ACCESS_KEY] = bool(row.is_public)
    return view


def created(request: Request, row: Row) -> dict[str, Any]:
    return {**updated(request, row), ACCESS_KEY: bool(row.is_public)}


def updated(request: Request, row: Row) -> dict[str, Any]:
    view: dict[str, Any] = {
        "id": row.id,
        "name": row.name,
        "is_public": bool(row.is_public),
        "description": row.description,
    }
    if request.allows("volume_extension:access_types_extra_specs"):
        view["extra_specs"] = types.visible_specs(request.site, request.caller, row)
    return view
