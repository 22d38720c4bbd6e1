"""How far steps are, from the node that tells it to the row where it is read: cheap, late at most, never in the way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests import world

from brickyard.core import errors
from brickyard.db import flows
from brickyard.flows import engine
from brickyard.flows.engine import Act, Flow, Run
from brickyard.hypervisor import memory

MANY = 20_000


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Any]:
    made = world.make(tmp_path, {"raw": "raw"}, memory.Memory())
    yield made
    made.db.close()


def row(site: Any) -> Any:
    with site.db.read() as tx:
        return flows.find(tx, "f1")


def run(site: Any, do: Any, undo: Any = engine.nothing, **more: Any) -> tuple[engine.Engine, str | None]:
    """Run a flow of one step, of the conductor `me`."""
    flow = Flow("copy", (Act("copying", do=do, undo=undo),), failed=lambda run, tx, error: None, **more)
    with site.db.begin() as tx:
        flows.insert(tx, id="f1", name="copy", params={}, project_id="p", resource_id="r", request_id=None)
    made = engine.Engine(site.db, site.world, {"copy": flow}, "me")
    boards.append(made.board)
    return made, made.run("f1")


boards: list[Any] = []


@pytest.fixture
def writes(site: Any) -> list[str]:
    """Every UPDATE of a flow from here on."""
    found: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.startswith("UPDATE flows"):
            found.append(statement)

    sa.event.listen(site.db.engine, "before_cursor_execute", note)
    return found


def test_what_is_told_is_written_when_the_conductor_looks_and_not_before(site: Any, writes: list[str]) -> None:
    def copy(run: Run) -> None:
        tell = run.progress("volume-1")
        before = len(writes)
        for number in range(MANY):
            tell(number, MANY)
        assert len(writes) == before
        boards[-1].write(site.db, "me")
        boards[-1].write(site.db, "me")
        assert len(writes) == before + 1
        assert row(site).progress == {
            "step": "copying", "what": "volume-1", "done_bytes": MANY - 1, "total_bytes": MANY
        }  # fmt: skip
        assert row(site).status == "running"

    assert run(site, copy)[1] == "done"
    assert row(site).progress is None


def test_a_step_that_tells_nothing_writes_nothing(site: Any, writes: list[str]) -> None:
    def nothing(run: Run) -> None:
        before = len(writes)
        boards[-1].write(site.db, "me")
        assert len(writes) == before

    run(site, nothing)


def test_what_comes_after_the_end_of_its_step_is_not_heard(site: Any) -> None:
    kept: list[Any] = []
    made, _ = run(site, lambda run: kept.append(run.progress("volume-1")))
    kept[0](1, 2)
    made.board.write(site.db, "me")
    assert row(site).progress is None


def test_a_flow_that_another_conductor_has_taken_is_not_written(site: Any) -> None:
    def lost(run: Run) -> None:
        run.progress("volume-1")(1, 2)
        with site.db.begin() as tx:
            flows.abandon(tx)
            flows.claim(tx, "f1", "another", 60)
        boards[-1].write(site.db, "me")
        assert row(site).progress is None

    assert run(site, lost)[1] is None
    assert row(site).owner == "another"


def test_an_undo_tells_as_well_and_only_forward_does_the_resource_show_it(site: Any) -> None:
    shown: list[int] = []

    def fail(run: Run) -> None:
        run.progress("volume-1")(1, 4)
        boards[-1].write(site.db, "me")
        raise errors.BrickError("broken on purpose")

    def undo(run: Run) -> None:
        assert row(site).progress is None
        run.progress("volume-1")(3, 4)
        boards[-1].write(site.db, "me")
        assert (row(site).status, row(site).progress["done_bytes"]) == ("unwinding", 3)

    assert run(site, fail, undo, progressed=lambda run, tx, percent: shown.append(percent))[1] == "failed"
    assert row(site).progress is None
    assert shown == [25]


class Slow:
    """The database, whose next transaction takes its time to begin."""

    def __init__(self, site: Any) -> None:
        self.site, self.asked, self.begins = site, threading.Event(), threading.Event()

    def begin(self) -> Any:
        self.asked.set()
        self.begins.wait(60)
        return self.site.db.begin()


def test_a_write_that_is_late_does_not_come_after_the_end_of_its_step(site: Any) -> None:
    slow, shown = Slow(site), []
    writer = threading.Thread(target=lambda: boards[-1].write(slow, "me"))

    def copy(run: Run) -> None:
        run.progress("volume-1")(1, 4)
        writer.start()
        assert slow.asked.wait(60)
        threading.Timer(0.3, slow.begins.set).start()

    _, status = run(site, copy, progressed=lambda run, tx, percent: shown.append((percent, run.step)))
    writer.join()
    assert status == "done"
    assert row(site).progress is None
    assert shown == [(25, "copying")]


@pytest.mark.parametrize(("told", "kept"), [((-1, 8), (0, 8)), ((9, 8), (8, 8)), ((0, 0), (0, 0)), ((5, -1), (0, 0))])
def test_figures_that_cannot_be_are_put_right(site: Any, told: tuple[int, int], kept: tuple[int, int]) -> None:
    def odd(run: Run) -> None:
        run.progress("volume-1")(*told)
        boards[-1].write(site.db, "me")
        found = row(site).progress
        assert (found["done_bytes"], found["total_bytes"]) == kept

    assert run(site, odd)[1] == "done"
