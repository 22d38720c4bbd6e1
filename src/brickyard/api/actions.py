"""POST …/action: the one key of the body names the action, its value is what the action gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from brickyard.api import validation, versions
from brickyard.api.request import Handler, Reply, Request
from brickyard.core import errors


@dataclass(frozen=True, slots=True)
class Action:
    """One action. `handler` gets the request, the value under the key, and the path's variables. `schema` is that of
    the value; None: it is not looked at."""

    handler: Handler
    policy: str | None
    since: str = "3.0"
    schema: dict[str, Any] | None = None


def dispatcher(table: Mapping[str, Action]) -> Handler:
    """A handler that runs the action which the body names."""

    def dispatch(request: Request, **path: str) -> Reply:
        body = request.body
        if not isinstance(body, dict) or len(body) != 1:
            raise errors.Invalid("Malformed request body: it must be an object with one key, the name of the action.")
        name, value = next(iter(body.items()))
        action = table.get(name)
        if action is None:
            known = ", ".join(sorted(table))
            raise errors.Invalid(f"There is no such action: {name}. There are: {known}.", field=name)
        if request.version < versions.parse(action.since):
            raise errors.NotFound(f"Action {name} came with microversion {action.since}: ask for that or a newer one.")
        if action.policy:
            request.check(action.policy)
        if action.schema is not None:
            validation.check({"type": "object", "properties": {name: action.schema}}, body)
        return action.handler(request, value, **path)

    dispatch.__dict__["actions"] = table  # the tests of the tables look here
    return dispatch
