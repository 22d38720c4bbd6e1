"""Scenarios of a volume that moves under a running instance: near or far, the guest has one brick, and it is the right
one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from tests.flows import move_scenarios, reach_scenarios, scenarios
from tests.flows.move_scenarios import rest
from tests.flows.reach_scenarios import HERE, THERE
from tests.flows.scenarios import BOSS, ME, Scenario, volume

from brickyard.core import pools
from brickyard.db import attachments, flows, schema, types
from brickyard.flows import repair_adopt
from brickyard.nodes import verbs
from brickyard.service import audit, instances, moves
from brickyard.service.site import Site

Facts = dict[str, Any]


def near(site: Site) -> Facts:
    """An instance with a volume, and another backend of its host."""
    facts = scenarios.with_instance(site)
    move_scenarios.add_backend(site)
    return {**facts, "there": "h1@other#other"}


def near_typed(site: Site) -> Facts:
    facts = near(site)
    with site.db.begin() as tx:
        types.insert(tx, id="other", name="other", is_public=True, extra_specs={"volume_backend_name": "other"})
    return facts


def far(target: str) -> Callable[[Site], Facts]:
    """An instance on the one host with a volume on the other one, or on its own; it shall be the other way round."""

    def prepare(site: Site) -> Facts:
        other = THERE if target == HERE else HERE
        facts = reach_scenarios.with_far_volume(site)
        only(site, other)
        facts["volume"] = scenarios.new_volume(site)
        new = instances.NewInstance("one", "small", "k", (), (facts["volume"],), locality="rack")
        facts["instance"] = instances.boot(site, ME, new).id
        site.waker.run_all()
        assert scenarios.instance(site, facts).status == "active"
        only(site, HERE, THERE)
        return {**facts, "there": f"{target}@raw#raw"}

    return prepare


def only(site: Site, *hosts: str) -> None:
    backends = schema.volume_backends
    with site.db.begin() as tx:
        for host in (HERE, THERE):
            change = sa.update(backends).where(backends.c.name == f"{host}@raw")
            tx.execute(change.values(enabled=host in hosts))
    site.world.places.refresh()


def migrate(site: Site, facts: Facts) -> None:
    facts["here"] = volume(site, facts["volume"]).host
    moves.migrate(site, BOSS, facts["volume"], facts["there"])


def retype(site: Site, facts: Facts) -> None:
    facts["here"] = volume(site, facts["volume"]).host
    moves.retype(site, ME, facts["volume"], "other", "on-demand")


def uses(site: Site, facts: Facts, pool: str) -> None:
    """The guest runs with the brick of this pool, and its attachment says how."""
    at, name, host = pools.parse(pool), f"volume-{facts['volume']}", scenarios.instance(site, facts).host_id
    with site.db.read() as tx:
        guests_on = tx.scalar(sa.select(schema.hosts.c.name).where(schema.hosts.c.id == host))
        [row] = [a for a in attachments.of_instance(tx, facts["instance"]) if a.volume_id == facts["volume"]]
    node = site.world.nodes[guests_on]
    guest = node.hypervisor.guests.by_id[facts["instance"]]
    assert (guest.status, guest.held, guest.copies) == ("running", (), {})
    is_far = at.host != guests_on
    assert row.connection_info["driver_volume_type"] == ("nbd" if is_far else "local")
    export = site.world.nodes[at.host].export(at.backend, name, facts["instance"]) if is_far else None
    expected = node._disk(verbs.BrickDisk(at.backend, name, facts["volume"], export=export))
    assert expected in guest.guest.disks


def moved(site: Site, facts: Facts) -> None:
    rest(site)
    row, there = volume(site, facts["volume"]), pools.parse(facts["there"])
    assert (row.status, row.migration_status, row.host, row.generation) == ("in-use", "success", facts["there"], 2)
    found = site.world.nodes[there.host].find_brick(there.backend, f"volume-{row.id}")
    assert repair_adopt.label_to_json(found.label)["generation"] == 2
    uses(site, facts, facts["there"])
    here = pools.parse(facts["here"])
    assert site.world.nodes[here.host].find_brick(here.backend, f"volume-{row.id}") is None
    assert audit.look(site) == []


def not_moved(site: Site, facts: Facts) -> None:
    row = volume(site, facts["volume"])
    assert (row.status, row.migration_status, row.host, row.generation) == ("in-use", "error", facts["here"], 1)
    assert row.volume_type is None
    uses(site, facts, facts["here"])
    assert audit.look(site) == []
    with site.db.read() as tx:
        assert flows.ready(tx, 1) == []


SCENARIOS = (
    Scenario("mirror_volume", near, migrate, moved, not_moved),
    Scenario("mirror_volume", near_typed, retype, moved, not_moved, everywhere=False),
    Scenario("mirror_volume", far(HERE), migrate, moved, not_moved, hosts=(HERE, THERE), everywhere=False),
    Scenario("mirror_volume", far(THERE), migrate, moved, not_moved, hosts=(HERE, THERE)),
)
