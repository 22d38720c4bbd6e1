"""Draining a host: its volumes move to other hosts, and nothing new goes there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

from brickyard.core import clock, errors
from brickyard.db import flows, hosts, losses
from brickyard.db.database import Row, Tx
from brickyard.flows import drain_host, draining
from brickyard.service import hosts as host_rules
from brickyard.service import work
from brickyard.service.site import Caller, Site

PARALLEL = 2
REASON = "It is drained."


@dataclass(frozen=True, slots=True)
class Drain:
    """How far a host is drained, or what would go where. `flow` is the last drain, if it was one of the last days;
    `instances` run there or have their root disk there, and stay."""

    host: Row
    up: bool
    flow: Row | None
    fates: Sequence[draining.Fate]
    instances: Sequence[Row]
    pools: dict[str, str]  # id → name


def look(site: Site, name: str) -> Drain:
    with site.db.read() as tx:
        row = host_rules.require(tx, name)
        drain = _last(tx, row.id)
        there = losses.on_host(tx, row.id)
        pools = {pool.id: pool.name for pool in hosts.pools_of(tx, row.id)}
        instances = {one.id: one for one in (*there.instances, *losses.rooted_on(tx, pools))}
        fates = draining.look(site.world, tx, row, drain)
        return Drain(row, _up(site, row), drain, fates, list(instances.values()), pools)


def start(site: Site, caller: Caller, name: str, parallel: int) -> str:
    """Begin to drain a host, or go on, with `parallel` moves at a time; the flow that does it."""
    with site.db.begin() as tx:
        hosts.hold(tx, host_rules.require(tx, name).id)
        row = host_rules.require(tx, name)
        if row.lost_at is not None or not _up(site, row):
            raise errors.Conflict(
                f"Host {row.name} is {'lost' if row.lost_at else 'down'}, and nothing can be moved from it: wait until "
                "it is back, or see `brickyard host lost`."
            )
        if row.enabled:
            hosts.update_host(tx, row.id, enabled=False, disabled_reason=REASON)
        params = drain_host.params(host=row.name, host_id=row.id, parallel=parallel)
        last = _last(tx, row.id)
        if _goes_on(last) and flows.change_params(tx, last.id, {**last.params, **params}):
            id = str(last.id)
        else:
            id = work.queue(
                site, caller, tx, drain_host.FLOW.name, params, resource_id=row.id, project_id=caller.project_id
            )
    site.world.places.refresh()
    return id


def cancel(site: Site, name: str) -> str:
    """Begin no more moves; the flow, which ends with those that have begun. The host stays disabled."""
    with site.db.begin() as tx:
        row = host_rules.require(tx, name)
        hosts.hold(tx, row.id)  # before the flow is read, which another caller may be changing
        last = _last(tx, row.id)
        if not _goes_on(last) or not flows.change_params(tx, last.id, {**last.params, "cancelled": True}):
            raise errors.Conflict(f"Host {row.name} is not being drained.")
        losses.hurry(tx, [last.id])
    site.waker.wake(last.id)
    return str(last.id)


def _goes_on(drain: Row | None) -> TypeGuard[Row]:
    """Whether it still looks at what is asked of it."""
    return drain is not None and not drain.params.get("ended")


def _last(tx: Tx, host_id: str) -> Row | None:
    found = [row for row in flows.of_resource(tx, host_id) if row.name == drain_host.FLOW.name]
    return found[-1] if found else None


def _up(site: Site, row: Row) -> bool:
    return host_rules.up(row, clock.stamp(-site.settings.service_down_time_s))
