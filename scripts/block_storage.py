"""docs/reference/block-storage-v3.md: every operation, from the tables of the API and the exchanges of the tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from brickyard.api import openapi_v3, versions
from brickyard.api.schemas import shapes

EXAMPLES = Path(__file__).parent.parent / "docs" / "reference" / "block-storage-examples.json"
INTRODUCTION = f"""\
Every operation at microversion {versions.MAX}, the newest. A request names its microversion in a header,
`OpenStack-API-Version: volume {versions.MAX}`, or has {versions.MIN}. [versions.md](versions.md) says what came when.
`GET /v3/openapi.json` is the same as this page for programs, at each microversion. A path may have the id of the
project behind `/v3`. Errors have one form: `{{"badRequest": {{"code": 400, "message": "…"}}}}`, under a key that
follows from the status.

Of a body, what is marked with * must be there. The rule in brackets decides who may, and can be changed by the
operator. The examples are exchanges with a service, recorded and compared again by `tests/http/test_examples.py`; long
lists are cut."""
LISTED, WIDTH = 2, 112  # items of a list in an example; characters up to which JSON stands in a line
TITLES = {
    "os-volume-manage": "volumes in pools, older names",
    "manageable_volumes": "volumes in pools",
    "os-snapshot-manage": "snapshots in pools, older names",
    "manageable_snapshots": "snapshots in pools",
    "os-volume-transfer": "transfers, older names",
    "volume-transfers": "transfers",
    "os-quota-sets": "quotas",
    "os-quota-class-sets": "quota classes",
    "os-services": "services",
    "os-hosts": "hosts",
    "os-availability-zone": "availability zones",
    "scheduler-stats": "pools",
}


def page(generated: str) -> str:
    document = openapi_v3.document(versions.MAX)
    examples = json.loads(EXAMPLES.read_text())
    lines = ["# Block Storage v3", "", generated, "", *INTRODUCTION.splitlines()]
    chapters: dict[str, list[openapi_v3.Operation]] = {}
    for operation in openapi_v3.found(versions.MAX):
        chapters.setdefault(operation.path.split("/")[1], []).append(operation)
    for chapter, operations in chapters.items():
        title = TITLES.get(chapter, chapter.replace("_", " ").replace("-", " "))
        lines += ["", f"## {title[0].upper()}{title[1:]}"]
        for operation in operations:
            lines += section(operation, document, examples.get(f"{operation.method} {operation.key}"))
    return "\n".join(lines) + "\n"


def section(operation: openapi_v3.Operation, document: dict[str, Any], example: dict[str, Any] | None) -> Iterator[str]:
    said = document["paths"][operation.key][operation.method.lower()]
    name = f"`{operation.method} /v3{operation.path}`" + (f", `{operation.action}`" if operation.action else "")
    yield from ("", f"### {name}", "", said["summary"])
    facts = [f"since {operation.since}"] if operation.since > versions.MIN else []
    facts += [f"[{operation.policy}]"] if operation.policy else []
    yield f"Answers {operation.said.status}" + (f"; {', '.join(facts)}" if facts else "") + "."
    query = [parameter for parameter in said["parameters"] if parameter.get("in") == "query"]
    if query:
        yield from ("", f"Query: {', '.join(parameter_(one) for one in query)}.")
    if operation.body is not None:
        yield from ("", *body(operation.body))
    if later := ", ".join(f"`{name}` {since}" for name, since in added(operation.said.answer, document)):
        yield from ("", f"In the answer since: {later}.")
    if example is not None:
        yield from ("", "```", f"{operation.method} {example['request']['path']}")
        if example["request"]["body"] is not None:
            yield shown(example["request"]["body"])
        yield from ("", str(example["status"]))
        if example["answer"] is not None:
            yield shown(example["answer"])
        yield "```"


def body(schema: dict[str, Any]) -> Iterator[str]:
    """The fields of a body, each in a line."""
    if "properties" not in schema:
        yield f"Body: {form(schema)}."
        return
    yield from ("Body:", "")
    for name, inner in schema["properties"].items():
        mark = "*" if name in schema.get("required", ()) else ""
        if not inner.get("properties"):
            yield f"- `{name}`{mark}: {form(inner)}"
            continue
        others = "" if inner.get("additionalProperties") is False else ", and others"
        yield f"- `{name}`{mark}, an object{others}:"
        for field, value in inner["properties"].items():
            yield f"    - `{field}`{'*' if field in inner.get('required', ()) else ''}: {form(value)}"


def parameter_(one: dict[str, Any]) -> str:
    since = one["schema"].get("x-since")
    return f"`{one['name']}`" + ("*" if one["required"] else "") + (f" (since {since})" if since else "")


def form(schema: dict[str, Any]) -> str:
    """What a schema allows, in words."""
    if "enum" in schema:
        return "one of " + ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if schema == shapes.boolean:
        return "a boolean, or a word for one"
    if str(schema.get("pattern", "")).startswith("^[0-9a-fA-F]{8}"):
        return "an id"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(form(one) for one in schema["anyOf"]))
    kinds = schema.get("type", [])
    words = [kind_(kind, schema) for kind in ([kinds] if isinstance(kinds, str) else kinds)]
    return " or ".join(words) or "anything"


def kind_(kind: str, schema: dict[str, Any]) -> str:
    if kind == "object" and schema.get("properties"):
        required = schema.get("required", ())
        inner = [f"`{name}`{'*' if name in required else ''} {form(one)}" for name, one in schema["properties"].items()]
        more = [] if schema.get("additionalProperties") is False else ["and others"]
        return "{ " + "; ".join([*inner, *more]) + " }"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"an object of {form(values)}" if isinstance(values, dict) else "an object"
    if kind == "array":
        return f"a list of {form(schema['items'])}" if schema.get("items") else "a list"
    if kind == "integer" and "minimum" in schema:
        return f"{schema['minimum']} to {schema['maximum']}" if "maximum" in schema else f"from {schema['minimum']}"
    named = {"string": "text", "integer": "whole number", "boolean": "boolean", "null": "null", "number": "number"}
    bound = f" of at most {schema['maxLength']}" if kind == "string" and "maxLength" in schema else ""
    return named[kind] + bound


def added(name: str | None, document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Fields of an answer that came later, and when."""
    schemas = document["components"]["schemas"]
    seen: set[str] = set()

    def walk(schema: Any) -> Iterator[tuple[str, str]]:
        if isinstance(schema, list):
            for item in schema:
                yield from walk(item)
        if not isinstance(schema, dict):
            return
        target = str(schema.get("$ref", "")).rsplit("/", 1)[-1]
        if target and target not in seen:
            seen.add(target)
            yield from walk(schemas[target])
        for field, inner in schema.get("properties", {}).items():
            if "x-since" in inner:
                yield field, inner["x-since"]
        for inner in schema.values():
            yield from walk(inner)

    return walk({"$ref": f"#/{name}"}) if name else iter(())


def shown(value: Any, indent: str = "") -> str:
    """JSON with short things in a line, and long lists cut."""
    line = json.dumps(value, ensure_ascii=False)
    deeper = indent + "  "
    if isinstance(value, list) and len(value) > LISTED and isinstance(value[0], dict):
        items = [shown(item, deeper) for item in value[:LISTED]]
        return "[\n" + ",\n".join(deeper + item for item in items) + f",\n{deeper}…\n{indent}]"
    if len(indent) + len(line) <= WIDTH or not value or not isinstance(value, dict | list):
        return line
    if isinstance(value, list):
        return "[\n" + ",\n".join(deeper + shown(item, deeper) for item in value) + f"\n{indent}]"
    items = [f"{deeper}{json.dumps(key)}: {shown(item, deeper)}" for key, item in value.items()]
    return "{\n" + ",\n".join(items) + f"\n{indent}}}"
