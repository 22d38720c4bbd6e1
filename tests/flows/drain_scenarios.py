"""Scenarios of a host that is drained: what can move does, what cannot stays, and each volume is in one place."""

from __future__ import annotations

from typing import Any

from tests.flows import mirror_scenarios, move_scenarios, reach_scenarios, scenarios
from tests.flows.reach_scenarios import HERE, THERE
from tests.flows.scenarios import BOSS, Scenario, new_volume, volume

from brickyard.db import attachments, flows
from brickyard.service import audit, drains
from brickyard.service.site import Site

Facts = dict[str, Any]
ROUNDS = 8


def full(site: Site) -> Facts:
    """On the one host two volumes of an instance of the other one, and one with a snapshot."""
    facts = reach_scenarios.with_far_volume(site)
    reach_scenarios.boot(site, facts)
    site.waker.run_all()
    with site.db.read() as tx:
        facts["moving"] = [row.volume_id for row in attachments.of_instance(tx, facts["instance"])]
    facts["kept"] = new_volume(site)
    scenarios.new_snapshot(site, facts["kept"])
    site.waker.run_all()
    mirror_scenarios.only(site, HERE, THERE)
    return {**facts, "here": f"{THERE}@raw#raw", "there": f"{HERE}@raw#raw"}


def drain(site: Site, facts: Facts) -> None:
    """One volume at a time, to its end unless something breaks."""
    drains.start(site, BOSS, THERE, 1)
    site.waker.run_all()
    settle(site)


def settle(site: Site) -> None:
    for _ in range(ROUNDS):
        with site.db.begin() as tx:
            waiting = flows.flows.c.status.in_(flows.OPEN)
            tx.execute(flows.flows.update().where(waiting).values(not_before="2000"))
        move_scenarios.rest(site)


def drained(site: Site, facts: Facts) -> None:
    settle(site)
    assert len(facts["moving"]) == 2
    for id in facts["moving"]:
        row = volume(site, id)
        assert (row.status, row.migration_status, row.host) == ("in-use", "success", facts["there"])
        mirror_scenarios.uses(site, {**facts, "volume": id}, facts["there"])
    assert volume(site, facts["kept"]).host == facts["here"]
    found = drains.look(site, THERE)
    assert not found.host.enabled and found.flow is not None and found.flow.status == "done"
    states = {fate.volume.id: fate.state for fate in found.fates}
    assert states == {**dict.fromkeys(facts["moving"], "moved"), facts["kept"]: "stays"}
    assert audit.look(site) == []


def not_drained(site: Site, facts: Facts) -> None:
    """What was begun has gone on to its end, and whoever drains the host again goes on with the rest."""
    settle(site)
    for id in facts["moving"]:
        assert volume(site, id).status == "in-use"
    assert audit.look(site) == []
    drain(site, facts)
    assert {volume(site, id).host for id in facts["moving"]} == {facts["there"]}


SCENARIOS = (Scenario("drain_host", full, drain, drained, not_drained, hosts=(HERE, THERE)),)
