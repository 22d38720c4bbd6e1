"""Bodies against JSON Schemas, compiled once; the error names the field and what is allowed."""

from __future__ import annotations

import functools
from typing import Any

import jsonschema_rs
import msgspec

from brickyard.core import errors


def check(schema: dict[str, Any], body: Any) -> None:
    """Raise Invalid, naming the field, unless `body` fits."""
    validator = _compiled(msgspec.json.encode(schema))
    if validator.is_valid(body):
        return
    error = next(iter(validator.iter_errors(body)))
    path = [part for part in error.instance_path if isinstance(part, str)]
    message = error.message if len(error.message) < 500 else error.message[:500] + "…"
    if error.kind.name == "additionalProperties":
        message += f"; allowed: {', '.join(_properties(schema, error.schema_path)) or 'none'}"
    if path:
        value = str(error.instance)[:200]
        raise errors.Invalid(f"Invalid input for field/attribute {path[-1]}. Value: {value}. {message}", field=path[-1])
    raise errors.Invalid(message, field=_named(error.kind))


def _named(kind: Any) -> str | None:
    """The key that is too much, or missing."""
    if kind.name == "additionalProperties":
        return str(kind.unexpected[0])
    return str(kind.property) if kind.name == "required" else None


def _properties(schema: Any, path: list[Any]) -> list[str]:
    """The keys that the object at `path`, which ends with additionalProperties, may have."""
    for part in path[:-1]:
        schema = schema[part]
    return list(schema.get("properties", ()))


@functools.lru_cache(maxsize=512)
def _compiled(schema: bytes) -> Any:
    return jsonschema_rs.Draft7Validator(msgspec.json.decode(schema), validate_formats=True)
