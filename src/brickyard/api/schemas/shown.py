"""Pieces that the schemas of answers are made of.

Objects are closed: a view that shows more than its schema has fails the tests. `x-since` is the microversion in which a
property appeared, and `at` is a schema as it is at one of them.
"""

from __future__ import annotations

from typing import Any

from brickyard.api import versions
from brickyard.api.schemas.shapes import Schema

SINCE = "x-since"

TEXT: Schema = {"type": "string"}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}
WHOLE: Schema = {"type": "integer"}
BOOLEAN: Schema = {"type": "boolean"}
OBJECT: Schema = {"type": "object"}
ID: Schema = {"type": "string", "pattern": "^[0-9a-fA-F-]{32,36}$"}
MAYBE_ID: Schema = {"type": ["string", "null"], "pattern": "^[0-9a-fA-F-]{32,36}$"}
TIME: Schema = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$"}
MAYBE_TIME: Schema = {**TIME, "type": ["string", "null"]}
EMPTY_OR_TIME: Schema = {"type": "string", "pattern": f"^$|{TIME['pattern']}"}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
MAYBE_TEXTS: Schema = {"type": "object", "additionalProperties": MAYBE_TEXT}


def at(schema: Any, version: versions.Version) -> Any:
    """The schema at a microversion: without the properties that came later."""
    if isinstance(schema, list):
        return [at(item, version) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: at(value, version) for key, value in schema.items()}
    if isinstance(properties := schema.get("properties"), dict):
        late = {name for name, inner in properties.items() if SINCE in inner and versions.parse(inner[SINCE]) > version}
        found["properties"] = {name: inner for name, inner in found["properties"].items() if name not in late}
        if "required" in schema:
            found["required"] = [name for name in schema["required"] if name not in late]
    return found


def since(version: str, schema: Schema) -> Schema:
    return {**schema, SINCE: version}


def shown(fields: dict[str, Schema], *sometimes: str) -> Schema:
    """An object with these fields and no others, all of which are there but for those of `sometimes`."""
    return {
        "type": "object",
        "properties": fields,
        "required": [name for name in fields if name not in sometimes],
        "additionalProperties": False,
    }


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def array(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def one(key: str, of: str) -> Schema:
    return shown({key: ref(of)})


def many(key: str, of: str, links: str = "", *, counted: bool = False) -> Schema:
    """A list; `links`: what the link to its next page is called, `counted`: it may say how many there are."""
    more: dict[str, Schema] = {links: array(ref("Link"))} if links else {}
    if counted:
        more["count"] = since("3.45", WHOLE)
    return shown({key: array(ref(of)), **more}, *more)


LINKS: dict[str, Schema] = {"links": array(ref("Link"))}
NAMED: dict[str, Schema] = {"id": ID, "name": MAYBE_TEXT}
