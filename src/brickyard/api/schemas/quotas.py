"""Bodies of quota requests. Which keys there are depends on the volume types: the service checks them."""

from __future__ import annotations

from brickyard.api.schemas import shapes
from brickyard.api.schemas.shapes import Schema

MOST = 2**31 - 1
_LIMIT: Schema = {
    "anyOf": [
        {"type": "integer", "minimum": -1, "maximum": MOST},
        {"type": "string", "pattern": "^(-1|[0-9]{1,10})$"},
    ]
}
_ANY: Schema = {"type": ["string", "null"], "maxLength": 255}
_LIMITS: Schema = {
    "type": "object",
    "properties": {"id": _ANY, "tenant_id": _ANY},
    "additionalProperties": _LIMIT,
    "minProperties": 1,
}

UPDATE = {"3.0": shapes.opened({"quota_set": _LIMITS}, ("quota_set",))}
UPDATE_CLASS = {"3.0": shapes.opened({"quota_class_set": _LIMITS}, ("quota_class_set",))}
