"""Bodies of volume requests."""

from __future__ import annotations

from brickyard.api.schemas import shapes
from brickyard.api.schemas.shapes import Schema

ONE_OR_MORE: list[Schema] = [
    {"type": "string"},
    {"type": "array", "items": {"type": "string", "maxLength": 255}, "maxItems": 1000, "uniqueItems": True},
    {"type": "null"},
]
HINTS: Schema = {
    "anyOf": [
        {"type": "null"},
        shapes.opened(
            {
                "local_to_instance": shapes.maybe_uuid,
                "same_host": {"anyOf": ONE_OR_MORE},
                "different_host": {"anyOf": ONE_OR_MORE},
                "query": {"type": ["string", "object", "null"]},
            }
        ),
    ]
}

_NEW: dict[str, Schema] = {
    "name": shapes.name,
    "display_name": shapes.name,
    "description": shapes.text,
    "display_description": shapes.text,
    "size": shapes.maybe_size,
    "availability_zone": shapes.name,
    "volume_type": shapes.name,
    "metadata": shapes.maybe_metadata,
    "snapshot_id": shapes.maybe_uuid,
    "source_volid": shapes.maybe_uuid,
    "consistencygroup_id": shapes.maybe_uuid,
    "group_id": shapes.maybe_uuid,
    "backup_id": shapes.maybe_uuid,
    "imageRef": {"type": ["string", "null"], "maxLength": 255},
    "image_id": {"type": ["string", "null"], "maxLength": 255},
    "multiattach": {"anyOf": [shapes.boolean, {"type": "null"}]},
    "OS-SCH-HNT:scheduler_hints": HINTS,
}
_TOP = {"OS-SCH-HNT:scheduler_hints": HINTS}

CREATE = {
    "3.0": shapes.wrapped("volume", shapes.opened(_NEW), **_TOP),
    "3.53": shapes.wrapped("volume", shapes.closed(_NEW), **_TOP),
}

_CHANGE: dict[str, Schema] = {
    "name": shapes.name,
    "display_name": shapes.name,
    "description": shapes.text,
    "display_description": shapes.text,
    "metadata": shapes.maybe_metadata,
}
UPDATE = {
    "3.0": shapes.wrapped("volume", shapes.opened(_CHANGE)),
    "3.53": shapes.wrapped("volume", shapes.closed(_CHANGE, minProperties=1)),
}
