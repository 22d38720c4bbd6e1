"""Bodies of attachment requests."""

from __future__ import annotations

from brickyard.api.schemas import shapes
from brickyard.api.schemas.shapes import Schema

_NEW: dict[str, Schema] = {
    "volume_uuid": shapes.uuid,
    "instance_uuid": shapes.maybe_uuid,
    "connector": {"type": ["object", "null"]},
}

CREATE = {
    "3.27": shapes.wrapped("attachment", shapes.closed(_NEW, ("volume_uuid",))),
    "3.54": shapes.wrapped("attachment", shapes.closed({**_NEW, "mode": {"enum": ["rw", "ro"]}}, ("volume_uuid",))),
}
UPDATE = {
    "3.27": shapes.wrapped(
        "attachment", shapes.closed({"connector": {"type": "object", "minProperties": 1}}, ("connector",))
    )
}
