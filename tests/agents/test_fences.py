"""A conductor that was away while its flow was taken over: what it still asks for is not done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import rabbit
from tests.agents.rig import until
from tests.agents.test_calls import Asked, Bench, label

from brickyard.core import errors, fence
from brickyard.core.bricks import Did
from brickyard.core.fence import Claim
from brickyard.nodes import agent, fences


@pytest.fixture
def bench(tmp_path: Path, broker: rabbit.Rabbit) -> Iterator[Bench]:
    made = Bench(tmp_path, broker)
    made.agent.fences = fences.Fences(tmp_path / "claims")
    made.node.guests()
    made.gate.log.clear()
    yield made
    made.close()


def test_what_an_earlier_claim_asks_for_is_refused(bench: Bench) -> None:
    mine = label()
    with fence.of("f", 1):
        assert bench.node.create_brick("m", mine, 10) is Did.CHANGED
    with fence.of("f", 2):
        assert bench.node.delete_brick("m", mine.name) is Did.CHANGED
    with fence.of("f", 1), pytest.raises(fence.Stop, match="of claim 1 of flow f, which is at claim 2"):
        bench.node.create_brick("m", mine, 10)
    assert bench.node.find_brick("m", mine.name) is None
    with fence.of("g", 1):
        assert bench.node.create_brick("m", mine, 10) is Did.CHANGED
    assert bench.node.delete_brick("m", mine.name) is Did.CHANGED  # of no flow


def test_an_agent_that_starts_again_still_knows(bench: Bench, tmp_path: Path) -> None:
    mine = label()
    with fence.of("f", 2):
        bench.node.delete_brick("m", mine.name)
    bench.agent.stop()
    bench.agent = agent.Agent(
        bench.gate,
        bench.host,
        bench.broker,
        lambda: None,
        fences.Fences(tmp_path / "claims"),  # type: ignore[arg-type]
    )
    bench.agent.start()
    with fence.of("f", 1), pytest.raises(fence.Stop):
        bench.node.create_brick("m", mine, 10)
    assert bench.node.find_brick("m", mine.name) is None


def test_what_stands_in_line_while_its_flow_is_taken_over_is_not_done(bench: Bench) -> None:
    bench.gate.open.clear()
    mine = label()

    def under(epoch: int, verb: str, *args: object) -> object:
        with fence.of("f", epoch):
            return getattr(bench.node, verb)("m", *args)

    first = Asked(under, 1, "create_brick", mine, 10)
    assert bench.gate.entered.acquire(timeout=60)
    late = Asked(under, 1, "grow_brick", mine.name, 20)
    until(lambda: len(bench.agent._lines.get(("m", mine.name), ())) == 1, "the old owner's next call stands in line")
    undone = Asked(under, 2, "delete_brick", mine.name)
    until(lambda: len(bench.agent._lines.get(("m", mine.name), ())) == 2, "the new owner's stands behind it")
    bench.gate.open.set()
    assert first.result() is Did.CHANGED
    assert isinstance(late.result(), fence.Stop)
    assert undone.result() is Did.CHANGED and "grow_brick" not in bench.gate.log


def test_claims_are_remembered_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fences, "KEPT_MAX", 3)
    file = tmp_path / "claims"
    fences.Fences(file).admit(Claim("first", 1))
    assert not file.exists(), "nothing is older than a first claim"
    known = fences.Fences(file)
    for epoch in range(2, 12):
        known.admit(Claim("f", epoch))
    assert len(file.read_text().splitlines()) <= 2 * fences.KEPT_MAX
    for flow in ("a", "b"):
        known.admit(Claim(flow, 2))
    with file.open("a") as torn:
        torn.write("f 4")  # it died in the middle of a line: what the line said was never served
    again = fences.Fences(file)
    again.admit(Claim("c", 7))
    for flow, old in (("b", 1), ("c", 6)):
        with pytest.raises(errors.Superseded):
            fences.Fences(file).check(Claim(flow, old))
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_used_keeps_nobody_from_working(tmp_path: Path) -> None:
    (tmp_path / "claims").mkdir()
    known = fences.Fences(tmp_path / "claims")
    known.admit(Claim("f", 3))
    with pytest.raises(errors.Superseded):
        known.admit(Claim("f", 2))
