"""The audit: compare records, pools and hypervisors in both directions, and repair what can be repaired.

It looks at the records before and after it looks at the hosts. What differs from one of the two pictures only, or what
a flow works on, is work in progress and no difference. That a difference was seen is remembered, so that what is
removed has been seen for at least a grace period. Every repair is a flow that looks again before it acts.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from brickyard.core import clock, errors
from brickyard.core import pools as pool_names
from brickyard.core.bricks import Exported, Found
from brickyard.db import audit, hosts
from brickyard.db.audit import Records
from brickyard.db.database import Row, Tx
from brickyard.flows import repair_adopt, repair_disown, repair_host, repair_records, repair_remove
from brickyard.hypervisor.machine import Running
from brickyard.service import brick_differences, differences, record_differences, work
from brickyard.service.differences import Difference, Repair, Seen
from brickyard.service.site import Caller, Site

GRACE_S = 24 * 3600
ROUND_MAX = 1000  # flows that one request starts
NEXT_ROUND = "enough repairs were started for now; ask again when they are done"


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference, since when it was seen, and what a repair does about it."""

    difference: Difference
    first_seen_at: str
    action: Repair | None = None  # what is done, or would be done in a dry run
    due_at: str | None = None  # not before then
    flow_id: str | None = None  # the flow that does it
    why_not: str | None = None  # why nothing is done now


def look(site: Site) -> list[Finding]:
    """Every difference, in the order of places."""
    since = clock.stamp()
    with site.db.read() as tx:
        before = audit.records(tx, since)
    seen = _seen(site, before)
    with site.db.read() as tx:
        after = audit.records(tx, since)
    working = before.working | after.working
    both = {difference.key for difference in _compare(before, seen)}
    found = {
        difference.key: difference
        for difference in _compare(after, seen)
        if difference.key in both and working.isdisjoint(difference.about)
    }
    with site.db.begin() as tx:
        gone = {key for key in audit.first_seen(tx) if key not in found and not _hidden(key, seen)}
        first = audit.remember(tx, found, gone)
    return [Finding(difference, first[key]) for key, difference in found.items()]


def repair(
    site: Site,
    caller: Caller,
    *,
    dry_run: bool = False,
    grace_s: int = GRACE_S,
    remove_orphans: bool = False,
    recover: bool = False,
) -> list[Finding]:
    """What `look` finds, with a flow for each repair that is due.

    Without `remove_orphans` a brick that says whose it is gets its row back; with it, it is removed after the grace
    period, and so are root disks and guests without an instance. What has no label is never touched. With `recover`
    bricks that were given up with their host become nobody's, for whoever wants to take them over.
    """
    found = [_planned(finding, grace_s, remove_orphans, recover) for finding in look(site)]
    if dry_run:
        return found
    started: dict[str, str] = {}
    flows: set[str | None] = set()
    with_flows = []
    for finding in found:
        if finding.action is not None and finding.why_not is None:
            if len(flows) < ROUND_MAX:
                finding = _start(site, caller, finding, started)
                flows.add(finding.flow_id)
            else:
                finding = replace(finding, why_not=NEXT_ROUND)
        with_flows.append(finding)
    return with_flows


def take_over(site: Site, caller: Caller, pool: Row) -> list[str]:
    """Give the bricks of a pool that was just made their rows back, where they say whose they are; the flows' ids."""
    started: dict[str, str] = {}
    try:
        if not site.world.nodes[pool.host].bricks(pool_names.parse(pool.name).backend):
            return []
    except errors.Unavailable:
        return []  # it is not served yet, or not now; an audit finds them later
    flows: set[str | None] = set()
    for finding in look(site):
        mine = finding.difference.repair is Repair.ADOPT and finding.difference.pool_id == pool.id
        if mine and len(flows) < ROUND_MAX:
            flows.add(_start(site, caller, replace(finding, action=Repair.ADOPT), started).flow_id)
    return sorted(id for id in flows if id)


def _planned(finding: Finding, grace_s: int, remove_orphans: bool, recover: bool) -> Finding:
    difference = finding.difference
    wanted = (difference.removal if remove_orphans else None) or (difference.release if recover else None)
    action = wanted or difference.repair
    if action is None:
        asked = "removed or recovered" if difference.release else "removed"
        why = f"{asked} only on request" if difference.removal else "no repair is safe without knowing more"
        return replace(finding, why_not=why)
    if action not in differences.GRACEFUL:
        return replace(finding, action=action)
    due = datetime.datetime.fromisoformat(finding.first_seen_at) + datetime.timedelta(seconds=grace_s)
    due_at = due.isoformat(timespec="microseconds")
    early = due_at > clock.stamp()
    return replace(finding, action=action, due_at=due_at, why_not="the grace period is not over" if early else None)


