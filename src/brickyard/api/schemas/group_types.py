"""Bodies of group type requests."""

from __future__ import annotations

from brickyard.api.schemas import shapes
from brickyard.api.schemas.shapes import Schema

_SPECS: Schema = {
    "type": "object",
    "propertyNames": {"pattern": "^[a-zA-Z0-9-_:. /]{1,255}$"},
    "additionalProperties": {"type": ["string", "null"], "maxLength": 255},
}

CREATE = {
    "3.11": shapes.wrapped(
        "group_type",
        shapes.closed(
            {
                "name": {"type": "string", "maxLength": 255},
                "description": shapes.text,
                "is_public": shapes.boolean,
                "group_specs": {"anyOf": [_SPECS, {"type": "null"}]},
            },
            ("name",),
        ),
    )
}
UPDATE = {
    "3.11": shapes.wrapped(
        "group_type",
        shapes.closed({"name": shapes.name, "description": shapes.text, "is_public": shapes.boolean}),
    )
}
SPECS_CREATE = {"3.11": shapes.wrapped("group_specs", _SPECS)}
SPEC_UPDATE = {"3.11": {**_SPECS, "minProperties": 1, "maxProperties": 1}}
