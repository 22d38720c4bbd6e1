"""Everything that a use case needs, built once at the start and handed down; and who asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from brickyard.core.settings import Agents, Service
from brickyard.db.database import Database
from brickyard.flows.world import World
from brickyard.service.policy import Policy


class Waker(Protocol):
    """How a conductor hears of a flow, and how a request waits for the end of one. `here`: it is in this process."""

    @property
    def here(self) -> bool: ...

    def wake(self, id: str) -> None: ...

    def wait(self, id: str, timeout_s: float) -> str | None: ...

    def dead(self) -> list[str]:
        """What should run here and does not; of a conductor elsewhere nothing is known."""


class Identity(Protocol):
    """Who is behind a token that another service has given out."""

    def identify(self, environ: Mapping[str, Any]) -> Identified:
        """By the WSGI environment of a request; Unauthorized, or Unavailable when that service does not answer."""

    def ahead(self, environ: dict[str, Any]) -> None:
        """Ask now for a request that is going to wait, and keep the answer in it."""


@dataclass(frozen=True, slots=True)
class Identified:
    """What a token says. `is_service`: another service asks for the user, and has proved that it is one."""

    user_id: str
    project_id: str  # empty: of none, but of the whole system
    roles: tuple[str, ...]
    is_service: bool = False
    token: str | None = field(default=None, repr=False)
    catalog: str | None = field(default=None, repr=False)  # of services, as JSON


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `is_admin`: sees and may do what the policy gives to administrators, in any project.

    `is_service`: a service that detaches properly, and may say that a volume is not in use. With `token` and `catalog`,
    where they are known, other services may be asked for the caller.
    """

    user_id: str
    project_id: str  # empty: the whole system; what belongs to a project cannot be made by such a caller
    roles: tuple[str, ...]
    request_id: str
    is_admin: bool = False
    is_service: bool = False
    token: str | None = field(default=None, repr=False)
    catalog: str | None = field(default=None, repr=False)

    @property
    def sees(self) -> str | None:
        """The project whose resources the caller may look at by id; None: any."""
        return None if self.is_admin else self.project_id


@dataclass(frozen=True, slots=True)
class Site:
    world: World
    waker: Waker
    policy: Policy
    agents: Agents | None = None  # None: there is no message broker, and no node but our own
    identity: Identity | None = None  # None: tokens are our own, or none are needed
    host: str = "localhost"  # of this process

    @property
    def db(self) -> Database:
        return self.world.db

    @property
    def settings(self) -> Service:
        return self.world.settings
