"""What /types and /group_types have in common: kinds that an administrator offers, with specs under them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from brickyard.api.request import Reply, Request, boolean
from brickyard.core import errors
from brickyard.db.database import Row
from brickyard.service.site import Caller, Site


class Service(Protocol):
    """The module of the service that changes them."""

    def update(self, site: Site, caller: Caller, id: str, values: Mapping[str, Any]) -> Row: ...
    def delete(self, site: Site, caller: Caller, id: str) -> None: ...
    def set_specs(self, site: Site, caller: Caller, id: str, specs: Mapping[str, Any]) -> None: ...
    def delete_spec(self, site: Site, caller: Caller, id: str, key: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Kinds:
    """Handlers of one of the two. `key` and `specs_key` are the keys of bodies, `read` the specs that a caller sees."""

    noun: str
    key: str
    specs_key: str
    service: Service
    view: Callable[[Request, Row], dict[str, Any]]
    read: Callable[[Request, str], Mapping[str, Any]]
    specs_status: int  # of an answer to new specs

    def update(self, request: Request, id: str) -> Reply:
        body = request.body[self.key]
        values = {key: body[key] for key in ("name", "description", "is_public") if body.get(key) is not None}
        if not values:
            raise errors.Invalid(f"Specify {self.noun} name, description, is_public or a combination of them.")
        if "is_public" in values:
            values["is_public"] = boolean(values["is_public"], "is_public")
        row = self.service.update(request.site, request.caller, id, values)
        return Reply(200, {self.key: self.view(request, row)})

    def delete(self, request: Request, id: str) -> Reply:
        self.service.delete(request.site, request.caller, id)
        return Reply(202)

    def specs(self, request: Request, id: str) -> Reply:
        return Reply(200, {self.specs_key: self.read(request, id)})

    def spec(self, request: Request, id: str, key: str) -> Reply:
        found = self.read(request, id)
        if key not in found:
            word = self.specs_key.replace("_", " ").removesuffix("s")
            raise errors.NotFound(f"{self.noun.capitalize()} {id} has no {word} {key}.")
        return Reply(200, {key: found[key]})

    def create_specs(self, request: Request, id: str) -> Reply:
        given = request.body[self.specs_key]
        self.service.set_specs(request.site, request.caller, id, given)
        return Reply(self.specs_status, {self.specs_key: given})

    def update_spec(self, request: Request, id: str, key: str) -> Reply:
        if set(request.body) != {key}:
            raise errors.Invalid(f"The body must have the one key that the URL names, {key}.", field=self.specs_key)
        self.service.set_specs(request.site, request.caller, id, request.body)
        return Reply(200, request.body)

    def delete_spec(self, request: Request, id: str, key: str) -> Reply:
        self.service.delete_spec(request.site, request.caller, id, key)
        return Reply(202)
