"""What a host that is drained still has, and where that can go: found from the rows at any moment, by whoever asks.

A move that a drain has begun names it in its parameters, so nothing else has to be kept of how far a drain is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from brickyard.core import clock, errors, filters, placement, pools, ranking, topology
from brickyard.core.inventory import Site as Place
from brickyard.db import audit, claims, flows, hosts, instances, losses, volumes
from brickyard.db.database import Row, Tx
from brickyard.flows import mirror_volume, move_volume, moving, remove_copy
from brickyard.flows.create_volume import to_ask
from brickyard.flows.world import World

CHOICES = 8  # of the best pools when a move begins: it takes the first of them that has room then
TOLD = 3  # pools of those that refuse a volume are told
MOVES = (move_volume.FLOW.name, mirror_volume.FLOW.name)
SKEW_S = 3600.0  # by which the clock of a conductor may be behind that of the API, who stamp moves and drains


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a volume. `state`: moved, moving, planned, waiting (for what else works on it), failed or stays.
    `ask`, as JSON, and `use` are those of the move that is planned; `flow` is the move that was begun."""

    volume: Row
    state: str
    target: str | None = None  # a pool
    reason: str | None = None
    ask: dict[str, Any] | None = None
    use: moving.Use | None = None
    flow: Row | None = None


def look(world: World, tx: Tx, host: Row, drain: Row | None, limit: int | None = None) -> list[Fate]:
    """The volumes of a host, the largest first, and those that `drain` (a flow) has moved away; with `limit` no more
    than that once so many are planned. Each is planned with what those before it would leave."""
    begun = moves_of(tx, drain)
    there = losses.on_host(tx, host.id).volumes
    found, planned, picture = [], 0, Picture(world, tx, host)
    for id in [row.id for row in sorted(there, key=lambda row: (-row.size_gib, row.id))]:
        fate = _fate(tx, picture, id, begun.pop(id, None))
        if fate is not None:
            found.append(fate)
            planned += fate.state == "planned"
        if limit is not None and planned >= limit:
            break
    return found + [fate for id, flow in begun.items() if (fate := _left(tx, id, flow, host)) is not None]


def moves_of(tx: Tx, drain: Row | None) -> dict[str, Row]:
    """Volume → the newest move that a drain has begun for it."""
    if drain is None:
        return {}
    every = flows.named_since(tx, MOVES, clock.earlier(drain.created_at, SKEW_S))
    return {row.params["volume_id"]: row for row in every if row.params.get("drain") == drain.id}


def _fate(tx: Tx, picture: Picture, id: str, move: Row | None) -> Fate | None:
    row = volumes.find(tx, id)
    if row is None:
        return None
    if move is not None and move.status in flows.OPEN:
        return Fate(row, "moving", _target(tx, row), flow=move)
    if move is not None and move.status == "failed":
        return Fate(row, "failed", reason=move.error, flow=move)
    try:
        return picture.plan(tx, row)
    except errors.BrickyardError as error:
        if other := audit.working_on(tx, [id], besides=(remove_copy.FLOW.name,)):
            return Fate(row, "waiting", reason=f"flow {other} works on it")
        return Fate(row, "stays", reason=error.message)


def _left(tx: Tx, id: str, move: Row, host: Row) -> Fate | None:
    """Of a volume that lies elsewhere by now; None for one that is gone."""
    row = volumes.find(tx, id)
    if row is None or row.host is None or pools.parse(row.host).host == host.name:
        return None
    return Fate(row, "moving" if move.status in flows.OPEN else "moved", row.host, flow=move)


def _target(tx: Tx, row: Row) -> str | None:
    """The pool that a volume goes to, once it is chosen."""
    for id in claims.pools_of(tx, row.id):
        pool = hosts.find_pool(tx, id) if id != row.pool_id else None
        if pool is not None:
            return str(pool.name)
    return None


class Picture:
    """All hosts with their room, less what was planned; nothing is claimed by that."""

    def __init__(self, world: World, tx: Tx, host: Row) -> None:
        self.host, self.unusable = host, world.places.unusable()
        self.inventory = world.places.with_room(tx, {})

    def plan(self, tx: Tx, row: Row) -> Fate:
        """A move of a volume. BrickyardError with the reason why there is none."""
        use = moving.use_of(tx, row)
        if use is None:
            moving.check_exports(tx, self.host.name, f"and has volume {row.id}")
        elif row.readonly:
            raise errors.Invalid(f"It is read-only: detach it from instance {use.instance_id}.")
        allowed = self._allowed(tx, use)
        ask = {
            "pinned": [pool.name for _, pool in allowed],
            "extra_specs": row.extra_specs or {},
            "zones": [row.availability_zone],
            "near": use.host if use is not None else self.host.name,
        }
        taken = frozenset(pool.name for id in claims.pools_of(tx, row.id) if (pool := hosts.find_pool(tx, id)))
        wanted = to_ask(ask, row.size_gib, taken)
        best = [found.pools[0] for found in ranking.rank_pools(self.inventory, wanted, CHOICES).candidates]
        if not best:
            raise errors.NoValidHost(self._refusals(allowed, wanted))
        self.inventory.replace(dataclasses.replace(best[0], claimed_gib=best[0].claimed_gib + row.size_gib))
        return Fate(row, "planned", best[0].name, ask={**ask, "pinned": [pool.name for pool in best]}, use=use)

    def _allowed(self, tx: Tx, use: moving.Use | None) -> list[tuple[Place, placement.PoolView]]:
        """Pools of other hosts that a volume can move to, and be used from as it is now. Invalid if there is none."""
        files = [found for found in self._elsewhere() if found[1].driver in moving.MOVABLE]
        if use is None:
            if not files:
                raise errors.Invalid(
                    f"No instance has it, and no other host has a pool of {', '.join(moving.MOVABLE)}: attach it to an "
                    "instance, then drain again."
                )
            return files
        near = self._near(tx, use)
        found = [(place, pool) for place, pool in self._elsewhere() if place.host.name in near]
        if not found:
            raise errors.Invalid(
                f"Instance {use.instance_id} on host {use.host} has it, and no other host serves it from as near as it "
                "asked for: widen its locality, or detach the volume."
            )
        return [(place, pool) for place, pool in found if pool.name not in self.unusable]

    def _elsewhere(self) -> Iterator[tuple[Place, placement.PoolView]]:
        for place in self.inventory.sites.values():
            if place.host.name != self.host.name:
                yield from ((place, entry.pool) for entry in place.entries.values())

    def _near(self, tx: Tx, use: moving.Use) -> set[str]:
        """The hosts that an instance may have volumes of."""
        instance, sites, levels = instances.find(tx, use.instance_id), self.inventory.sites, topology.Levels()
        if instance is None or use.host not in sites:
            return set()
        farthest = len(levels)
        if instance.request.get("required", True):
            farthest = levels.index(instance.request.get("locality", topology.HOST))
        here = sites[use.host].places
        serving = (place for name, place in sites.items() if name == use.host or place.host.exports)
        return {place.host.name for place in serving if topology.distance(place.places, here) <= farthest}

    def _refusals(self, allowed: list[tuple[Place, placement.PoolView]], ask: placement.Ask) -> str:
        texts = []
        for place, pool in allowed:
            refusal = filters.pool_refusal(place.host, pool, ask, self.inventory.rules)
            if refusal is not None:
                texts.append(f"{pool.name}: {refusal.message}")
        more = f"; and {len(texts) - TOLD} more" if len(texts) > TOLD else ""
        return f"No pool takes it: {'; '.join(texts[:TOLD])}{more}."
