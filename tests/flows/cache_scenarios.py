"""Scenarios of images that a pool keeps: whatever breaks, a volume is whole or not there, and nothing is half kept."""

from __future__ import annotations

import uuid
from typing import Any

from tests.flows.move_scenarios import rest
from tests.flows.scenarios import IMAGE, ME, Scenario, read, status, volume, with_flavor

from brickyard.core import image_cache as options
from brickyard.core.bricks import Kind, name_of
from brickyard.db import cached_images, flows, hosts
from brickyard.flows import engine, image_cache
from brickyard.service import audit, reports
from brickyard.service import volumes as volume_service
from brickyard.service.site import Site

Facts = dict[str, Any]
POOL = "h1@raw#raw"


def keeping(site: Site) -> Facts:
    """An image, and a pool that keeps what volumes are made of."""
    facts = with_flavor(site)
    node = site.world.nodes["h1"]
    for backend in node.backends.values():
        backend.options = {**backend.options, options.OPTIONS[0]: True}
    reports.record(site.db, node.report())
    site.world.places.refresh()
    return facts


def kept(site: Site) -> list[Any]:
    with site.db.read() as tx:
        return cached_images.on_pool(tx, pool(site).id)


def pool(site: Site) -> Any:
    with site.db.read() as tx:
        return hosts.find_pool(tx, POOL)


def keep(site: Site, facts: Facts) -> None:
    """What a volume of the image begins."""
    with site.db.begin() as tx:
        run = engine.Run(str(uuid.uuid4()), {}, "project", "req-1", site.world)
        row, source = hosts.find_pool(tx, POOL), {"kind": "image", "id": IMAGE}
        assert row is not None
        facts["cached"] = image_cache.use(run, tx, row, facts["volume"], source)
        cached_images.let_go(tx, facts["volume"])
    rest(site)


def with_kept(site: Site) -> Facts:
    facts = keeping(site)
    keep(site, facts)
    is_kept(site, facts)
    return facts


def is_kept(site: Site, facts: Facts) -> None:
    [row] = kept(site)
    assert (row.id, row.status, row.size_gib, row.used) == (facts["cached"], "available", 1, False)
    node = site.world.nodes["h1"]
    name = name_of(Kind.IMAGE, row.id)
    found = node.find_brick("raw", name)
    assert (found.label.kind, found.label.parent) == (Kind.IMAGE, IMAGE)
    with open(node.open_brick("raw", name).path, "rb") as file:
        assert file.read(5) == b"boot\0"
    assert audit.look(site) == []


def not_kept(site: Site, facts: Facts) -> None:
    """And a volume that asks for the image has it kept."""
    assert kept(site) == []
    assert audit.look(site) == []
    create(site, facts)
    site.waker.run_all()
    finish(site)
    facts["cached"] = kept(site)[0].id
    is_kept(site, facts)
    cloned(site, facts)


def finish(site: Site) -> None:
    """Run what waits for its turn, until nothing does."""
    for _ in range(3):
        with site.db.begin() as tx:
            tx.execute(flows.flows.update().values(not_before="2000"))
        rest(site)


def create(site: Site, facts: Facts) -> None:
    facts["new"] = volume_service.create(site, ME, volume_service.NewVolume(size_gib=2, image_id=IMAGE)).id


def cloned(site: Site, facts: Facts) -> None:
    status(("new", "available"))(site, facts)
    assert read(site, facts["new"], 5) == b"boot\0"
    with site.db.read() as tx:
        [made] = [row for row in flows.of_resource(tx, facts["new"]) if row.name == "create_volume"]
        done = {entry.step: entry.data for entry in flows.log(tx, made.id) if entry.event == "done"}
    assert (done["place"]["cached"], done["brick"]) == (facts["cached"], None)


def is_cloned(site: Site, facts: Facts) -> None:
    cloned(site, facts)
    is_kept(site, facts)
    assert (pool(site).image_cache_hits, pool(site).image_cache_misses) == (1, 1)


def not_cloned(site: Site, facts: Facts) -> None:
    status(("new", "error"))(site, facts)
    assert volume(site, facts["new"]).pool_id is None
    is_kept(site, facts)


def evict(site: Site, facts: Facts) -> None:
    with site.db.begin() as tx:
        assert image_cache.evict(site.world, tx, facts["cached"], "req-1") is not None
    rest(site)


def evicted(site: Site, facts: Facts) -> None:
    assert kept(site) == []
    assert audit.look(site) == []


def not_evicted(site: Site, facts: Facts) -> None:
    """It is of no use any more, and goes the next time."""
    [row] = kept(site)
    assert row.status == "error_deleting"
    evict(site, facts)
    evicted(site, facts)


SCENARIOS = (
    Scenario("cache_image", keeping, keep, is_kept, not_kept),
    Scenario("evict_image", with_kept, evict, evicted, not_evicted),
    Scenario("create_volume", with_kept, create, is_cloned, not_cloned),
)
