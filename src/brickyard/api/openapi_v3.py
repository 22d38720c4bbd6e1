"""The OpenAPI 3.1 document of Block Storage v3 at one microversion, made from the tables of routes, operations and
schemas, so that it cannot fall behind.

`x-since` is the microversion that an operation, a parameter or a field came with, `x-policy` the rule that decides who
may. An action is an operation of its own: its path is that of its request with `#` and its name behind, which no client
sends; see docs/decisions/0021.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from brickyard.api import operations, routes, versions
from brickyard.api.openapi import PARAMETERS
from brickyard.api.operations import Described
from brickyard.api.own_routes import JSON
from brickyard.api.schemas import answers, backup_answers, operator_answers, shapes
from brickyard.api.schemas.shapes import Schema
from brickyard.api.schemas.shown import SINCE, at

FAULTS = {
    "400": "The request is wrong, or the status of the resource does not allow it.",
    "401": "A valid token is needed in X-Auth-Token.",
    "403": "The policy does not allow it.",
    "404": "There is no such resource, or not for this caller, or not at this microversion.",
    "406": "This microversion is not served.",
    "409": "Another request is in the way, or there is no place.",
    "413": "The quota, or a limit on size, does not allow it.",
    "415": "The body must be JSON.",
    "503": "A host or backend that is needed is down.",
}
STALE = "Nothing of the resource was changed: it is not what If-Match says. There is no body."
VERSION_HEADER = "OpenStack-API-Version"


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation at one microversion. `body` is the schema of its body, None where it has none."""

    method: str
    path: str  # of the request, below /v3
    action: str | None
    since: versions.Version
    policy: str | None
    body: Schema | None
    said: Described

    @property
    def key(self) -> str:
        return f"{self.path}#{self.action}" if self.action else self.path


def found(version: versions.Version) -> Iterator[Operation]:
    """Every operation that there is at a microversion, in the order of the routes."""
    windows: dict[tuple[str, str], dict[str, routes.Route]] = {}
    for one in routes.ROUTES:
        windows.setdefault((one.method, one.path), {})[one.since] = one
    for (method, path), by_version in windows.items():
        route = versions.pick(by_version, version)
        if route is None:
            continue
        begin = min(map(versions.parse, by_version))
        actions = getattr(route.handler, "actions", None)
        if actions is None:
            body = versions.pick(dict(route.body), version)
            yield Operation(method, path, None, begin, route.policy, body, operations.TABLE[f"{method} {path}"])
            continue
        for name, action in actions.items():
            since = max(begin, versions.parse(action.since))
            if since <= version:
                body = shapes.wrapped(name, action.schema or {})
                said = operations.TABLE[f"{method} {path}#{name}"]
                yield Operation(method, path, name, since, action.policy, body, said)


def document(version: versions.Version) -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in found(version):
        paths.setdefault(operation.key, {})[operation.method.lower()] = _operation(operation, version)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Brickyard, Block Storage v3",
            "version": metadata.version("brickyard"),
            "summary": f"The Block Storage API at microversion {version}.",
            "description": f"Ask with another {VERSION_HEADER} header for the description of another microversion, "
            f"from {versions.MIN} to {versions.MAX}; without one it is that of the newest.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "x-microversion": str(version),
        },
        "servers": [
            {"url": "/v3"},
            {"url": "/v3/{project_id}", "variables": {"project_id": {"default": "0" * 32}}},
        ],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": at({**answers.ANSWERS, **backup_answers.ANSWERS, **operator_answers.ANSWERS}, version),
            "parameters": {"microversion": _microversion(version)},
            "responses": {status: _fault(text) for status, text in FAULTS.items()},
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
        },
    }


def _operation(operation: Operation, version: versions.Version) -> dict[str, Any]:
    said = operation.said
    words = re.findall(r"[\w-]+", operation.key)
    shown: dict[str, Any] = {
        "operationId": "_".join([operation.method.lower(), *words]),
        "summary": said.summary,
        "tags": [words[0]],
        SINCE: str(operation.since),
        "parameters": [*_parameters(operation, version), {"$ref": "#/components/parameters/microversion"}],
        "responses": {
            str(said.status): _answer(said),
            **{status: {"$ref": f"#/components/responses/{status}"} for status in FAULTS},
        },
    }
    if said.conditional:
        shown["responses"]["412"] = {"description": STALE}
    if operation.policy:
        shown["x-policy"] = operation.policy
    if operation.body is not None:
        shown["requestBody"] = {"required": True, "content": {JSON: {"schema": operation.body}}}
    return shown


def _parameters(operation: Operation, version: versions.Version) -> Iterator[dict[str, Any]]:
    for name in PARAMETERS.findall(operation.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    for name, schema in operation.said.query.items():
        if versions.parse(schema.get(SINCE, "3.0")) <= version:
            yield {"name": name, "in": "query", "required": name in operation.said.wants, "schema": schema}
    if operation.said.conditional and version >= (3, 15):
        yield {"name": "If-Match", "in": "header", "schema": {"type": "string", SINCE: "3.15"}}


def _microversion(version: versions.Version) -> dict[str, Any]:
    needed = version > versions.MIN
    return {"name": VERSION_HEADER, "in": "header", "required": needed, "schema": {"const": f"volume {version}"}}


def _answer(said: Described) -> dict[str, Any]:
    if said.answer is None:
        return {"description": "Done; no body."}
    schema = {"$ref": f"#/components/schemas/{said.answer}"}
    return {"description": said.answer, "content": {JSON: {"schema": schema}}}


def _fault(text: str) -> dict[str, Any]:
    return {"description": text, "content": {JSON: {"schema": {"$ref": "#/components/schemas/Fault"}}}}
