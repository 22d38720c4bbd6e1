"""Every flow, broken at each step on purpose: it fails there, its reply is lost, its conductor dies, on the way
forward and at each point of unwinding; and every step and undo runs twice. Afterwards the world is done or clean."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import engines, world
from tests.flows import (
    backup_scenarios,
    cache_scenarios,
    disk_scenarios,
    drain_scenarios,
    group_scenarios,
    host_scenarios,
    mirror_scenarios,
    move_scenarios,
    reach_scenarios,
    scenarios,
    server_scenarios,
    soundness,
    upload_scenarios,
)
from tests.flows.scenarios import Hands, Scenario

from brickyard.core import errors
from brickyard.db import database, flows, hosts, schema
from brickyard.flows import catalogue, engine
from brickyard.hypervisor import memory

SCENARIOS = (
    *scenarios.SCENARIOS,
    *group_scenarios.SCENARIOS,
    *move_scenarios.SCENARIOS,
    *mirror_scenarios.SCENARIOS,
    *backup_scenarios.SCENARIOS,
    *upload_scenarios.SCENARIOS,
    *server_scenarios.SCENARIOS,
    *cache_scenarios.SCENARIOS,
    *host_scenarios.SCENARIOS,
    *drain_scenarios.SCENARIOS,
    *disk_scenarios.SCENARIOS,
    *reach_scenarios.SCENARIOS,
)


def case(scenario: Scenario, *more: str) -> Any:
    """A scenario, or one of its steps, as a parameter; disks need root."""
    marks = [pytest.mark.root] if scenario in disk_scenarios.SCENARIOS else []
    return pytest.param(
        scenario, *more, marks=marks, id="-".join([scenario.flow, str(SCENARIOS.index(scenario)), *more])
    )


CASES = [case(scenario) for scenario in SCENARIOS]
BROKEN = [scenario for scenario in SCENARIOS if scenario.everywhere]
POINTS = [case(scenario, step.name) for scenario in BROKEN for step in catalogue.FLOWS[scenario.flow].steps]


ACTS = [
    case(scenario, step.name)
    for scenario in BROKEN
    for step in catalogue.FLOWS[scenario.flow].steps
    if isinstance(step, engine.Act)
]


class Death(BaseException):
    """The conductor's process ends here: nothing that follows is run, no handler, no undo."""


@dataclasses.dataclass
class Bench:
    """A site whose flows run by hand."""

    site: Any
    hands: Hands
    drivers: list[Path]

    def probe(self, probe: engine.Probe) -> None:
        self.hands.probe = probe

    def resume(self) -> None:
        """Another conductor comes, after the leases of the dead one have ended."""
        self.hands.probe = lambda point, step: None
        with self.site.db.begin() as tx:
            flows.abandon(tx)
            tx.execute(flows.flows.update().values(not_before="2000"))
            for id in flows.ready(tx, 100):
                self.hands.wake(id)
        self.hands.run_all()

    def check(self) -> None:
        soundness.check(self.site)
        assert [soundness.litter(directory) for directory in self.drivers] == [[] for _ in self.drivers]


@pytest.fixture(scope="module")
def shared_db(tmp_path_factory: pytest.TempPathFactory) -> database.Database:
    return engines.empty(tmp_path_factory.mktemp("breakers"))


@pytest.fixture
def bench(tmp_path: Path, shared_db: database.Database, request: pytest.FixtureRequest) -> Iterator[Bench]:
    hands = Hands()
    params = getattr(request.node, "callspec", None)
    names = params.params["scenario"].hosts if params is not None else ("h1",)
    several = {name: memory.Memory() if name == names[0] else None for name in names} if len(names) > 1 else None
    db = engines.emptied(shared_db)
    others = {"elsewhere": {"h1"}} if several is None else {"exports": True}
    made = world.make(tmp_path, {"raw": "raw"}, memory.Memory(), several, db, **others)
    site = dataclasses.replace(made, waker=hands)
    hands.site, hands.catalogue = site, catalogue.FLOWS
    yield Bench(site, hands, [tmp_path / name / "raw" if several else tmp_path / "raw" for name in names])
    site.db.close()
    disk_scenarios.detach(tmp_path)


def at(where: str, step: str, act: Callable[[], None], times: int = 10**9) -> engine.Probe:
    """A probe that acts at one point of one step, for the first `times`."""
    left = [times]

    def probe(point: str, name: str) -> None:
        if (point, name) == (where, step) and left[0] > 0:
            left[0] -= 1
            act()

    return probe


def fail() -> None:
    raise errors.BrickError("broken on purpose")


def be_silent() -> None:
    raise errors.Unreachable("silent on purpose")


def die() -> None:
    raise Death


def go(bench: Bench, scenario: Scenario, facts: dict[str, Any]) -> None:
    """Make the request and run what it queues, until it is over or its conductor dies."""
    try:
        scenario.start(bench.site, facts)
        bench.hands.run_all()
    except Death:
        pass


@pytest.mark.parametrize("scenario", CASES)
def test_unbroken_flow_is_done(bench: Bench, scenario: Scenario) -> None:
    facts = scenario.prepare(bench.site)
    go(bench, scenario, facts)
    scenario.done(bench.site, facts)
    bench.check()


@pytest.mark.parametrize("where", ["before-do", "after-do"])
@pytest.mark.parametrize(("scenario", "step"), POINTS)
def test_failing_step_leaves_nothing(bench: Bench, scenario: Scenario, step: str, where: str) -> None:
    facts = scenario.prepare(bench.site)
    bench.probe(at(where, step, fail))
    go(bench, scenario, facts)
    bench.probe(lambda point, name: None)
    scenario.failed(bench.site, facts)
    bench.check()


