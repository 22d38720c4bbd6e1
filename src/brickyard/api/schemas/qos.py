"""Bodies of requests about QoS specs: any keys, with texts or numbers."""

from __future__ import annotations

from brickyard.api.schemas import shapes
from brickyard.api.schemas.shapes import Schema

_VALUE: Schema = {"type": ["string", "integer"], "maxLength": 255}
_KEYS: Schema = {"pattern": r"^[a-zA-Z0-9-_:. ]{1,255}$"}
_MOST = 128  # of one body

CREATE = {
    "3.0": shapes.wrapped(
        "qos_specs",
        shapes.opened({"name": shapes.word}, ("name",), propertyNames=_KEYS, additionalProperties=_VALUE),
    )
}
UPDATE = {
    "3.0": shapes.wrapped(
        "qos_specs",
        {
            "type": "object",
            "propertyNames": _KEYS,
            "additionalProperties": _VALUE,
            "minProperties": 1,
            "maxProperties": _MOST,
        },
    )
}
DELETE_KEYS = {
    "3.0": shapes.wrapped(
        "keys", {"type": "array", "items": {"type": "string", "maxLength": 255}, "minItems": 1, "maxItems": _MOST}
    )
}
