"""Scenarios of a volume that moves: whatever breaks, one copy counts, and in the end there is one."""

from __future__ import annotations

from typing import Any

from tests.flows.scenarios import BOSS, ME, Scenario, read, volume, with_volume, write

from brickyard.core import pools
from brickyard.db import flows, types
from brickyard.flows import repair_adopt
from brickyard.service import audit, moves, new_pools
from brickyard.service import pools as pools_service
from brickyard.service import volumes as volume_service
from brickyard.service.site import Site

Facts = dict[str, Any]


def two_backends(site: Site) -> Facts:
    """A volume on the one backend, and another backend of the same host."""
    facts = with_volume(site)
    add_backend(site)
    return facts


def add_backend(site: Site) -> None:
    directory = str(site.world.images.parent / "other")
    pools_service.create(site, BOSS, new_pools.NewPool(name="other", host="h1", driver="raw", path=directory))
    site.waker.run_all()


def two_types(site: Site) -> Facts:
    """A volume on the one backend, and a type that only the other one serves."""
    add_backend(site)
    with site.db.begin() as tx:
        for name in ("raw", "other"):
            types.insert(tx, id=name, name=name, is_public=True, extra_specs={"volume_backend_name": name})
    id = volume_service.create(site, ME, volume_service.NewVolume(size_gib=1, volume_type="raw")).id
    site.waker.run_all()
    write(site, id, b"first")
    return {"volume": id}


def migrate(site: Site, facts: Facts) -> None:
    facts["here"], facts["there"] = "h1@raw#raw", "h1@other#other"
    moves.migrate(site, BOSS, facts["volume"], facts["there"])


def retype(site: Site, facts: Facts) -> None:
    facts["here"], facts["there"] = "h1@raw#raw", "h1@other#other"
    moves.retype(site, ME, facts["volume"], "other", "on-demand")


def rest(site: Site) -> None:
    """Run what the flows have queued themselves."""
    with site.db.read() as tx:
        for id in flows.ready(tx, 100):
            site.waker.wake(id)
    site.waker.run_all()


def moved(site: Site, facts: Facts) -> None:
    rest(site)
    row = volume(site, facts["volume"])
    assert (row.status, row.migration_status, row.host, row.generation) == ("available", "success", facts["there"], 2)
    assert read(site, row.id, 5) == b"first"
    node = site.world.nodes["h1"]
    assert node.find_brick(pools.parse(facts["here"]).backend, f"volume-{row.id}") is None
    found = node.find_brick(pools.parse(facts["there"]).backend, f"volume-{row.id}")
    assert repair_adopt.label_to_json(found.label)["generation"] == 2
    assert audit.look(site) == []


def not_moved(site: Site, facts: Facts) -> None:
    row = volume(site, facts["volume"])
    assert (row.status, row.migration_status, row.host, row.generation) == ("available", "error", facts["here"], 1)
    assert read(site, row.id, 5) == b"first"
    assert row.volume_type in (None, "raw")
    assert audit.look(site) == []


def move_and_remove(site: Site, facts: Facts) -> None:
    migrate(site, facts)
    site.waker.run_all()
    rest(site)


def left_behind(site: Site, facts: Facts) -> None:
    """The volume is where it shall be; what is left of the old copy an audit removes."""
    audit.repair(site, BOSS, grace_s=0)
    site.waker.run_all()
    audit.repair(site, BOSS, grace_s=0)
    site.waker.run_all()
    moved(site, facts)


SCENARIOS = (
    Scenario("move_volume", two_backends, migrate, moved, not_moved),
    Scenario("move_volume", two_types, retype, moved, not_moved, everywhere=False),
    Scenario("remove_copy", two_backends, move_and_remove, moved, left_behind),
)
