"""Bodies of group requests, and values of the actions of groups."""

from __future__ import annotations

from brickyard.api.schemas import shapes
from brickyard.api.schemas.shapes import Schema

_NAMES: dict[str, Schema] = {"name": shapes.name, "description": shapes.text}
_IDS: Schema = {"type": ["string", "null"], "maxLength": 65535}  # joined by commas

CREATE = {
    "3.13": shapes.wrapped(
        "group",
        shapes.closed(
            {
                **_NAMES,
                "group_type": shapes.word,
                "volume_types": {"type": "array", "items": shapes.word, "minItems": 1, "uniqueItems": True},
                "availability_zone": shapes.name,
            },
            ("group_type", "volume_types"),
        ),
    )
}
UPDATE = {"3.13": shapes.wrapped("group", shapes.closed({**_NAMES, "add_volumes": _IDS, "remove_volumes": _IDS}))}
DELETE: Schema = shapes.closed({"delete-volumes": shapes.boolean})
RESET: Schema = shapes.closed({"status": shapes.word}, ("status",))
CREATE_FROM: Schema = shapes.closed(
    {**_NAMES, "group_snapshot_id": shapes.maybe_uuid, "source_group_id": shapes.maybe_uuid}
)