def _start(site: Site, caller: Caller, finding: Finding, started: dict[str, str]) -> Finding:
    """Queue the flow of one repair, if nobody works on it by now. `started`: name of a brick → the flow that has it."""
    difference, action = finding.difference, finding.action
    assert action is not None
    if action is Repair.ADOPT and difference.name in started:
        return replace(finding, flow_id=started[difference.name])
    with site.db.begin() as tx:
        family = difference.found if action is Repair.ADOPT else ()
        ids = {*difference.about, *(one.label.id for one in family if one.label)}
        if other := audit.working_on(tx, ids):
            return replace(finding, why_not=f"flow {other} works on it")
        name, params = _flow(tx, difference, action)
        id = work.queue(
            site,
            caller,
            tx,
            name,
            params,
            resource_id=difference.about[0] if difference.about else difference.name.partition("/")[0],
            project_id=difference.project_id or caller.project_id,
        )
    if action is Repair.ADOPT:
        started.update({one.name: id for one in difference.found})
    return replace(finding, flow_id=id)


def _flow(tx: Tx, difference: Difference, action: Repair) -> tuple[str, dict[str, Any]]:
    """Name and parameters of the flow that repairs a difference."""
    if action in (Repair.ADOPT, Repair.REMOVE, Repair.DISOWN):
        assert difference.pool_id is not None
        place = {"pool": difference.where, "pool_id": difference.pool_id}
        if action is Repair.ADOPT:
            return repair_adopt.FLOW.name, repair_adopt.params(**place, found=difference.found)
        label = next(one.label for one in difference.found if one.name == difference.name)
        assert label is not None
        flow = repair_disown.FLOW if action is Repair.DISOWN else repair_remove.FLOW
        return flow.name, repair_remove.params(**place, label=label)
    if action is Repair.DESTROY:
        return repair_host.FLOW.name, repair_host.params(host=difference.where, guest=difference.name)
    if action is Repair.UNEXPORT:
        backend, name, client = difference.name.split("/")
        params = repair_host.params(host=difference.where, backend=backend, name=name, client=client)
        return repair_host.FLOW.name, params
    if action is Repair.TIDY:
        host = pool_names.parse(difference.where).host
        return repair_host.FLOW.name, repair_host.params(host=host, pool=difference.where, name=difference.name)
    kind, id = None, difference.name
    if action is Repair.CLAIM:
        kind, id = difference.name.rpartition("-" + difference.about[0])[0].lstrip("_"), difference.about[0]
    params = repair_records.params(what=str(action), id=id, pool_id=difference.pool_id, kind=kind)
    return repair_records.FLOW.name, params


# what the hosts show ---------------------------------------------------------------------------------------------


def _seen(site: Site, records: Records) -> Seen:
    bricks: dict[str, Sequence[Found]] = {}
    leftovers: dict[str, Mapping[str, tuple[str, ...]]] = {}
    guests: dict[str, Sequence[Running]] = {}
    exports: dict[str, Sequence[Exported]] = {}
    unseen: dict[str, str] = {}
    for pool in records.pools.values():
        backend = pool_names.parse(pool.name).backend
        try:
            node = site.world.nodes[pool.host]
            bricks[pool.id], leftovers[pool.id] = node.bricks(backend), node.leftovers(backend)
        except errors.BrickyardError as error:
            bricks.pop(pool.id, None)
            unseen[pool.name] = error.message
    for host in records.hosts.values():
        try:
            node = site.world.nodes[host.name]
            guests[host.name], exports[host.name] = node.guests(), node.exports()
        except errors.BrickyardError as error:
            unseen[host.name] = error.message
    shown = {pool.backend for pool in records.pools.values()}
    for row in records.backends:
        if row.name not in shown and row.why_down != hosts.BEING_MADE:
            unseen[row.name] = row.why_down or "it has never reported"
    return Seen(bricks, leftovers, guests, exports, unseen)


def _compare(records: Records, seen: Seen) -> list[Difference]:
    """Everything that differs, in the order of places and names."""
    rules = (*brick_differences.RULES, *record_differences.RULES)
    found = [difference for rule in rules for difference in rule(records, seen)]
    return sorted(found, key=lambda difference: (difference.where, difference.name, difference.kind))


def _hidden(key: str, seen: Seen) -> bool:
    """Whether it can not be known now if a difference is still there: its place was not seen."""
    where = key.split(" ")[1]
    return where in seen.unseen
