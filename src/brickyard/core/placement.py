"""The values of a placement: what hosts offer, what a request asks, what is answered.

Everything here is frozen. The index over many hosts is `inventory`, the rules are `filters` and `weighers`, and the
decision is `ranking`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from brickyard.core import topology


@dataclass(frozen=True, slots=True)
class PoolView:
    """One pool as the last refresh saw it."""

    id: str
    name: str  # host@backend#pool
    host: str
    backend: str
    backend_name: str  # volume_backend_name
    zone: str  # the availability zone of its backend
    driver: str
    total_gib: int
    limit_gib: int  # what may be promised: the limit of the database's claim
    claimed_gib: int
    free_gib: int  # what is really free, as the storage reports it
    thin: bool
    volumes: int
    capabilities: Mapping[str, Any]
    up: bool = True
    why_down: str = ""
    data_percent: float | None = None  # how full a thin pool really is; None where that cannot hurt
    metadata_percent: float | None = None
    too_full: str = ""  # figure and threshold, where it is so full that it takes nothing new

    @property
    def address(self) -> str:
        """host@backend, the form in which volumes name their holder."""
        return self.name.partition("#")[0]


@dataclass(frozen=True, slots=True)
class HostView:
    """One host with its labels, its room for instances and its pools."""

    name: str
    labels: Mapping[str, str]
    vcpus_total: int
    vcpus_claimed: int
    memory_mib_total: int
    memory_mib_claimed: int
    up: bool
    why_down: str
    enabled: bool
    pools: tuple[PoolView, ...]
    compute: bool  # whether instances may run here
    exports: bool = True  # whether instances of other hosts may have volumes here

    @property
    def memory_mib_free(self) -> int:
        return self.memory_mib_total - self.memory_mib_claimed


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator decided about placement."""

    multipliers: Mapping[str, float] = field(default_factory=dict)  # of weighers; the rest keep their defaults
    thin_reserve_percent: int = 5  # a thin pool takes nothing new when less than this is really free
    seed: int | None = None  # breaks ties differently per conductor, so that they do not all race for one pool
    levels: topology.Levels = field(default_factory=topology.Levels)


@dataclass(frozen=True, slots=True)
class Ask:
    """One new volume."""

    size_gib: int
    extra_specs: Mapping[str, str | None] = field(default_factory=dict)
    zones: frozenset[str] = frozenset()  # allowed availability zones; empty allows all
    pinned: frozenset[str] = frozenset()  # host@backend or host@backend#pool; empty allows all
    same_host: frozenset[str] | None = None  # backends that hold the volumes to be with; empty: none was found
    different_host: frozenset[str] = frozenset()
    query: str | None = None  # the JSON of the `query` hint
    excluded: frozenset[str] = frozenset()  # pools, by name, that failed already
    near: str | None = None  # a host; closer pools weigh more
    needs: frozenset[str] = frozenset()  # capabilities of the driver, see core.abilities


@dataclass(frozen=True, slots=True)
class Boot:
    """One instance with its volumes: those that are new, and those that exist."""

    vcpus: int
    memory_mib: int
    volumes: tuple[Ask, ...] = ()
    holders: tuple[str, ...] = ()  # the hosts that hold its existing volumes
    locality: str = topology.HOST  # the widest level that instance and volumes shall share
    required: bool = True
    zones: frozenset[str] = frozenset()  # allowed zone labels of the instance's host; empty allows all
    excluded: frozenset[str] = frozenset()  # hosts that failed already
    near: str | None = None  # a host; closer candidates weigh more


@dataclass(frozen=True, slots=True)
class Refusal:
    """The rule that said no, with its numbers."""

    rule: str
    message: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A host that can run the request, and one pool for each new volume in the order of the request."""

    host: HostView
    pools: tuple[PoolView, ...]
    weight: float
    distance: int = 0  # index of the level that instance and volumes share


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one host or pool: a rank with its weights, or the rule that refused it."""

    name: str
    rank: int | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    refusal: Refusal | None = None
    pools: tuple[Verdict, ...] = ()


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best candidates, best first. `verdicts` is filled only if there is none: then somebody will ask why."""

    candidates: tuple[Candidate, ...]
    verdicts: tuple[Verdict, ...] = ()
