"""Bodies of requests about the encryption of volume types."""

from __future__ import annotations

from brickyard.api.schemas import shapes
from brickyard.api.schemas.shapes import Schema

_FIELDS: dict[str, Schema] = {
    "provider": shapes.word,
    "control_location": {"enum": ["front-end", "back-end"]},
    "cipher": shapes.name,
    "key_size": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 2**31 - 1}, {"type": "null"}]},
}

CREATE = {"3.0": shapes.wrapped("encryption", shapes.opened(_FIELDS, ("provider", "control_location")))}
UPDATE = {"3.0": shapes.wrapped("encryption", shapes.closed(_FIELDS))}
