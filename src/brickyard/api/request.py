"""What a handler gets and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from brickyard.api.versions import Version
from brickyard.core import errors
from brickyard.service.site import Caller, Site

TRUE = {"true", "1", "on", "yes", "y", "t"}
FALSE = {"false", "0", "off", "no", "n", "f"}


@dataclass(frozen=True, slots=True)
class Request:
    site: Site
    caller: Caller
    version: Version
    query: Mapping[str, str]
    body: Any
    base: str  # the URL up to and with /v3, and the project where the request had it; for links
    headers: Mapping[str, str]
    path: str = ""  # below /v3 and the project, as it was asked for

    def since(self, version: str) -> bool:
        """Whether the request's microversion has what came with `version`."""
        major, minor = version.split(".")
        return self.version >= (int(major), int(minor))

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean query parameter; 400 when it is no boolean."""
        value = self.query.get(name)
        return default if value is None else boolean(value, name)

    def allows(self, rule: str, project_id: str | None = None) -> bool:
        return self.site.policy.allows(rule, self.caller, project_id)

    def check(self, rule: str, project_id: str | None = None) -> None:
        self.site.policy.check(rule, self.caller, project_id)


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: Any = None  # None: no body at all; bytes: JSON that is rendered already
    headers: Mapping[str, str] = field(default_factory=dict)
    stream: Iterable[bytes] | None = None
    content_type: str = "application/json"


Handler = Callable[..., Reply]  # (Request, **path variables)


def boolean(value: Any, name: str) -> bool:
    """A boolean in any spelling of the wire."""
    word = str(value).strip().lower()
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    raise errors.Invalid(f"{name} must be a boolean (true or false), and not {value!r}.", field=name)
