"""A volume whose host falls silent while it is made goes to another one; what the silent host has made is removed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests import world
from tests.flows import soundness
from tests.flows.scenarios import ME, Hands
from tests.flows.silent_hosts import HOSTS, bricks, claimed, go_on, hear, open_flows, silence

from brickyard.core import errors
from brickyard.db import flows, schema
from brickyard.db import volumes as volume_rows
from brickyard.flows import catalogue, create_volume, engine
from brickyard.service import volumes
from brickyard.service.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    hands = Hands()
    made = world.make(tmp_path, {"raw": "raw"}, None, hosts=dict.fromkeys(HOSTS), elsewhere=HOSTS)
    hands.site = dataclasses.replace(made, waker=hands)
    hands.catalogue = catalogue.FLOWS
    yield hands.site
    soundness.check(hands.site)
    made.db.close()


def new_volume_row(site: Site, **values: Any) -> Any:
    id = volumes.create(site, ME, volumes.NewVolume(**{"size_gib": 1, **values})).id
    site.waker.run_all()
    return row_of(site, id)


def row_of(site: Site, id: str) -> Any:
    with site.db.read() as tx:
        return volume_rows.find(tx, id)


def test_a_volume_does_not_wait_for_a_host_that_falls_silent_while_there_is_another(site: Site) -> None:
    silence(site, "h1")
    row = new_volume_row(site)
    assert (row.status, row.host) == ("available", "h2@raw#raw")
    go_on(site)
    assert [name for _, name in open_flows(site)] == ["remove_copy"]
    assert claimed(site) == bricks(site) == {"h1": 1, "h2": 1, "h3": 0}, "what h1 may have made takes its room"
    silence(site, "h2", "h3")
    assert new_volume_row(site).status == "creating"  # nobody is left, so it is waited for
    hear(site, *HOSTS)
    for _ in range(2):
        go_on(site)
    assert not open_flows(site) and claimed(site) == bricks(site) and sum(bricks(site).values()) == 2


def test_a_volume_that_can_be_nowhere_else_waits_for_its_host(site: Site) -> None:
    source = new_volume_row(site)
    node: Any = site.world.nodes[source.host.partition("@")[0]]
    clone = node.clone_brick

    def silent(*args: Any, **named: Any) -> None:
        raise errors.Unreachable("it does not answer")

    node.clone_brick = silent
    copy = new_volume_row(site, source_volid=source.id)
    assert copy.status == "creating"
    node.clone_brick = clone
    go_on(site)
    assert row_of(site, copy.id).host == source.host and not open_flows(site)


def test_a_conductor_that_dies_when_it_has_left_a_silent_host_has_left_it(site: Site) -> None:
    """And the brick is not made there, though the host answers again by then."""
    silence(site, "h1")
    hands: Any = site.waker

    def die(point: str, step: str) -> None:
        if (point, step) == ("before-do", "brick"):
            raise KeyboardInterrupt

    hands.probe = die
    with pytest.raises(KeyboardInterrupt):
        new_volume_row(site)
    hands.probe = lambda point, step: None
    with site.db.read() as tx:
        [flow] = tx.execute(sa.select(schema.flows)).all()
        [placed] = [entry.data for entry in flows.log(tx, flow.id) if entry.event == "done"]
    dead = engine.Run(flow.id, flow.params, flow.project_id, flow.request_id, site.world, epoch=flow.epoch)
    dead.data = {"place": placed}
    with pytest.raises(errors.Unavailable):
        create_volume.make(dead)
    hear(site, "h1")
    with site.db.begin() as tx:
        flows.abandon(tx)
    for _ in range(2):
        go_on(site)
    assert row_of(site, flow.resource_id).host == "h2@raw#raw" and not open_flows(site)
    assert claimed(site) == bricks(site) == {"h1": 0, "h2": 1, "h3": 0}
