"""QoS specs as the wire shows them."""

from __future__ import annotations

from typing import Any

from brickyard.api.request import Request
from brickyard.api.views.volumes import links
from brickyard.db.database import Row


def full(row: Row) -> dict[str, Any]:
    return {"id": row.id, "name": row.name, "consumer": row.consumer, "specs": row.specs}


def alone(request: Request, row: Row) -> dict[str, Any]:
    """The body of show and create: the links stand beside."""
    return {"qos_specs": full(row), "links": links(request, "qos-specs", row.id)}


def association(row: Row) -> dict[str, Any]:
    """A volume type that has them."""
    return {"association_type": "volume_type", "name": row.name, "id": row.id}
