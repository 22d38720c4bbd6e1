"""Hosts that are lost: what goes with them, declaring it, and taking them in again."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from brickyard.core import clock, errors
from brickyard.core.states import I
from brickyard.db import agents as agent_rows
from brickyard.db import flows, hosts, losses
from brickyard.db.database import Database, Row, Tx
from brickyard.flows import lose_host, return_host
from brickyard.service import agents, work
from brickyard.service import hosts as host_rules
from brickyard.service.site import Caller, Site


@dataclass(frozen=True, slots=True)
class Loss:
    """What is only on one host, and what becomes of it. `backups`: volume → its backups that are kept elsewhere.
    `boots_elsewhere`: the instances that run and have no disk at all."""

    host: Row
    up: bool
    there: losses.OnHost
    pools: Mapping[str, str]  # id → name
    backups: Mapping[str, Sequence[str]]
    boots_elsewhere: frozenset[str]
    flows: Sequence[Row]


def look(site: Site, name: str) -> Loss:
    """What would be affected if the host was lost, or is while it is. Nothing changes."""
    with site.db.read() as tx:
        row = host_rules.require(tx, name)
        there = losses.on_host(tx, row.id)
        attached = losses.with_volumes(tx, row.id)
        return Loss(
            host=row,
            up=_up(site, row),
            there=there,
            pools={pool.id: pool.name for pool in hosts.pools_of(tx, row.id)},
            backups=losses.kept_elsewhere(tx, row.id, [volume.id for volume in there.volumes]),
            boots_elsewhere=frozenset(
                one.id
                for one in there.instances
                if one.status == I.ACTIVE and one.root_pool_id is None and one.id not in attached
            ),
            flows=losses.flows_about(tx, row.name, there.ids()),
        )


def lose(site: Site, caller: Caller, name: str, *, data_lost: bool, confirm: str | None) -> str:
    """Declare a host lost, with its data or without; the flow that ends and marks what is affected.

    It is fenced first: its account in the broker is taken away, and in one transaction with the queueing of the flow it
    is such that nobody asks it for anything. All of it may be repeated.
    """
    with site.db.read() as tx:
        row = host_rules.require(tx, name)
        _check(site, tx, row, data_lost=data_lost, confirm=confirm)
        enrolled = agent_rows.find(tx, row.name) is not None
    if enrolled:
        agents.dismiss(site, row.name)
    with site.db.begin() as tx:
        lost_at = hosts.lose_host(tx, row.id)  # and nobody else is beyond this line, for this host
        if other := _open(tx, row.id, lose_host.FLOW.name):
            raise errors.Conflict(f"Host {row.name} is being declared lost already: follow flow {other}.")
        params = lose_host.params(host=row.name, host_id=row.id, lost_at=lost_at, data_lost=data_lost)
        id = work.queue(site, caller, tx, lose_host.FLOW.name, params, resource_id=row.id, project_id=caller.project_id)
    site.world.places.refresh()
    return id


def _check(site: Site, tx: Tx, row: Row, *, data_lost: bool, confirm: str | None) -> None:
    if row.name in site.world.nodes.own():
        raise errors.Conflict(f"Host {row.name} is the node of this service itself, which is there while it answers.")
    if confirm is not None and confirm != row.name:
        raise errors.Invalid(
            f"confirm is {confirm!r}; to confirm, repeat the name of the host: {row.name}.", field="confirm"
        )
    if confirm is None and _up(site, row):
        raise errors.Conflict(
            f"Host {row.name} is up, it reported at {row.heartbeat_at}: switch it off first. What runs there goes on "
            "and is cut off; to declare it lost all the same, repeat its name in confirm."
        )
    if confirm is None and data_lost:
        raise errors.Conflict(
            f"With data_lost, what lies on {row.name} is never served again, also when the host comes back: look at "
            "what is affected, and repeat the name of the host in confirm."
        )
    if other := _open(tx, row.id, lose_host.FLOW.name):
        raise errors.Conflict(f"Host {row.name} is being declared lost already: follow flow {other}.")


def take_back(site: Site, caller: Caller, name: str) -> str:
    """Look at a host that was lost and is back, or again at what was not found there; the flow that does it."""
    with site.db.begin() as tx:
        hosts.hold(tx, host_rules.require(tx, name).id)
        row = host_rules.require(tx, name)
        if other := _open(tx, row.id, return_host.FLOW.name):
            return other
        there = losses.on_host(tx, row.id)
        missing = [one for rows in (there.volumes, there.snapshots, there.instances) for one in rows if one.lost_at]
        if row.lost_at is None and not missing:
            raise errors.Conflict(f"Host {row.name} is not lost, and nothing of it is missing.")
        if row.lost_at is not None and row.name not in site.world.nodes.names():
            raise errors.Conflict(
                f"Host {row.name} has no agent that may speak for it: `brickyard host enroll {row.name}` first. It is "
                "taken in by itself when it reports."
            )
        params = return_host.params(host=row.name, host_id=row.id)
        return work.queue(
            site, caller, tx, return_host.FLOW.name, params, resource_id=row.id, project_id=caller.project_id
        )


def heard(db: Database, host: str) -> bool:
    """A host reports, by an agent that may: whether it was declared lost, and is looked at now before it counts."""
    with db.read() as tx:
        row = hosts.find_host(tx, host)
        if row is None or row.lost_at is None:
            return False
        if _open(tx, row.id, return_host.FLOW.name) is not None:
            return True
    with db.begin() as tx:
        hosts.hold(tx, row.id)
        row = hosts.find_host(tx, row.id)
        if row is None or row.lost_at is None:
            return False
        if _open(tx, row.id, return_host.FLOW.name) is None:
            flows.insert(
                tx,
                id=str(uuid.uuid4()),
                name=return_host.FLOW.name,
                params=return_host.params(host=row.name, host_id=row.id),
                project_id="",
                resource_id=row.id,
                request_id=None,
            )
    return True


def _open(tx: Tx, host_id: str, name: str) -> str | None:
    """The flow of this name that works on the host, if there is one."""
    found = [flow.id for flow in flows.open_named(tx, [name]) if flow.resource_id == host_id]
    return str(found[0]) if found else None


def _up(site: Site, row: Row) -> bool:
    return host_rules.up(row, clock.stamp(-site.settings.service_down_time_s))
