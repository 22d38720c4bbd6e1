"""The rules of placement, written down as plainly as possible: no index, no order of search, every combination."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from brickyard.core import filters, inventory, topology
from brickyard.core.placement import Ask, Boot, HostView, PoolView


def weight(inv: inventory.Inventory, pool: PoolView, near: str | None) -> float:
    total = inv.scale.weight(pool, inv.rules)
    if near in inv.sites and inv.scale.locality:
        total += inv.scale.closeness(gap(inv, pool.host, near))
    return total


def gap(inv: inventory.Inventory, a: str, b: str) -> int:
    return topology.distance(inv.sites[a].places, inv.sites[b].places)


def fitting(inv: inventory.Inventory, hosts: Sequence[HostView], ask: Ask, near: str | None) -> list[PoolView]:
    """All pools that pass every filter, best first."""
    fit = [(h, p) for h in hosts for p in h.pools if filters.pool_refusal(h, p, ask, inv.rules) is None]
    return sorted((p for _, p in fit), key=lambda p: (-weight(inv, p, near), inv.entries[p.name].tie))


def room(inv: inventory.Inventory, pool: PoolView, ask: Ask) -> int:
    thick = not pool.thin or ask.extra_specs.get("provisioning:type") == "thick"
    return filters.room_gib(pool, inv.rules, thick=thick)


def placements(
    inv: inventory.Inventory, hosts: Sequence[HostView], boot: Boot, site: HostView, reach: int
) -> Iterator[tuple[PoolView, ...]]:
    """Every way to put the volumes within `reach` of a host."""
    choices = [
        [pool for pool in fitting(inv, hosts, ask, None) if gap(inv, site.name, pool.host) <= reach]
        for ask in boot.volumes
    ]
    for pools in itertools.product(*choices):
        if together(inv, boot.volumes, pools):
            yield pools


def together(inv: inventory.Inventory, asks: Sequence[Ask], pools: Sequence[PoolView]) -> bool:
    """Whether volumes fit into these pools at once, taken one after the other in some order."""
    for pool in {pool.name for pool in pools}:
        held = [(ask, p) for ask, p in zip(asks, pools, strict=True) if p.name == pool]
        total = sum(ask.size_gib for ask, _ in held)
        if total > max(max(room(inv, p, ask), 0) for ask, p in held):
            return False
        thick = [(ask, p) for ask, p in held if ask.extra_specs.get("provisioning:type") == "thick"]
        if thick and sum(ask.size_gib for ask, _ in thick) > max(room(inv, *reversed(thick[0])), 0):
            return False
    return True


def tight_fit(inv: inventory.Inventory, hosts: Sequence[HostView], boot: Boot, site: HostView) -> bool:
    """Whether largest first, each into the pool with the least room that will do, places all on the host itself."""
    used: dict[str, int] = {}
    for ask in sorted(boot.volumes, key=lambda ask: -ask.size_gib):
        own = [pool for pool in fitting(inv, hosts, ask, None) if pool.host == site.name]
        left = [(room(inv, p, ask) - used.get(p.name, 0) - ask.size_gib, inv.entries[p.name].tie, p) for p in own]
        possible = sorted(one[:2] for one in left if one[0] >= 0)
        if not possible:
            return False
        chosen = next(p for _, tie, p in left if tie == possible[0][1])
        used[chosen.name] = used.get(chosen.name, 0) + ask.size_gib
    return True


def apart(inv: inventory.Inventory, boot: Boot, site: HostView) -> int:
    """How far the host is from the volumes that exist already."""
    far = len(inv.rules.levels)
    return max((gap(inv, site.name, name) if name in inv.sites else far for name in boot.holders), default=0)
