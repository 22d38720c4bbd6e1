"""Whether an exchange is as the description of v3 says: the operation, its body, its status and its answer."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from typing import Any

import jsonschema_rs

from brickyard.api import openapi_v3, versions

PREFIX = re.compile(r"/v3(/[0-9a-f-]{32,36})?(?=/)")
SUCCESS = range(200, 300)


def check(method: str, path: str, asked: str | None, body: Any, status: int, content: bytes) -> str | None:
    """The key of the operation, if there is one; AssertionError if the exchange is not as described.

    `path` is that from the root without a query, `asked` the header OpenStack-API-Version, `body` what was sent if it
    was JSON.
    """
    prefix = PREFIX.match(path)
    if prefix is None or path in ("/v3/", "/v3/openapi.json"):
        return None
    try:
        version = versions.requested(asked)
    except Exception:
        return None
    operation = find(version, method, path[prefix.end() :].removesuffix(".json"), body)
    if operation is None:
        assert status not in SUCCESS, f"{method} {path} answers {status}, and is not described at {version}"
        return None
    where = f"{method} {operation} at {version}: {status} {content[:600].decode(errors='replace')}"
    said = document(version)["paths"][operation][method.lower()]
    assert str(status) in said["responses"], f"this status is not described: {where}"
    answer = said["responses"][str(status)]
    if "$ref" in answer:
        answer = document(version)["components"]["responses"][answer["$ref"].rsplit("/", 1)[1]]
    if "content" not in answer:
        assert not content, f"there is a body: {where}"
        return operation
    schema = answer["content"]["application/json"]["schema"]
    wrong = list(validator(version, schema["$ref"]).iter_errors(json.loads(content)))
    assert not wrong, f"{where}: {'; '.join(f'{one.instance_path}: {one.message}' for one in wrong[:3])}"
    if status in SUCCESS and "requestBody" in said and body is not None:
        sent = jsonschema_rs.Draft202012Validator(said["requestBody"]["content"]["application/json"]["schema"])
        assert sent.is_valid(body), f"the body that was sent is not described: {body}: {where}"
    return operation


@functools.cache
def document(version: versions.Version) -> dict[str, Any]:
    return openapi_v3.document(version)


@functools.cache
def validator(version: versions.Version, ref: str) -> Any:
    components = {"schemas": document(version)["components"]["schemas"]}
    return jsonschema_rs.Draft202012Validator({"$ref": ref, "components": components})


def find(version: versions.Version, method: str, path: str, body: Any) -> str | None:
    """The key of the operation of a request; one without variables in its path goes before one with them."""
    action = next(iter(body), "") if isinstance(body, Mapping) else ""
    fits = [
        key
        for key, pattern in patterns(version)
        if method.lower() in document(version)["paths"][key] and pattern.fullmatch(path)
    ]
    fits = [key for key in fits if "#" not in key or key.partition("#")[2] == action]
    return min(fits, key=lambda key: key.count("{")) if fits else None


@functools.cache
def patterns(version: versions.Version) -> list[tuple[str, re.Pattern[str]]]:
    def pattern(key: str) -> re.Pattern[str]:
        return re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(key.partition("#")[0])))

    return [(key, pattern(key)) for key in document(version)["paths"]]
