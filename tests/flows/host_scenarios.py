"""Scenarios of hosts that are lost and come back."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from tests.flows import scenarios
from tests.flows.scenarios import BOSS, Scenario

from brickyard.core.bricks import Kind, Label
from brickyard.db import hosts, schema
from brickyard.service import audit, lost_hosts
from brickyard.service.site import Site

OLD = Label(Kind.VOLUME, "0e7c8a52-2f5c-4c43-8d2f-7d1c5a0b9e11", "project")


def host(site: Site) -> Any:
    with site.db.read() as tx:
        return hosts.find_host(tx, "h1")


def lose(site: Site, facts: dict[str, Any]) -> None:
    lost_hosts.lose(site, BOSS, "h1", data_lost=False, confirm="h1")


def come_back(site: Site, facts: dict[str, Any]) -> None:
    lost_hosts.take_back(site, BOSS, "h1")


def lost(site: Site, facts: dict[str, Any]) -> None:
    assert host(site).lost_at and not host(site).heartbeat_at
    scenarios.status(("volume", "error"), ("snapshot", "error"))(site, facts)
    with site.db.begin() as tx:  # so that the rest of the world can be looked at
        hosts.update_host(tx, host(site).id, lost_at=None)


def not_lost(site: Site, facts: dict[str, Any]) -> None:
    """It is fenced from the start, and whoever asks again goes on."""
    lose(site, facts)
    site.waker.run_all()
    lost(site, facts)


def with_a_lost_host(site: Site) -> dict[str, Any]:
    facts = scenarios.with_snapshot(site)
    lose(site, facts)
    site.waker.run_all()
    return facts


def back(site: Site, facts: dict[str, Any]) -> None:
    assert host(site).lost_at is None
    scenarios.status(("volume", "available"), ("snapshot", "available"))(site, facts)
    assert scenarios.read(site, facts["volume"], 5) == b"first"


def not_back(site: Site, facts: dict[str, Any]) -> None:
    assert host(site).lost_at
    scenarios.status(("volume", "error"), ("snapshot", "error"))(site, facts)
    come_back(site, facts)
    site.waker.run_all()
    back(site, facts)


def given_up(site: Site) -> dict[str, Any]:
    """A brick that was found on a host that came back, and that no row knew."""
    site.world.nodes["h1"].create_brick("raw", OLD, 2**30)
    with site.db.begin() as tx:
        tx.execute(sa.insert(schema.lost_bricks).values(name=OLD.name, pool="h1@raw#raw", lost_at="2026"))
    return {}


def recover(site: Site, facts: dict[str, Any]) -> None:
    [found] = audit.repair(site, BOSS, recover=True)
    assert (found.difference.kind, found.action) == ("lost_brick", "disown")


def recovered(site: Site, facts: dict[str, Any]) -> None:
    assert [found.name for found in site.world.nodes["h1"].strangers("raw")] == [OLD.name]


def not_recovered(site: Site, facts: dict[str, Any]) -> None:
    if site.world.nodes["h1"].strangers("raw"):
        return  # only the answer was lost
    recover(site, facts)
    site.waker.run_all()
    recovered(site, facts)


SCENARIOS = (
    Scenario("lose_host", scenarios.with_snapshot, lose, lost, not_lost),
    Scenario("return_host", with_a_lost_host, come_back, back, not_back),
    Scenario("repair_disown", given_up, recover, recovered, not_recovered),
)
