"""Bodies of volume type requests."""

from __future__ import annotations

from brickyard.api.schemas import shapes
from brickyard.api.schemas.shapes import Schema

_SPEC_VALUE: Schema = {"type": ["string", "null"], "maxLength": 255}
_SPECS: Schema = {
    "type": "object",
    "propertyNames": {"pattern": "^[a-zA-Z0-9-_:.]{1,255}$"},
    "additionalProperties": _SPEC_VALUE,
}

CREATE = {
    "3.0": shapes.wrapped(
        "volume_type",
        shapes.closed(
            {
                "name": {"type": "string", "maxLength": 255},
                "description": shapes.text,
                "extra_specs": {"anyOf": [_SPECS, {"type": "null"}]},
                "os-volume-type-access:is_public": shapes.boolean,
            },
            ("name",),
        ),
    )
}
UPDATE = {
    "3.0": shapes.wrapped(
        "volume_type",
        shapes.closed({"name": shapes.name, "description": shapes.text, "is_public": shapes.boolean}),
    )
}
SPECS_CREATE = {"3.0": shapes.wrapped("extra_specs", _SPECS)}
SPEC_UPDATE = {"3.0": {**_SPECS, "minProperties": 1, "maxProperties": 1}}

ACCESS: Schema = shapes.closed({"project": shapes.word}, ("project",))
