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
    path = list(error.instance_path)
    message = error.message
    while error.kind.name == "anyOf":
        forms: Any = functools.reduce(lambda part, key: part[key], error.schema_path, schema)
        near = _near(forms, error.instance)
        message = "; ".join(dict.fromkeys(failed.message for _, failed in near))
        if len(near) > 1:
            break
        schema, error = near[0]
        path += error.instance_path
    path = [part for part in path if isinstance(part, str)]
    message = message if len(message) < 500 else message[:500] + "…"
    if error.kind.name == "additionalProperties":
        message += f"; allowed: {', '.join(_properties(schema, error.schema_path)) or 'none'}"
    if path:
        value = str(error.instance)[:200]
        raise errors.Invalid(f"Invalid input for field/attribute {path[-1]}. Value: {value}. {message}", field=path[-1])
    raise errors.Invalid(message, field=_named(error.kind))


def _near(forms: list[dict[str, Any]], value: Any) -> list[tuple[dict[str, Any], Any]]:
    """What is wrong with `value` as each of the forms that it may have; of another type only if all are."""
    failed = [(form, next(iter(_compiled(msgspec.json.encode(form)).iter_errors(value)))) for form in forms]
    return [(form, error) for form, error in failed if error.kind.name != "type" or error.instance_path] or failed


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
