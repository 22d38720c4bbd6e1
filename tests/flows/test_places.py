"""The picture of all places, what is drawn anew of it, and requests for the last room that there is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests import engines, world
from tests.agents.rig import until
from tests.flows.scenarios import ME, Hands

from brickyard.core import placement
from brickyard.db import flavors, flows, images, instances, schema
from brickyard.flows import catalogue, places
from brickyard.hypervisor import memory
from brickyard.service import instances as service
from brickyard.service import reports, volumes
from brickyard.service.site import Site

HOSTS = ("h1", "h2", "h3")
IMAGE = "5b3a8bd8-6d0e-4bd9-a1c8-e3bb44d8b9f1"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Three hosts with a pool of 2 GiB each."""
    hands, hosts = Hands(), {name: memory.Memory() for name in HOSTS}
    made = world.make(tmp_path, {"m": "memory"}, None, hosts=hosts, db=engines.empty(tmp_path))
    hands.site, hands.catalogue = dataclasses.replace(made, waker=hands), catalogue.FLOWS
    with made.db.begin() as tx:
        flavors.insert(tx, id="f1", name="small", vcpus=1, memory_mib=128, root_gib=0, local_storage_gb=1)
        images.insert(
            tx, id=IMAGE, name="k", project_id="project", status="active", kind="kernel", files={"kernel": "k"}
        )
        tx.execute(sa.update(schema.pools).values(limit_gib=2))
    made.world.places.refresh()
    yield hands.site
    made.db.close()


def queue(site: Site, size_gib: int = 1) -> tuple[str, str]:
    """A boot that nobody has begun with: the instance and its flow."""
    storage = (service.LocalStorage(size_gib),)
    new = service.NewInstance(name="one", flavor="small", image="k", local_storage=storage)
    id = service.boot(site, ME, new).id
    with site.db.read() as tx:
        [flow] = flows.of_resource(tx, id)
    return id, flow.id


def status(site: Site, id: str) -> str:
    with site.db.read() as tx:
        row = instances.find(tx, id)
    return str(row.status) if row is not None else "gone"


def in_the_middle(site: Site, do: Any) -> None:
    """`do()` once, when the first flow has its reservations and makes its volumes."""
    hands: Any = site.waker

    def probe(point: str, step: str) -> None:
        if (point, step) == ("before-do", "volumes"):
            hands.probe = lambda point, step: None
            do()

    hands.probe = probe


def test_a_boot_waits_for_what_others_have_only_reserved(site: Site) -> None:
    first, flow = queue(site, 2)  # it has all three hosts, and will keep one
    second, waits = queue(site, 2)

    def meanwhile() -> None:
        assert site.waker.run(waits) == "running"
        assert status(site, second) == "building"

    in_the_middle(site, meanwhile)
    assert site.waker.run(flow) == "done"
    assert site.waker.run(waits) == "done"
    assert [status(site, id) for id in (first, second)] == ["active", "active"]


def test_a_boot_that_would_not_fit_then_either_is_refused_at_once(site: Site) -> None:
    _, flow = queue(site)
    second, large = queue(site, 3)
    in_the_middle(site, lambda: site.waker.run(large))
    assert site.waker.run(flow) == "done"
    assert status(site, second) == "error"
    with site.db.read() as tx:
        row = flows.find(tx, large)
    assert row is not None and {one["name"] for one in row.refusals} >= set(HOSTS)


def test_boots_at_the_same_time_get_all_that_there_is(site: Site) -> None:
    """Six of them for six GiB, and then none for one more."""
    queued = [queue(site) for _ in range(6)]

    def run(flow: str) -> None:
        until(lambda: site.waker.run(flow) in ("done", "failed"), "it is over")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(run, [flow for _, flow in queued]))
    assert [status(site, id) for id, _ in queued] == ["active"] * 6
    with site.db.read() as tx:
        assert set(tx.scalars(sa.select(schema.pools.c.claimed_gib))) == {2}
    late, flow = queue(site)
    assert (site.waker.run(flow), status(site, late)) == ("failed", "error")


def test_what_is_drawn_anew_of_one_host_is_what_all_of_it_would_be(site: Site) -> None:
    book: places.Places = site.world.places

    def shown(book: places.Places) -> list[Any]:
        found = (book.rank_pools(placement.Ask(1)), book.rank_hosts(placement.Boot(1, 64)))
        return [(one.host, one.pools) for ranking in found for one in ranking.candidates]

    before = shown(book)
    hosts, pools = schema.hosts, schema.pools
    with site.db.begin() as tx:
        tx.execute(sa.update(hosts).where(hosts.c.name == "h1").values(memory_mib_claimed=512))
        tx.execute(sa.update(pools).where(pools.c.name == "h1@m#m").values(claimed_gib=1))
        tx.execute(sa.update(hosts).where(hosts.c.name == "h2").values(enabled=False))
    book.redraw(["h1", "h2"])
    now, whole = shown(book), places.Places(site.db, site.settings)
    whole.refresh()
    assert now == shown(whole) != before
    report = dataclasses.replace(site.world.nodes["h3"].report(), host="h4", vcpus=99)
    reports.record(site.db, report)
    book.redraw(["h4"])
    whole.refresh()
    assert shown(book) == shown(whole) != now, "a host that is new"
    with site.db.begin() as tx:  # what only a new picture can show: a host has moved
        tx.execute(sa.update(hosts).where(hosts.c.name == "h1").values(labels={"zone": "other"}))
    book.redraw(["h1"])
    whole.refresh()
    assert shown(book) == shown(whole) != now


def test_a_report_that_says_nothing_new_writes_nothing_but_that_the_host_is_there(site: Site) -> None:
    def rows() -> list[Any]:
        with site.db.read() as tx:
            return [tx.execute(sa.select(table)).all() for table in (schema.volume_backends, schema.pools)]

    report = site.world.nodes["h1"].report()
    reports.record(site.db, report)
    before = rows()
    reports.record(site.db, report)
    assert rows() == before, "not even when it was updated"
    fuller = dataclasses.replace(report.backends[0], up=False, why_down="it is away")
    reports.record(site.db, dataclasses.replace(report, backends=[fuller]))
    assert rows() != before


def test_what_a_delete_gives_back_is_room_before_its_host_says_so(tmp_path: Path) -> None:
    """A thick pool that was full: whoever asks at once is not refused until the next report."""
    options = {"capacity_gib": 1, "preallocate": "true"}
    made, hands = (
        world.make(tmp_path, {"m": "memory"}, None, db=engines.empty(tmp_path), backend_options=options),
        Hands(),
    )
    hands.site, hands.catalogue = made, catalogue.FLOWS
    site = dataclasses.replace(made, waker=hands)
    try:
        first = volumes.create(site, ME, volumes.NewVolume(size_gib=1)).id
        hands.run_all()
        reports.record(site.db, site.world.nodes["h1"].report())
        with site.db.read() as tx:
            assert tx.scalars(sa.select(schema.pools.c.free_gib)).all() == [0]
        volumes.delete(site, ME, first)
        hands.run_all()
        site.world.places.refresh()  # as other hosts have it done, all the time
        volumes.create(site, ME, volumes.NewVolume(size_gib=1))
        hands.run_all()
        with site.db.read() as tx:
            assert tx.scalars(sa.select(schema.volumes.c.status)).all() == ["available"]
    finally:
        site.db.close()
