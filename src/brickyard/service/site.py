"""Everything that a use case needs, built once at the start and handed down; and who asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from brickyard.core.settings import Agents, Service
from brickyard.db.database import Database
from brickyard.flows.world import World
from brickyard.service.policy import Policy


class Waker(Protocol):
    """How a conductor hears of a flow, and how a request waits for the end of one."""

    def wake(self, id: str) -> None: ...

    def wait(self, id: str, timeout_s: float) -> str | None: ...

    def dead(self) -> list[str]:
        """What should run here and does not; of a conductor elsewhere nothing is known."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `is_admin`: sees and may do what the policy gives to administrators, in any project."""

    user_id: str
    project_id: str
    roles: tuple[str, ...]
    request_id: str
    is_admin: bool = False

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

    @property
    def db(self) -> Database:
        return self.world.db

    @property
    def settings(self) -> Service:
        return self.world.settings
