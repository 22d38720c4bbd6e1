"""A drain that is cancelled, asked for twice, or whose host is enabled meanwhile."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import world
from tests.flows import drain_scenarios, scenarios
from tests.flows.reach_scenarios import HERE, THERE
from tests.flows.scenarios import BOSS, volume

from brickyard.core import clock, errors
from brickyard.db import flows
from brickyard.flows import catalogue
from brickyard.hypervisor import memory
from brickyard.service import drains, hosts
from brickyard.service.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    hands = scenarios.Hands()
    made = world.make(tmp_path, {"raw": "raw"}, None, {HERE: memory.Memory(), THERE: None}, exports=True)
    hands.site = dataclasses.replace(made, waker=hands)
    hands.catalogue = catalogue.FLOWS
    yield hands.site
    made.db.close()


def end_of(site: Site, id: str) -> Any:
    with site.db.read() as tx:
        return flows.find(tx, id).status, flows.log(tx, id)[-1].data


def where(site: Site, facts: dict[str, Any]) -> list[str]:
    return [volume(site, id).host for id in facts["moving"]]


def test_a_drain_is_cancelled_and_taken_up_again(site: Site) -> None:
    facts = drain_scenarios.full(site)
    id = drains.start(site, BOSS, THERE, 1)
    assert drains.start(site, BOSS, THERE, 7) == id
    assert drains.look(site, THERE).flow.params["parallel"] == 7
    assert drains.cancel(site, THERE) == id
    drain_scenarios.settle(site)
    assert end_of(site, id) == ("done", {"moved": 0, "failed": 0, "cancelled": True})
    assert set(where(site, facts)) == {facts["here"]}
    with pytest.raises(errors.Conflict, match="not being drained"):
        drains.cancel(site, THERE)
    assert drains.start(site, BOSS, THERE, 7) != id
    drain_scenarios.drained(site, facts)


@pytest.mark.parametrize("how", ["cancelled", "enabled"])
def test_what_has_begun_goes_on_and_nothing_else_begins(site: Site, how: str) -> None:
    facts = drain_scenarios.full(site)
    id = drains.start(site, BOSS, THERE, 1)
    hands: Any = site.waker
    hands.woken.clear()
    hands.run(id)  # the first move is queued now
    [moving] = [fate for fate in drains.look(site, THERE).fates if fate.state == "moving"]
    if how == "cancelled":
        drains.cancel(site, THERE)
    else:
        hosts.update(site, THERE, enabled=True)
    drain_scenarios.settle(site)
    assert end_of(site, id) == ("done", {"moved": 1, "failed": 0, "cancelled": True})
    assert volume(site, moving.volume.id).host == facts["there"]
    assert sorted(where(site, facts)) == sorted([facts["here"], facts["there"]])


@pytest.mark.parametrize("asked", ["again", "cancel"])
def test_what_is_asked_for_while_it_ends_is_done_or_refused(site: Site, asked: str) -> None:
    """It has seen that it was cancelled, or that nothing is left, and that is not written yet."""
    facts = drain_scenarios.full(site)
    id = drains.start(site, BOSS, THERE, 7)
    if asked == "again":
        drains.cancel(site, THERE)
    said: list[str] = []

    def ask(point: str, step: str) -> None:
        if (point, step) == ("after-do", "empty") and not said:
            said.append("")
            if asked == "again":
                said.append(drains.start(site, BOSS, THERE, 7))
                return
            with pytest.raises(errors.Conflict, match="not being drained"):
                drains.cancel(site, THERE)

    hands: Any = site.waker
    hands.probe = ask
    drain_scenarios.settle(site)
    assert end_of(site, id)[0] == "done" and said[1:] != [id]
    assert set(where(site, facts)) == {facts["there"]}


def test_none_begins_after_a_cancel_that_comes_between_two(site: Site) -> None:
    facts = drain_scenarios.full(site)
    drains.start(site, BOSS, THERE, 2)

    def cancel(flow_id: str) -> None:  # the first move has begun
        site.world.bell.ring = site.waker.wake
        drains.cancel(site, THERE)

    site.world.bell.ring = cancel
    drain_scenarios.settle(site)
    assert sorted(where(site, facts)) == sorted([facts["here"], facts["there"]])


def test_as_many_move_at_a_time_as_were_asked_for(site: Site) -> None:
    drain_scenarios.full(site)
    id = drains.start(site, BOSS, THERE, 2)
    hands: Any = site.waker
    hands.woken.clear()
    hands.run(id)
    assert sorted(fate.state for fate in drains.look(site, THERE).fates) == ["moving", "moving", "stays"]


def test_a_conductor_whose_clock_is_behind_counts_the_moves_that_it_begins(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = drain_scenarios.full(site)
    id = drains.start(site, BOSS, THERE, 1)
    now = clock.now
    monkeypatch.setattr(clock, "now", lambda: now() - datetime.timedelta(minutes=5))
    hands: Any = site.waker
    hands.woken.clear()
    hands.run(id)
    assert sorted(fate.state for fate in drains.look(site, THERE).fates) == ["moving", "planned", "stays"]
    drain_scenarios.settle(site)
    assert end_of(site, id) == ("done", {"moved": 2, "failed": 0, "cancelled": False})
    drain_scenarios.drained(site, facts)


def test_what_fails_is_named_and_the_others_go_on(site: Site) -> None:
    facts = drain_scenarios.full(site)
    broken: list[str] = []

    def once(point: str, step: str) -> None:
        if (point, step) == ("before-do", "still") and not broken:
            broken.append(step)
            raise errors.BrickError("broken on purpose")

    hands: Any = site.waker
    hands.probe = once
    id = drains.start(site, BOSS, THERE, 1)
    drain_scenarios.settle(site)
    assert end_of(site, id) == ("done", {"moved": 1, "failed": 1, "cancelled": False})
    told = {fate.state: fate.reason for fate in drains.look(site, THERE).fates}
    assert set(told) == {"moved", "failed", "stays"} and told["failed"] == "broken on purpose"
    assert sorted(where(site, facts)) == sorted([facts["here"], facts["there"]])
    drains.start(site, BOSS, THERE, 1)
    drain_scenarios.settle(site)
    assert set(where(site, facts)) == {facts["there"]}
