"""Messages as the wire shows them."""

from __future__ import annotations

from typing import Any

from brickyard.api.request import Request
from brickyard.api.views.volumes import links
from brickyard.db.database import Row


def full(request: Request, row: Row) -> dict[str, Any]:
    view = {
        "id": row.id,
        "event_id": row.event_id,
        "user_message": row.user_message,
        "message_level": row.level,
        "created_at": row.created_at,
        "guaranteed_until": row.guaranteed_until,
        "request_id": row.request_id,
        "links": links(request, "messages", row.id),
    }
    if row.resource_type:
        view["resource_type"] = row.resource_type
    if row.resource_uuid:
        view["resource_uuid"] = row.resource_uuid
    return view
