"""Several hosts: what fails on one is cleaned up there and tried on the next, and a volume pins its instance."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests import world
from tests.flows import soundness
from tests.flows.scenarios import ME, Hands, new_volume
from tests.flows.silent_hosts import HOSTS, bricks, claimed, go_on, hear, open_flows, silence

from brickyard.core import errors
from brickyard.db import flavors, flows, images, instances, reservations, schema
from brickyard.db import volumes as volume_rows
from brickyard.flows import catalogue
from brickyard.hypervisor import memory
from brickyard.service import instances as service
from brickyard.service import volumes
from brickyard.service.site import Site

IMAGE = "5b3a8bd8-6d0e-4bd9-a1c8-e3bb44d8b9f1"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    hands = Hands()
    minds = {name: memory.Memory() for name in HOSTS}
    made = world.make(tmp_path, {"raw": "raw"}, None, hosts=minds, elsewhere=HOSTS)
    hands.site = dataclasses.replace(made, waker=hands)
    hands.catalogue = catalogue.FLOWS
    with made.db.begin() as tx:
        flavors.insert(tx, id="f1", name="small", vcpus=1, memory_mib=128, root_gib=0, local_storage_gb=1)
        images.insert(
            tx, id=IMAGE, name="k", project_id="project", status="active", kind="kernel", files={"kernel": "k"}
        )
    yield hands.site
    made.db.close()


def boot(site: Site, **values: Any) -> Any:
    id = service.boot(site, ME, service.NewInstance(**{"name": "one", "flavor": "small", "image": "k", **values})).id
    site.waker.run_all()
    with site.db.read() as tx:
        return instances.find(tx, id)


def break_node(site: Site, host: str, verb: str) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise errors.BrickError(f"{verb} is broken on {host}")

    setattr(site.world.nodes[host], verb, broken)


def guests(site: Site) -> dict[str, int]:
    return {host: len(site.world.nodes[host].guests()) for host in HOSTS}


def test_a_conductor_that_lost_the_boot_on_one_host_goes_to_no_other(site: Site) -> None:
    """It slept in the middle, and another one has booted the instance meanwhile."""
    node: Any = site.world.nodes["h1"]
    create = node.create_brick

    def sleep(*args: Any, **named: Any) -> None:
        node.create_brick = create
        with site.db.begin() as tx:
            tx.execute(sa.update(schema.flows).values(lease_until="2000"))
            [id] = tx.scalars(sa.select(schema.flows.c.id))
        assert site.waker.run(id) == "done"
        raise errors.Unreachable("it has slept for longer than anybody waits for a host")

    node.create_brick = sleep
    row = boot(site)
    assert (row.status, row.host) == ("active", "h1")
    assert bricks(site) == {"h1": 1, "h2": 0, "h3": 0}


def test_flavor_with_local_storage_needs_no_option(site: Site) -> None:
    row = boot(site)
    assert row.status == "active"
    assert sorted(bricks(site).values()) == [0, 0, 1]


def test_volume_that_fails_on_the_best_host_is_made_on_the_next_reserved_one(site: Site) -> None:
    break_node(site, "h1", "create_brick")
    row = boot(site)
    assert (row.status, row.host) == ("active", "h2")
    assert bricks(site) == {"h1": 0, "h2": 1, "h3": 0}
    with site.db.read() as tx:
        flow = flows.of_resource(tx, row.id)[0]
        log = {entry.step: entry.data for entry in flows.log(tx, flow.id) if entry.event == "done"}
    assert flow.attempt == 1
    assert log["volumes"]["failures"] == [
        {"host": "h1", "message": "create_brick is broken on h1", "pool": "h1@raw#raw"}
    ]
    check(site)


def test_instance_that_does_not_start_is_retried_as_a_whole_on_another_host(site: Site) -> None:
    break_node(site, "h1", "boot")
    break_node(site, "h2", "boot")
    row = boot(site)
    assert (row.status, row.host) == ("active", "h3")
    assert bricks(site) == {"h1": 0, "h2": 0, "h3": 1}
    assert guests(site) == {"h1": 0, "h2": 0, "h3": 1}
    check(site)


def test_attempts_are_bounded_and_the_fault_says_what_happened(site: Site) -> None:
    for host in HOSTS:
        break_node(site, host, "boot")
    row = boot(site)
    assert row.status == "error"
    assert "boot is broken on h3" in row.fault
    assert bricks(site) == {"h1": 0, "h2": 0, "h3": 0}
    check(site)


def test_instance_goes_where_its_volume_is(site: Site) -> None:
    first = boot(site)
    with site.db.read() as tx:
        volume = tx.scalar(sa.select(schema.volumes.c.id))
    service.delete(site, ME, first.id, with_volumes=False)
    site.waker.run_all()
    for _ in range(3):  # the other hosts are emptier, and would be better for a new volume
        new_volume(site)
    again = boot(site, name="two", volumes=(volume,))
    assert (again.status, again.host) == ("active", first.host)
    check(site)


def test_nothing_can_hold_it_and_each_host_says_why(site: Site) -> None:
    row = boot(site, local_storage=(service.LocalStorage(900),))
    with site.db.read() as tx:
        flow = flows.of_resource(tx, row.id)[0]
    assert row.status == "error"
    assert {refusal["name"] for refusal in flow.refusals} >= set(HOSTS)
    check(site)


def test_reservations_are_there_while_the_volumes_are_made_and_gone_after(site: Site) -> None:
    seen: list[int] = []
    node = site.world.nodes["h1"]
    create = node.create_brick

    def watched(*args: Any) -> Any:
        seen.append(len(soundness.rows(site, schema.reservations)))
        return create(*args)

    node.create_brick = watched  # type: ignore[method-assign]
    boot(site)
    assert seen == [3]
    assert soundness.rows(site, schema.reservations) == []


def test_cleared_reservation_fails_the_attempt_and_the_next_one_succeeds(site: Site) -> None:
    """An administrator clears what a boot has reserved, in the middle of it."""
    node = site.world.nodes["h1"]
    create = node.create_brick

    def cleared(*args: Any) -> Any:
        with site.db.begin() as tx:
            for row in soundness.rows(site, schema.reservations):
                reservations.clear(tx, row.id)
        return create(*args)

    node.create_brick = cleared  # type: ignore[method-assign]
    row = boot(site)
    assert (row.status, row.host) == ("active", "h2")
    assert bricks(site) == {"h1": 0, "h2": 1, "h3": 0}
    check(site)


def check(site: Site) -> None:
    claimed = {c.pool_id: 0 for c in soundness.rows(site, schema.claims)}
    for claim in soundness.rows(site, schema.claims):
        claimed[claim.pool_id] += claim.gib
    for pool in soundness.rows(site, schema.pools):
        assert pool.claimed_gib == claimed.get(pool.id, 0)
    assert soundness.rows(site, schema.reservations) == []
    placed = [row for row in soundness.rows(site, schema.volumes) if row.pool_id]
    assert sum(bricks(site).values()) == len(placed)
    active = [row for row in soundness.rows(site, schema.instances) if row.status == "active"]
    assert sum(guests(site).values()) == len(active)
    assert sum(h.vcpus_claimed for h in soundness.rows(site, schema.hosts)) == len(active)


def test_a_pool_in_memory_is_not_for_guests_of_a_real_hypervisor(site: Site) -> None:
    with site.db.begin() as tx:
        tx.execute(sa.update(schema.volume_backends).values(driver="memory"))
    assert boot(site).status == "active", "a simulated guest may use it"
    with site.db.begin() as tx:
        tx.execute(sa.update(schema.hosts).values(hypervisor="qemu"))
    site.world.places.refresh()
    assert boot(site, name="two").status == "error"


def test_a_pool_that_fails_is_left_out_and_another_one_of_its_host_does(tmp_path: Path) -> None:
    hands = Hands()
    made = world.make(tmp_path, {"bad": "raw", "good": "raw"}, memory.Memory())
    (made.world.images / "k").touch()
    hands.site, hands.catalogue = dataclasses.replace(made, waker=hands), catalogue.FLOWS
    with made.db.begin() as tx:
        flavors.insert(tx, id="f1", name="small", vcpus=1, memory_mib=128, root_gib=0, local_storage_gb=1)
        images.insert(
            tx, id=IMAGE, name="k", project_id="project", status="active", kind="kernel", files={"kernel": "k"}
        )
        tx.execute(sa.update(schema.pools).where(schema.pools.c.name == "h1@good#good").values(limit_gib=2))
    made.world.places.refresh()
    node = made.world.nodes["h1"]
    create = node.create_brick

    def failing(backend: str, *args: Any) -> Any:
        if backend == "bad":
            raise errors.BrickError("this disk is bad")
        return create(backend, *args)

    node.create_brick = failing  # type: ignore[method-assign]
    row = boot(hands.site)
    with made.db.read() as tx:
        flow = flows.of_resource(tx, row.id)[0]
    assert (row.status, row.host, flow.attempt) == ("active", "h1", 2)
    assert [found.name[:7] for found in node.bricks("good")] == ["volume-"]
    soundness.check(hands.site)
    made.db.close()


def test_a_host_that_falls_silent_is_not_waited_for_while_there_is_another(site: Site) -> None:
    silence(site, "h1")
    row = boot(site)
    assert (row.status, row.host) == ("active", "h2")
    assert bricks(site) == {"h1": 1, "h2": 1, "h3": 0}
    go_on(site)
    assert [name for _, name in open_flows(site)] == ["remove_copy"]
    assert claimed(site) == {"h1": 1, "h2": 1, "h3": 0}, "what h1 may have made takes its room"
    hear(site, "h1")
    go_on(site)
    assert bricks(site) == {"h1": 0, "h2": 1, "h3": 0} and claimed(site) == bricks(site)
    assert guests(site) == {"h1": 0, "h2": 1, "h3": 0}
    check(site)


def test_hosts_that_are_all_silent_are_waited_for(site: Site) -> None:
    silence(site, *HOSTS)
    row = boot(site)
    assert row.status == "building"
    hear(site, *HOSTS)
    for _ in range(2):
        go_on(site)
    with site.db.read() as tx:
        row = instances.find(tx, row.id)
    assert row.status == "active" and not open_flows(site)
    assert sorted(bricks(site).values()) == [0, 0, 1] and claimed(site) == bricks(site)
    check(site)


def test_a_boot_that_fails_does_not_wait_for_who_is_silent(site: Site) -> None:
    silence(site, "h1")
    for host in ("h2", "h3"):
        break_node(site, host, "create_brick")
    row = boot(site)
    assert row.status == "error" and "h1: it does not answer" in row.fault
    assert claimed(site) == {"h1": 1, "h2": 0, "h3": 0}
    hear(site, "h1")
    go_on(site)
    assert bricks(site) == claimed(site) == dict.fromkeys(HOSTS, 0)
    check(site)


def test_a_boot_waits_while_no_host_can_be_heard(site: Site) -> None:
    """Silence says nothing then, and neither does a host that seems to be down."""
    remote: Any = site.world.nodes.remote
    remote.heard = False
    silence(site, *HOSTS)
    first = boot(site)
    with site.db.begin() as tx:
        before = dict(tx.execute(sa.select(schema.hosts.c.id, schema.hosts.c.heartbeat_at)).all())
        tx.execute(sa.update(schema.hosts).values(heartbeat_at="2020"))
    second = boot(site)
    volume = volumes.create(site, ME, volumes.NewVolume(size_gib=1))
    site.waker.run_all()
    assert len(open_flows(site)) == 3 and [first.status, second.status] == ["building", "building"]
    hear(site, *HOSTS)
    remote.heard = True
    with site.db.begin() as tx:
        for id, at in before.items():
            tx.execute(sa.update(schema.hosts).where(schema.hosts.c.id == id).values(heartbeat_at=at))
    go_on(site)
    assert not open_flows(site)
    with site.db.read() as tx:
        assert {instances.find(tx, row.id).status for row in (first, second)} == {"active"}
        assert volume_rows.find(tx, volume.id).status == "available"
    check(site)
