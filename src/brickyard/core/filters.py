"""The rules that a host or a pool must pass, one small function each, in two tables.

A filter returns None, or a refusal with the numbers that made it. The decision and the explanation run the same
functions, so that what is explained is what was decided.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from brickyard.core import abilities, extra_specs
from brickyard.core.placement import Ask, Boot, HostView, PoolView, Refusal, Rules


def items_of(ask: Ask) -> extra_specs.Items:
    return tuple(sorted(ask.extra_specs.items())) if ask.extra_specs else ()


def room_gib(pool: PoolView, rules: Rules, *, thick: bool) -> int:
    """The largest volume that the pool can take.

    Thick: no more than is really free, and promises never exceed what is there. Thin: whatever may still be promised,
    but nothing once the real free space is down to the reserve, because there a write of any tenant may fail. Nothing
    at all goes to a pool whose data or metadata is really full to its threshold, whatever the promises add up to.
    """
    if pool.too_full:
        return 0
    promisable = pool.limit_gib - pool.claimed_gib
    if not pool.thin or thick:
        return min(promisable, pool.free_gib, pool.total_gib - pool.claimed_gib if pool.thin else promisable)
    return 0 if _in_reserve(pool, rules) else promisable


def _in_reserve(pool: PoolView, rules: Rules) -> bool:
    """Where a pool reports how full it really is, that has decided already, and to more than a whole GiB."""
    return pool.data_percent is None and pool.free_gib * 100 <= pool.total_gib * rules.thin_reserve_percent


# of pools --------------------------------------------------------------------


def pool_up(host: HostView, pool: PoolView, ask: Ask, rules: Rules) -> Refusal | None:
    if not host.up:
        return Refusal("up", f"host {host.name} is down: {host.why_down or 'no reason given'}")
    if not host.enabled:
        return Refusal("up", f"host {host.name} is disabled")
    if not pool.up:
        return Refusal("up", f"the backend is down: {pool.why_down or 'no reason given'}")
    return None


def availability_zone(host: HostView, pool: PoolView, ask: Ask, rules: Rules) -> Refusal | None:
    of_type = extra_specs.compiled(items_of(ask)).zones
    for zones, whose in ((ask.zones, "the request"), (of_type, "the type")):
        if zones and pool.zone not in zones:
            return Refusal("availability_zone", f"zone {pool.zone}, but {whose} allows {_listed(zones)}")
    return None


def capabilities(host: HostView, pool: PoolView, ask: Ask, rules: Rules) -> Refusal | None:
    specs = extra_specs.compiled(items_of(ask)).lasting
    return _unmet(specs, extra_specs.lasting_state(pool)) if specs else None


def figures(host: HostView, pool: PoolView, ask: Ask, rules: Rules) -> Refusal | None:
    specs = extra_specs.compiled(items_of(ask)).figures
    return _unmet(specs, extra_specs.state(pool)) if specs else None


def _unmet(specs: tuple[extra_specs.Spec, ...], reported: dict[str, object]) -> Refusal | None:
    for spec in specs:
        if not spec.met(reported):
            have = repr(reported[spec.path[0]]) if spec.path and spec.path[0] in reported else "nothing"
            return Refusal("capabilities", f"the type asks {spec.key} {spec.want!r}, the pool reports {have}")
    return None


def able(host: HostView, pool: PoolView, ask: Ask, rules: Rules) -> Refusal | None:
    lacks = abilities.lacking(pool.capabilities, ask.needs)
    return Refusal("able", f"driver {pool.driver} of {pool.address} {abilities.told(lacks)}") if lacks else None


def excluded(host: HostView, pool: PoolView, ask: Ask, rules: Rules) -> Refusal | None:
    return Refusal("excluded", "it failed this request before") if pool.name in ask.excluded else None


def pinned(host: HostView, pool: PoolView, ask: Ask, rules: Rules) -> Refusal | None:
    if not ask.pinned or pool.name in ask.pinned or pool.address in ask.pinned:
        return None
    return Refusal("pinned", f"the request is bound to {_listed(ask.pinned)}")


def same_host(host: HostView, pool: PoolView, ask: Ask, rules: Rules) -> Refusal | None:
    if ask.same_host is None or pool.address in ask.same_host:
        return None
    holders = _listed(ask.same_host) or "no known backend"
    return Refusal("same_host", f"holds none of the volumes to be with; those are on {holders}")


def different_host(host: HostView, pool: PoolView, ask: Ask, rules: Rules) -> Refusal | None:
    if pool.address not in ask.different_host:
        return None
    return Refusal("different_host", "holds a volume that the request wants to be apart from")


def query(host: HostView, pool: PoolView, ask: Ask, rules: Rules) -> Refusal | None:
    if not ask.query or extra_specs.query_holds(ask.query, pool):
        return None
    return Refusal("query", f"the query hint {ask.query} does not hold")


def fullness(host: HostView, pool: PoolView, ask: Ask, rules: Rules) -> Refusal | None:
    if not pool.too_full or ask.size_gib <= 0:
        return None
    return Refusal("fullness", f"pool {pool.name} takes nothing new: {pool.too_full}")


def capacity(host: HostView, pool: PoolView, ask: Ask, rules: Rules) -> Refusal | None:
    thick = not pool.thin or extra_specs.compiled(items_of(ask)).thick
    room = room_gib(pool, rules, thick=thick)
    if ask.size_gib <= max(room, 0):
        return None
    promised = f"{pool.claimed_gib} of {pool.limit_gib} GiB are promised, {pool.free_gib} of {pool.total_gib} GiB free"
    if not thick and _in_reserve(pool, rules):
        promised += f", which is the thin reserve of {rules.thin_reserve_percent} %"
    return Refusal("capacity", f"{ask.size_gib} GiB asked, {promised}")


PoolFilter = Callable[[HostView, PoolView, Ask, Rules], Refusal | None]


@dataclass(frozen=True, slots=True)
class PoolRule:
    """A filter, and whether it can refuse anything for this ask: rules that cannot are skipped on the fast path."""

    check: PoolFilter
    needed: Callable[[Ask], bool]


# fmt: off
# These depend on nothing that a claim changes: their outcome is remembered per kind of pool.
LASTING: dict[str, PoolFilter] = {
    "availability_zone": availability_zone,
    "capabilities":      capabilities,
}
POOL_FILTERS: dict[str, PoolRule] = {
    "up":                PoolRule(pool_up,           lambda ask: True),
    "availability_zone": PoolRule(availability_zone, lambda ask: True),
    "capabilities":      PoolRule(capabilities,      lambda ask: True),
    "figures":           PoolRule(figures,           lambda ask: bool(extra_specs.compiled(items_of(ask)).figures)),
    "able":              PoolRule(able,              lambda ask: bool(ask.needs)),
    "excluded":          PoolRule(excluded,          lambda ask: bool(ask.excluded)),
    "pinned":            PoolRule(pinned,            lambda ask: bool(ask.pinned)),
    "same_host":         PoolRule(same_host,         lambda ask: ask.same_host is not None),
    "different_host":    PoolRule(different_host,    lambda ask: bool(ask.different_host)),
    "query":             PoolRule(query,             lambda ask: bool(ask.query)),
    "fullness":          PoolRule(fullness,          lambda ask: True),
    "capacity":          PoolRule(capacity,          lambda ask: True),
}
# These the index has answered before a walk begins: down pools are not in it, and each entry knows its room.
INDEXED = frozenset({"up", "fullness", "capacity", *LASTING})
# fmt: on


def pool_refusal(host: HostView, pool: PoolView, ask: Ask, rules: Rules) -> Refusal | None:
    """The first rule that refuses this pool."""
    for rule in POOL_FILTERS.values():
        refusal = rule.check(host, pool, ask, rules)
        if refusal is not None:
            return refusal
    return None


def passing(ask: Ask) -> tuple[PoolFilter, ...]:
    """The filters that the index has not answered, and that can refuse something for this ask."""
    return tuple(rule.check for name, rule in POOL_FILTERS.items() if name not in INDEXED and rule.needed(ask))


# of hosts, for instances -----------------------------------------------------


def host_up(host: HostView, boot: Boot) -> Refusal | None:
    return None if host.up else Refusal("up", f"the host is down: {host.why_down or 'no reason given'}")


def host_enabled(host: HostView, boot: Boot) -> Refusal | None:
    return None if host.enabled else Refusal("enabled", "the host is disabled")


def host_compute(host: HostView, boot: Boot) -> Refusal | None:
    return None if host.compute else Refusal("compute", "the host runs no instances")


def host_excluded(host: HostView, boot: Boot) -> Refusal | None:
    return Refusal("excluded", "it failed this request before") if host.name in boot.excluded else None


def host_zone(host: HostView, boot: Boot) -> Refusal | None:
    if not boot.zones or host.labels.get("zone") in boot.zones:
        return None
    return Refusal("zone", f"zone {host.labels.get('zone', 'unknown')}, but the request allows {_listed(boot.zones)}")


def host_vcpus(host: HostView, boot: Boot) -> Refusal | None:
    if host.vcpus_claimed + boot.vcpus <= host.vcpus_total:
        return None
    return Refusal("vcpus", f"{boot.vcpus} asked, {host.vcpus_claimed} of {host.vcpus_total} are promised")


def host_memory(host: HostView, boot: Boot) -> Refusal | None:
    if host.memory_mib_claimed + boot.memory_mib <= host.memory_mib_total:
        return None
    numbers = f"{host.memory_mib_claimed} of {host.memory_mib_total} MiB are promised"
    return Refusal("memory", f"{boot.memory_mib} MiB asked, {numbers}")


# fmt: off
HOST_FILTERS: dict[str, Callable[[HostView, Boot], Refusal | None]] = {
    "up":       host_up,
    "enabled":  host_enabled,
    "compute":  host_compute,
    "excluded": host_excluded,
    "zone":     host_zone,
    "vcpus":    host_vcpus,
    "memory":   host_memory,
}
# fmt: on


def host_refusal(host: HostView, boot: Boot) -> Refusal | None:
    """The first rule that refuses this host."""
    for check in HOST_FILTERS.values():
        refusal = check(host, boot)
        if refusal is not None:
            return refusal
    return None


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
