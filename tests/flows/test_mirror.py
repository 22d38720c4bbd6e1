"""What waits while a volume moves under its instance, and which volumes in use cannot move."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import world
from tests.flows import mirror_scenarios, reach_scenarios, scenarios, soundness
from tests.flows.reach_scenarios import HERE, THERE

from brickyard.core import errors, pools
from brickyard.db import flows, schema
from brickyard.db import hosts as host_rows
from brickyard.flows import catalogue, return_host
from brickyard.hypervisor import memory
from brickyard.service import attachments, instances, moves, power
from brickyard.service.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    hands = scenarios.Hands()
    made = world.make(tmp_path, {"raw": "raw"}, memory.Memory())
    hands.site = dataclasses.replace(made, waker=hands)
    hands.catalogue = catalogue.FLOWS
    yield hands.site
    made.db.close()


def refused(call: Any, *args: Any, why: str, **named: Any) -> None:
    with pytest.raises(errors.BrickyardError) as caught:
        call(*args, **named)
    assert why in caught.value.message
    assert caught.value.status in (400, 409)


def test_the_instance_stays_as_it_is_until_its_volume_has_moved(site: Site) -> None:
    facts = mirror_scenarios.near(site)
    instance, volume = facts["instance"], facts["volume"]
    mirror_scenarios.migrate(site, facts)
    assert scenarios.volume(site, volume).status == "maintenance"
    refused(power.stop, site, scenarios.ME, instance, why="is being moved")
    refused(instances.delete, site, scenarios.ME, instance, with_volumes=False, why="is being moved")
    refused(mirror_scenarios.migrate, site, dict(facts), why="is maintenance")
    with site.db.read() as tx:
        [row] = [a for a in attachments.attachments.of_instance(tx, instance) if a.volume_id == volume]
    service = dataclasses.replace(scenarios.BOSS, is_service=True)
    refused(attachments.delete, site, service, row.id, why="is being moved")
    refused(instances.detach, site, scenarios.ME, instance, volume, why="is being moved")
    site.waker.run_all()
    mirror_scenarios.moved(site, facts)
    power.stop(site, scenarios.ME, instance)
    site.waker.run_all()
    assert scenarios.instance(site, facts).status == "stopped"
    facts["there"] = facts["here"]
    refused(mirror_scenarios.migrate, site, facts, why="start that, or detach the volume")


def test_a_guest_that_ends_meanwhile_keeps_its_volume_where_it_was(site: Site) -> None:
    facts = mirror_scenarios.near(site)
    hypervisor = site.world.nodes["h1"].hypervisor
    hands: Any = site.waker

    def end(point: str, step: str) -> None:
        if (point, step) == ("before-do", "pivot"):
            hypervisor.kill(facts["instance"])

    hands.probe = end
    mirror_scenarios.migrate(site, facts)
    hands.run_all()
    row = scenarios.volume(site, facts["volume"])
    assert (row.status, row.migration_status, row.host, row.generation) == ("in-use", "error", facts["here"], 1)
    mirror_scenarios.rest(site)


def test_only_volumes_of_our_own_instances_move_in_use(site: Site) -> None:
    facts = mirror_scenarios.near(site)
    spare = facts["spare"]
    connector = {"host": "h1", "ip": "127.0.0.1", "initiator": "x"}
    hands: Any = site.waker
    server = "0d9b8b1c-7c24-4a4a-9f4b-7c1f5d3f5a01"
    made = attachments.create(site, scenarios.ME, spare, instance_uuid=server, connector=connector, mode=None)
    hands.run_all()
    attachments.complete(site, scenarios.ME, made.id)
    assert scenarios.volume(site, spare).status == "in-use"
    refused(moves.migrate, site, scenarios.BOSS, spare, facts["there"], why="no instance of this service")


def go_on(hands: Any) -> None:
    """What waits for its turn, or was queued by what ended."""
    for _ in range(6):
        with hands.site.db.begin() as tx:
            flows.abandon(tx)
            tx.execute(flows.flows.update().values(not_before=""))
            for id in flows.ready(tx, 100):
                hands.wake(id)
        hands.run_all()


@pytest.mark.parametrize("target", [HERE, THERE])
@pytest.mark.parametrize("lost", [HERE, THERE])
@pytest.mark.parametrize("point", ["before-do mirror", "after-do mirror", "after-do still", "after-do pivot"])
def test_with_a_host_lost_the_guest_and_the_record_never_part(
    tmp_path: Path, point: str, lost: str, target: str
) -> None:
    """Whichever host is lost in whichever step: the move ends, what the record names is there, and the guest, on h1,
    has that brick or none."""
    hands = scenarios.Hands()
    hosts = {HERE: memory.Memory(), THERE: None}
    made = world.make(tmp_path, {"raw": "raw"}, memory.Memory(), hosts, elsewhere=(HERE, THERE), exports=True)
    site = hands.site = dataclasses.replace(made, waker=hands)
    hands.catalogue = catalogue.FLOWS
    facts = mirror_scenarios.far(target)(site)
    fired = []

    def lose(at: str, step: str) -> None:
        if f"{at} {step}" != point or fired:
            return
        fired.append(step)
        with site.db.begin() as tx:
            host_rows.lose_host(tx, reach_scenarios.host_id(site, lost))
        if at == "after-do":
            raise errors.HostLost("its answer was lost, and then it was")

    hands.probe = lose
    mirror_scenarios.migrate(site, facts)
    go_on(hands)
    assert not [row.name for row in soundness.rows(site, schema.flows) if row.status in flows.OPEN]
    row = scenarios.volume(site, facts["volume"])
    assert row.status == "in-use"
    where = pools.parse(row.host)
    assert site.world.nodes.returning(where.host).find_brick(where.backend, f"volume-{row.id}") is not None
    node = site.world.nodes.returning(HERE)
    return_host._end_moves(node)  # as when it is back, or was never away
    guest = node.hypervisor.guests.by_id[facts["instance"]]
    assert (guest.held, guest.copies) == ((), {})
    [disk] = [disk for disk in guest.guest.disks if disk.serial == row.id]
    assert guest.status == "stopped" or (disk.export is not None) == (where.host != HERE)
    site.db.close()