@pytest.mark.parametrize("where", ["before-do", "after-do"])
@pytest.mark.parametrize(("scenario", "step"), POINTS)
def test_death_at_a_step_is_resumed(bench: Bench, scenario: Scenario, step: str, where: str) -> None:
    facts = scenario.prepare(bench.site)
    bench.probe(at(where, step, die))
    go(bench, scenario, facts)
    soundness.check(bench.site, settled=False)
    bench.resume()
    scenario.done(bench.site, facts)
    bench.check()


@pytest.mark.parametrize(("scenario", "step"), ACTS)
def test_a_host_that_does_not_answer_is_waited_for(bench: Bench, scenario: Scenario, step: str) -> None:
    """Nobody knows what its node has done: the step is neither failed nor undone, and goes on when it answers."""
    facts = scenario.prepare(bench.site)
    bench.probe(at("after-do", step, be_silent))
    with contextlib.suppress(errors.BrickyardError):  # of a request that waits for its flow
        go(bench, scenario, facts)
    waiting = [row.error for row in soundness.rows(bench.site, schema.flows) if row.status == "running"]
    assert set(waiting) == {"silent on purpose"}
    soundness.check(bench.site, settled=False)
    bench.resume()
    scenario.done(bench.site, facts)
    bench.check()


@pytest.mark.parametrize(("scenario", "step"), ACTS)
def test_a_flow_whose_host_is_lost_ends(bench: Bench, scenario: Scenario, step: str) -> None:
    """Whatever it asks from there on is refused, and what it cannot undo is left: it waits for nobody."""
    facts = scenario.prepare(bench.site)

    def lose() -> None:
        with bench.site.db.begin() as tx:
            hosts.lose_host(tx, hosts.list_hosts(tx)[0].id)
        raise errors.HostLost("lost on purpose")

    bench.probe(at("after-do", step, lose, times=1))
    with contextlib.suppress(errors.BrickyardError):  # of a request that waits for its flow
        go(bench, scenario, facts)
    for _ in range(3):  # what waits for its turn, or was queued by what ended
        bench.resume()
    assert not [row.name for row in soundness.rows(bench.site, schema.flows) if row.status in flows.OPEN]
    soundness.check(bench.site, settled=False)
    for table in (schema.volumes, schema.snapshots, schema.instances):
        assert not [row for row in soundness.rows(bench.site, table) if row.status in soundness.BUSY]


@pytest.mark.parametrize("where", ["before-undo", "after-undo"])
@pytest.mark.parametrize("how", [die, fail], ids=["die", "fail"])
@pytest.mark.parametrize(("scenario", "step"), POINTS)
def test_unwinding_is_resumed(bench: Bench, scenario: Scenario, step: str, where: str, how: Callable[[], None]) -> None:
    """The last step's reply is lost, and then each undo dies or fails once."""
    facts = scenario.prepare(bench.site)
    last = catalogue.FLOWS[scenario.flow].steps[-1].name
    broken, broken_undo = at("after-do", last, fail), at(where, step, how, times=1)

    def probe(point: str, name: str) -> None:
        broken(point, name)
        broken_undo(point, name)

    bench.probe(probe)
    go(bench, scenario, facts)
    soundness.check(bench.site, settled=False)
    keep_failing(bench, last)
    scenario.failed(bench.site, facts)
    bench.check()


def keep_failing(bench: Bench, last: str) -> None:
    """Resume, while the last step goes on failing: attempts that remain fail as well."""
    resume = bench.resume
    original = bench.hands.run

    def run(id: str) -> str | None:
        bench.hands.probe = at("after-do", last, fail)
        return original(id)

    bench.hands.run = run  # type: ignore[method-assign]
    resume()
    bench.hands.run = original  # type: ignore[method-assign]
    bench.hands.probe = lambda point, name: None


def twice(step: engine.Step) -> engine.Step:
    if isinstance(step, engine.Commit):
        return step

    def do(run: engine.Run) -> engine.Data:
        step.do(run)
        return step.do(run)

    def undo(run: engine.Run) -> None:
        step.undo(run)
        step.undo(run)

    return dataclasses.replace(step, do=do, undo=undo)


@pytest.mark.parametrize("outcome", ["done", "failed"])
@pytest.mark.parametrize("scenario", CASES)
def test_each_step_and_undo_may_run_twice(bench: Bench, scenario: Scenario, outcome: str) -> None:
    facts = scenario.prepare(bench.site)
    flow = catalogue.FLOWS[scenario.flow]
    doubled = dataclasses.replace(flow, steps=tuple(twice(step) for step in flow.steps))
    bench.hands.catalogue = {**catalogue.FLOWS, flow.name: doubled}
    if outcome == "failed":
        bench.probe(at("after-do", flow.steps[-1].name, fail))
    go(bench, scenario, facts)
    bench.probe(lambda point, name: None)
    bench.hands.catalogue = catalogue.FLOWS
    (scenario.done if outcome == "done" else scenario.failed)(bench.site, facts)
    bench.check()


def test_every_flow_has_a_scenario() -> None:
    assert {scenario.flow for scenario in BROKEN} == set(catalogue.FLOWS)


def test_failed_boot_leaves_the_picture_it_found(bench: Bench) -> None:
    facts = scenarios.with_flavor(bench.site)
    before = soundness.picture(bench.site)
    bench.probe(at("before-do", "boot", fail))
    go(
        bench,
        Scenario("boot_instance", scenarios.with_flavor, scenarios.boot, scenarios.booted, scenarios.not_booted),
        facts,
    )
    after = soundness.picture(bench.site)
    assert after.pop("instances") != before.pop("instances")
    assert after == before
    wiped = [row.name for row in soundness.rows(bench.site, schema.receipts)]
    assert len(wiped) == 3
    assert {name.partition("-")[0] for name in wiped} == {"root", "volume"}
