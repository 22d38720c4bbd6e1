"""Why a ranking came out as it did: a verdict for each host and each pool.

Slow on purpose: it runs every filter over everything, after a decision, when somebody asks or when nothing was found.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence

from brickyard.core import filters, topology
from brickyard.core.inventory import Inventory, Site
from brickyard.core.placement import Ask, Boot, Candidate, PoolView, Refusal, Verdict


def of_volume(inventory: Inventory, ask: Ask, ranked: Sequence[Candidate]) -> tuple[Verdict, ...]:
    """Hosts in order of their best pool, then the refused ones by name."""
    ranks = {candidate.pools[0].name: at for at, candidate in enumerate(ranked, 1)}
    verdicts = []
    for name, site in inventory.sites.items():
        pools = tuple(_pool(inventory, site, pool, [ask], ranks.get(pool.name), ask.near) for pool in site.host.pools)
        rank = min((pool.rank for pool in pools if pool.rank is not None), default=None)
        refusal = None
        if rank is None:
            refused = collections.Counter(pool.refusal.rule for pool in pools if pool.refusal is not None)
            why = ", ".join(f"{count} by {rule}" for rule, count in sorted(refused.items()))
            refusal = Refusal("pools", f"all pools are refused: {why}" if pools else "the host has no pool")
        verdicts.append(Verdict(name, rank, refusal=refusal, pools=_ordered(pools)))
    return _ordered(verdicts)


def of_boot(inventory: Inventory, boot: Boot, ranked: Sequence[Candidate]) -> tuple[Verdict, ...]:
    """Hosts in the order of the ranking, then the refused ones by name."""
    ranks = {candidate.host.name: (at, candidate) for at, candidate in enumerate(ranked, 1)}
    verdicts = []
    for name, site in inventory.sites.items():
        asks = list(boot.volumes)
        pools = tuple(_pool(inventory, site, pool, asks, None, boot.near) for pool in site.host.pools) if asks else ()
        rank, candidate = ranks.get(name, (None, None))
        if candidate is not None:
            weights = {"total": candidate.weight, "distance": float(candidate.distance)}
            verdicts.append(Verdict(name, rank, weights, pools=_ordered(pools)))
        else:
            verdicts.append(Verdict(name, refusal=_host_refusal(inventory, boot, site, pools), pools=_ordered(pools)))
    return _ordered(verdicts)


def summary(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """How many hosts each rule refused: one line for a message, where the full list has thousands."""
    counts = collections.Counter(verdict.refusal.rule for verdict in verdicts if verdict.refusal is not None)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _pool(
    inventory: Inventory, site: Site, pool: PoolView, asks: Sequence[Ask], rank: int | None, near: str | None
) -> Verdict:
    """The verdict on a pool. Of several volumes it is refused only if none fits; the largest one then says why."""
    by_size = sorted(asks, key=lambda ask: -ask.size_gib)
    refusals = [filters.pool_refusal(site.host, pool, ask, inventory.rules) for ask in by_size]
    if refusals and None not in refusals:
        return Verdict(pool.name, refusal=refusals[0])
    weights = inventory.scale.weights(pool, inventory.rules)
    if near in inventory.sites:
        gap = topology.distance(site.places, inventory.sites[near].places)
        weights["locality"] = inventory.scale.closeness(gap)
    return Verdict(pool.name, rank, weights)


def _host_refusal(inventory: Inventory, boot: Boot, site: Site, pools: Sequence[Verdict]) -> Refusal:
    refusal = filters.host_refusal(site.host, boot) or holder(inventory, boot, site)
    if refusal is not None:
        return refusal
    rules, own = inventory.rules, site.host.pools
    where = f"within the same {boot.locality}" if boot.required else "anywhere"
    for number, ask in enumerate(boot.volumes, 1):
        if all(filters.pool_refusal(site.host, pool, ask, rules) is not None for pool in own):
            return Refusal("pools", f"no pool {where} for volume {number} of {ask.size_gib} GiB")
    sizes = " + ".join(str(ask.size_gib) for ask in boot.volumes)
    rooms = ", ".join(
        f"{pool.name} {max(filters.room_gib(pool, rules, thick=False), 0)}"
        for pool, verdict in zip(own, pools, strict=True)
        if verdict.refusal is None
    )
    return Refusal("together", f"{sizes} GiB fit one by one but not together; room in GiB: {rooms}")


def holder(inventory: Inventory, boot: Boot, site: Site) -> Refusal | None:
    """Existing volumes do not move: an instance that must be close to them goes where they are."""
    for name in boot.holders:
        if name != site.host.name and name in inventory.sites and not inventory.sites[name].host.exports:
            return Refusal("holder", f"an existing volume is on {name}, which exports none to other hosts now")
    if not boot.required:
        return None
    allowed = inventory.rules.levels.index(boot.locality)
    for name in boot.holders:
        if name not in inventory.sites:
            return Refusal("holder", f"an existing volume is on {name}, which is not in the inventory")
        if topology.distance(site.places, inventory.sites[name].places) > allowed:
            return Refusal("holder", f"an existing volume is on {name}, which is not in the same {boot.locality}")
    return None


def _ordered(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    return tuple(sorted(verdicts, key=lambda verdict: (verdict.rank is None, verdict.rank or 0, verdict.name)))
