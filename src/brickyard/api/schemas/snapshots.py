"""Bodies of snapshot requests."""

from __future__ import annotations

from brickyard.api.schemas import shapes
from brickyard.api.schemas.shapes import Schema

_NAMES: dict[str, Schema] = {
    "name": shapes.name,
    "display_name": shapes.name,
    "description": shapes.text,
    "display_description": shapes.text,
}
_NEW: dict[str, Schema] = {
    **_NAMES,
    "volume_id": shapes.maybe_uuid,
    "force": {"anyOf": [shapes.boolean, {"type": "null"}]},
    "metadata": shapes.maybe_metadata,
}

CREATE = {"3.0": shapes.wrapped("snapshot", shapes.closed(_NEW, ("volume_id",)))}
UPDATE = {"3.0": shapes.wrapped("snapshot", shapes.closed(_NAMES, minProperties=1))}
RESET: Schema = shapes.closed({"status": {"type": "string", "minLength": 1}}, ("status",))
PROGRESS: Schema = shapes.closed(
    {"status": {"type": "string"}, "progress": {"type": ["string", "null"], "pattern": "^(100|[0-9]{1,2})%$"}},
    ("status",),
)
