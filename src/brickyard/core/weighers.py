"""What makes one pool better than another that also fits.

Each weigher turns a pool into a number; the numbers of all pools are brought to 0..1, multiplied and added. The bounds
of that are taken once per refresh, not per request: so the order of pools is known before anybody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from brickyard.core import errors, filters
from brickyard.core.placement import PoolView, Rules

FREE, LOCALITY = "free_capacity", "locality"

WEIGHERS: dict[str, Callable[[PoolView, Rules], float]] = {
    FREE: lambda pool, rules: filters.room_gib(pool, rules, thick=False),
    "allocated_capacity": lambda pool, rules: pool.claimed_gib,
    "volume_number": lambda pool, rules: pool.volumes,
}

# Locality depends on who asks, and is added per request. Its default outweighs any difference in free capacity.
DEFAULTS: Mapping[str, float] = {FREE: 1.0, "allocated_capacity": 0.0, "volume_number": 0.0, LOCALITY: 10.0}


@dataclass(frozen=True, slots=True)
class Scale:
    """The weighers that count, each with its lowest value and the factor from its own unit to a weight."""

    parts: tuple[tuple[str, float, float], ...]  # name, low, factor
    locality: float
    levels: int

    def weights(self, pool: PoolView, rules: Rules) -> dict[str, float]:
        return {name: (WEIGHERS[name](pool, rules) - low) * factor for name, low, factor in self.parts}

    def weight(self, pool: PoolView, rules: Rules) -> float:
        return sum([(WEIGHERS[name](pool, rules) - low) * factor for name, low, factor in self.parts])

    def closeness(self, distance: int) -> float:
        """What a pool gains at this distance from the host that the request wants to be near."""
        return self.locality * (1 - distance / self.levels)

    @property
    def by_room(self) -> bool:
        """Whether a pool with less room never weighs more: then a walk may end at the first that is too small."""
        return [part[0] for part in self.parts] == [FREE] and self.parts[0][2] > 0

    @property
    def per_gib(self) -> float:
        """The weight that a pool loses with each GiB placed on it."""
        return sum(factor for name, _, factor in self.parts if name == FREE)


def multipliers(rules: Rules) -> dict[str, float]:
    unknown = set(rules.multipliers) - set(DEFAULTS)
    if unknown:
        raise errors.Invalid(f"no such weigher: {', '.join(sorted(unknown))}; there are {', '.join(DEFAULTS)}")
    return {**DEFAULTS, **rules.multipliers}


def scale(pools: Iterable[PoolView], rules: Rules) -> Scale:
    """The bounds of this set of pools."""
    chosen = multipliers(rules)
    listed = list(pools)
    parts = []
    for name, weigher in WEIGHERS.items():
        values = [weigher(pool, rules) for pool in listed] or [0.0]
        span = max(values) - min(values)
        if chosen[name]:
            # Pools that are all alike get a tiny slope: the first claim then tells them apart.
            parts.append((name, min(values), chosen[name] / (span or 1e6)))
    return Scale(tuple(parts), chosen[LOCALITY], len(rules.levels))
