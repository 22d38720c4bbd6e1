"""Any sequence of verbs gives the same answers, and the same content, on disk as in memory."""

from __future__ import annotations

import tempfile
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from brickyard.brick import qcow2, raw
from brickyard.brick.guard import Guard
from brickyard.brick.memory import MemoryDriver
from brickyard.core import errors

from .content import MIB, fill, holds, snapshot_of, volume

VOLUMES = [volume(), volume(), volume()]
SNAPSHOTS = [snapshot_of(label) for label in VOLUMES]
VOLUME, SNAPSHOT = st.sampled_from(VOLUMES), st.sampled_from(SNAPSHOTS)
ANY = st.sampled_from(VOLUMES + SNAPSHOTS)
SIZE = st.sampled_from([MIB, 2 * MIB, 3 * MIB])


def outcome(verb: Any, *arguments: Any) -> Any:
    try:
        return verb(*arguments)
    except errors.BrickyardError as error:
        return type(error)


class Twins(RuleBasedStateMachine):
    kind: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.pool = tempfile.TemporaryDirectory()
        self.real = Guard(self.kind.driver(self.pool.name), "real")
        self.model = Guard(MemoryDriver(), "model")

    def teardown(self) -> None:
        self.pool.cleanup()

    def both(self, verb: str, *arguments: Any) -> None:
        real, model = (outcome(getattr(driver, verb), *arguments) for driver in (self.real, self.model))
        assert real == model, (verb, arguments)

    @rule(label=VOLUME, size=SIZE)
    def create(self, label: Any, size: int) -> None:
        self.both("create", label, size)

    @rule(label=ANY)
    def delete(self, label: Any) -> None:
        self.both("delete", label.name)

    @rule(label=ANY, size=SIZE)
    def grow(self, label: Any, size: int) -> None:
        self.both("grow", label.name, size)

    @rule(number=st.integers(0, 2))
    def snapshot(self, number: int) -> None:
        self.both("snapshot", VOLUMES[number].name, SNAPSHOTS[number])

    @rule(source=ANY, label=VOLUME, size=SIZE)
    def clone(self, source: Any, label: Any, size: int) -> None:
        self.both("clone", source.name, label, size)

    @rule(label=VOLUME, snapshot=SNAPSHOT)
    def revert(self, label: Any, snapshot: Any) -> None:
        self.both("revert", label.name, snapshot.name)

    @rule(label=ANY, byte=st.integers(0, 255))
    def write(self, label: Any, byte: int) -> None:
        if self.real.find(label.name):
            for driver in (self.real, self.model):
                fill(driver, label.name, byte, 0, 4096)

    @invariant()
    def the_same_is_there(self) -> None:
        real, model = ([(f.name, f.size_bytes, f.label) for f in d.list()] for d in (self.real, self.model))
        assert real == model
        assert self.real.usage().provisioned_bytes == self.model.usage().provisioned_bytes

    @rule(label=ANY)
    def the_content_is_the_same(self, label: Any) -> None:
        if self.real.find(label.name):
            byte = self.model.driver.read(label.name, 0, 4096)[0]  # type: ignore[attr-defined]
            assert holds(self.real, label.name, byte, 0, 4096)


class RawTwins(Twins):
    kind = raw


class Qcow2Twins(Twins):
    kind = qcow2


TestRaw = RawTwins.TestCase
TestQcow2 = Qcow2Twins.TestCase
TestRaw.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestQcow2.settings = settings(
    max_examples=8, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
