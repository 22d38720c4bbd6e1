"""Bodies of group snapshot requests."""

from __future__ import annotations

from brickyard.api.schemas import shapes

CREATE = {
    "3.14": shapes.wrapped(
        "group_snapshot",
        shapes.closed({"group_id": shapes.uuid, "name": shapes.name, "description": shapes.text}, ("group_id",)),
    )
}
