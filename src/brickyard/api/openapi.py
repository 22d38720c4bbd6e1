"""The OpenAPI 3.1 document of /v1, made from the table of operations and the schemas, so that it cannot fall behind."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from importlib import metadata
from typing import Any

from brickyard.api.own_routes import BINARY, JSON, Operation
from brickyard.api.schemas import own as schemas

PARAMETERS = re.compile(r"{(\w+)}")
FAULTS = {
    "400": "The request is wrong: `field` says where, `message` what is allowed.",
    "401": "A valid token is needed in X-Auth-Token.",
    "403": "The policy does not allow it.",
    "404": "There is no such resource, or not for this caller.",
    "409": "The state of the resource or another request is in the way; if no place was found, `refusals` says why.",
    "413": "The quota, or a limit on size, does not allow it.",
    "503": "A host or backend that is needed is down.",
}


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        route = operation.route
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Brickyard",
            "version": metadata.version("brickyard"),
            "summary": "Hosts, pools, flavors, images, instances with their local storage, reservations and flows.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.ANSWERS,
            "responses": {status: _fault(text) for status, text in FAULTS.items()},
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    route = operation.route
    text = inspect.getdoc(route.handler) or ""
    summary, _, more = text.partition("\n\n")
    where = route.path.removeprefix("/v1/").partition("/")[0].removesuffix(".json")
    found: dict[str, Any] = {
        "operationId": f"{where}_{route.handler.__name__}",
        "summary": summary.replace("\n", " "),
        "tags": [where],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in PARAMETERS.findall(route.path)
        ]
        + [{"name": name, "in": "query", "schema": schema} for name, schema in operation.query.items()],
        "responses": {
            **{str(status): _answer(operation, name) for status, name in operation.answers.items()},
            **{status: {"$ref": f"#/components/responses/{status}"} for status in FAULTS},
        },
    }
    if more:
        found["description"] = more
    if route.public:
        found["security"] = []
    if operation.body is not None:
        found["requestBody"] = {"required": True, "content": {JSON: {"schema": operation.body}}}
    elif route.stream:
        found["requestBody"] = {"required": True, "content": {BINARY: {}}}
    return found


def _answer(operation: Operation, name: str | None) -> dict[str, Any]:
    if name is not None:
        return {"description": name, "content": {JSON: {"schema": {"$ref": f"#/components/schemas/{name}"}}}}
    if operation.produces != JSON:
        return {"description": operation.produces, "content": {operation.produces: {"schema": {"type": "string"}}}}
    return {"description": "Done; no body." if 204 in operation.answers else "An object."}


def _fault(text: str) -> dict[str, Any]:
    return {"description": text, "content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}}
