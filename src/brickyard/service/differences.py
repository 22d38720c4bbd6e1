"""What differs between the records and what hosts show: the words for it, and the rules that find it.

A rule is a function of both. It looks in both directions, says what it found in a sentence that ends with what to do,
and which repair brings it in order, if one can without guessing. Rules read no disk and no row: see `audit.look`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from brickyard.core.bricks import Exported, Found
from brickyard.hypervisor.machine import Running


class Repair(enum.StrEnum):
    """What a repair does."""

    ADOPT = "adopt"  # give a brick its row back
    REMOVE = "remove"  # wipe and delete a brick of ours
    DISOWN = "disown"  # make a brick nobody's, with its content: `manage` takes it over under another id
    TIDY = "tidy"  # remove what dead verbs left
    DESTROY = "destroy"  # end a guest
    RELEASE = "release"  # give back a claim that nobody owns
    RELEASE_HOST = "release_host"
    CLAIM = "claim"  # claim what is there already
    RECOUNT = "recount"  # write what the claims add up to
    CLEAR = "clear"  # clear a reservation
    UNEXPORT = "unexport"  # serve a brick no longer


GRACEFUL = (
    Repair.REMOVE,
    Repair.TIDY,
    Repair.DESTROY,
    Repair.UNEXPORT,
)  # what is gone is gone: not before it was seen for long


@dataclass(frozen=True, slots=True)
class Difference:
    kind: str
    where: str  # a pool, a host, or "database"
    name: str  # of the brick, or the id
    message: str
    about: tuple[str, ...] = ()  # ids: while a flow works on one of them, it is no difference
    repair: Repair | None = None
    removal: Repair | None = None  # instead, where the administrator wants orphans removed
    release: Repair | None = None  # instead, where the administrator wants lost bricks recovered
    found: tuple[Found, ...] = ()  # bricks that a repair takes together: a volume, then its snapshots
    project_id: str | None = None
    pool_id: str | None = None  # or host

    @property
    def key(self) -> str:
        return f"{self.kind} {self.where} {self.name}"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the hosts show."""

    bricks: Mapping[str, Sequence[Found]]  # by the id of the pool
    leftovers: Mapping[str, Mapping[str, tuple[str, ...]]]  # by the id of the pool, and the brick
    guests: Mapping[str, Sequence[Running]]  # by the name of the host
    exports: Mapping[str, Sequence[Exported]]  # by the name of the host
    unseen: Mapping[str, str]  # pool or host → why nothing is known of it
