"""Pieces that schemas are made of."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

BOOLEANS = ["True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes", "y", "t"]
BOOLEANS += ["False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no", "n", "f"]

boolean: Schema = {"anyOf": [{"type": "boolean"}, {"enum": BOOLEANS}]}
name: Schema = {"type": ["string", "null"], "maxLength": 255}
text: Schema = {"type": ["string", "null"], "maxLength": 255}
word: Schema = {"type": "string", "minLength": 1, "maxLength": 255}
host: Schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[a-zA-Z0-9-._#@:/+\[\]]*$"}
uuid: Schema = {"type": "string", "pattern": "^[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}$"}
maybe_uuid: Schema = {"anyOf": [uuid, {"type": "null"}]}
metadata: Schema = {
    "type": "object",
    "propertyNames": {"pattern": "^[a-zA-Z0-9-_:. /]{1,255}$"},
    "additionalProperties": {"type": "string", "maxLength": 255},
}
maybe_metadata: Schema = {"anyOf": [metadata, {"type": "null"}]}
size: Schema = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
        {"type": "string", "pattern": "^0*[1-9][0-9]{0,9}$"},
    ]
}
maybe_size: Schema = {"anyOf": [*size["anyOf"], {"type": "null"}]}


def closed(properties: dict[str, Schema], required: tuple[str, ...] = (), **more: Any) -> Schema:
    """An object with these keys and no others."""
    return {**opened(properties, required), "additionalProperties": False, **more}


def opened(properties: dict[str, Schema], required: tuple[str, ...] = (), **more: Any) -> Schema:
    """An object with these keys and any others."""
    return {"type": "object", "properties": properties, "required": list(required), **more}


def wrapped(key: str, inner: Schema, **others: Schema) -> Schema:
    """A body whose top level is `key`."""
    return closed({key: inner, **others}, (key,))
