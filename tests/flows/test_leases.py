"""Several conductors on one database: one that was away, and whose flows others have taken meanwhile."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from tests import world

from brickyard.core import clock, errors, fence
from brickyard.db import claims, flows, hosts, reservations
from brickyard.flows import conductor, engine
from brickyard.flows.engine import Act, Flow, Run

WAIT_S = 60


@pytest.fixture
def site(tmp_path: Path) -> Any:
    made = world.make(tmp_path, {"m": "memory"}, None)
    with made.db.begin() as tx:
        flows.insert(tx, id="f1", name="one", params={}, project_id="p", resource_id="r", request_id=None)
    yield made
    made.db.close()


def catalogue(*acts: Any) -> dict[str, Flow]:
    steps = [Act(f"step{n}", act, engine.nothing) for n, act in enumerate(acts)]
    return {"one": Flow("one", steps, failed=lambda run, tx, error: None)}


def row(site: Any) -> Any:
    with site.db.read() as tx:
        return flows.find(tx, "f1")


def lease_ends(site: Any) -> None:
    with site.db.begin() as tx:
        tx.execute(flows.flows.update().values(lease_until=clock.stamp(-1), not_before=clock.stamp(-1)))


def test_each_claim_has_an_epoch_of_its_own_and_calls_say_it(site: Any) -> None:
    seen: list[fence.Claim] = []

    def again(run: Run) -> None:
        seen.append(fence.now())
        if len(seen) < 3:
            raise errors.Unreachable("silent on purpose")

    made = engine.Engine(site.db, site.world, catalogue(again), "me")
    for _ in range(3):
        made.run("f1")
        lease_ends(site)
    assert seen == [fence.Claim("f1", n) for n in (1, 2, 3)] and row(site).status == "done"
    assert fence.now() is fence.NONE


@pytest.mark.parametrize("other", ["another", "me"])
def test_whoever_lost_his_flow_in_the_middle_writes_no_more(site: Any, other: str) -> None:
    """Also when it was lost to another thread of the same conductor."""
    ran: list[str] = []

    def lose(run: Run) -> None:
        ran.append(f"claim {run.epoch}")
        if len(ran) == 1:
            lease_ends(site)
            assert engine.Engine(site.db, site.world, steps, other).run("f1") == "done"

    steps = catalogue(lose, lambda run: ran.append(f"next of {run.epoch}"))
    assert engine.Engine(site.db, site.world, steps, "me").run("f1") is None
    assert ran == ["claim 1", "claim 2", "next of 2"]
    with site.db.read() as tx:
        assert [entry.event for entry in flows.log(tx, "f1")] == ["started", "done"] * 2


def test_a_refused_call_lets_go_of_a_flow_that_is_still_ours(site: Any) -> None:
    """The database was restored: hosts know later claims than it does, and it catches up."""

    def refuse(run: Run) -> None:
        if run.epoch < 3:
            raise fence.Stop("later on purpose")

    made = engine.Engine(site.db, site.world, catalogue(refuse), "me")
    for _ in range(2):
        assert made.run("f1") is None and row(site).owner is None
        lease_ends(site)
    assert made.run("f1") == "done"


def test_an_undo_that_is_refused_is_no_setback(site: Any) -> None:
    def fail(run: Run) -> None:
        raise errors.BrickError("broken on purpose")

    def refuse(run: Run) -> None:
        raise fence.Stop("later on purpose")

    made = engine.Engine(site.db, site.world, {"one": Flow("one", [Act("a", fail, refuse)], lambda *_: None)}, "me")
    assert made.run("f1") is None
    assert (row(site).status, row(site).setbacks, row(site).owner) == ("unwinding", 0, None)


def test_an_act_may_ask_whether_its_flow_was_taken_over(site: Any) -> None:
    def look(run: Run) -> None:
        run.check()
        lease_ends(site)
        with site.db.begin() as tx:
            assert flows.claim(tx, "f1", "another", 60)
        run.check()
        raise AssertionError("it goes on to the next host")

    assert engine.Engine(site.db, site.world, catalogue(look), "me").run("f1") is None
    assert (row(site).owner, row(site).status) == ("another", "running")


def test_a_conductor_takes_no_flow_that_a_thread_of_its_own_is_at(site: Any) -> None:
    entered, go_on = threading.Event(), threading.Event()
    runs: list[int] = []

    def long(run: Run) -> None:
        runs.append(run.epoch)
        entered.set()
        assert go_on.wait(WAIT_S)

    worker = conductor.Conductor(site.db, site.world, catalogue(long), threads=2, lease_s=60)
    worker.start()
    worker.wake("f1")
    assert entered.wait(WAIT_S)
    lease_ends(site)  # the process was suspended, and nobody else was there
    worker.wake("f1")
    worker._renew()
    assert row(site).lease_until > clock.stamp(30)
    go_on.set()
    assert worker.wait("f1", WAIT_S) == "done"
    worker.stop()
    assert runs == [1]


def test_a_claim_that_nobody_works_on_runs_out(site: Any) -> None:
    """The answer to a claim was lost with its connection: the conductor does not know that it has the flow."""
    worker = conductor.Conductor(site.db, site.world, catalogue(engine.nothing), lease_s=60)
    with site.db.begin() as tx:
        flows.claim(tx, "f1", worker.owner, 60)
    lease_ends(site)
    worker._renew()
    assert row(site).lease_until < clock.stamp()
    assert worker.engine.run("f1") == "done"


def test_what_two_give_back_is_given_back_once(site: Any) -> None:
    with site.db.read() as tx:
        pool = a_pool(tx)
    with site.db.begin() as tx:
        for brick in ("b1", "b2"):
            assert claims.claim(tx, pool_id=pool, brick_id=brick, gib=3)

    class Late:
        """The other conductor has given it back between our look and our delete."""

        def __init__(self, tx: Any) -> None:
            self.tx = tx

        def execute(self, statement: Any, *more: Any) -> Any:
            found = self.tx.execute(statement, *more)
            if statement.is_select:
                rows = found.all()
                claims.release(self.tx, "b1")
                return type("Found", (), {"all": lambda self: rows})()
            return found

    with site.db.begin() as tx:
        claims.release(Late(tx), "b1")  # type: ignore[arg-type]
        assert reservations.clear_expired(tx, renew_s=60) == 0
    assert next(p.claimed_gib for p in site.world.places.pools() if p.id == pool) == 3


def a_pool(tx: Any) -> str:
    return str(hosts.list_pools(tx)[0].id)
