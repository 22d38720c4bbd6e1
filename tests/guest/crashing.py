"""Power cuts, made of a log of writes: record verbs on a disk, and look at the disk as it was after each moment.

Four disks are used: one under the pool, one for the log, one on which the log is replayed, and one that takes what is
changed on top of that, so that each state is looked at and forgotten. A state is brought up as after a boot: whatever
was active is not, and what lies in /run is gone.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from brickyard.brick.guard import Guard
from brickyard.brick.lvm import queue
from brickyard.core import clock, errors
from brickyard.core.bricks import Did, Kind, Label

from .write_log import Crash, Entry, Fingerprint, Log, crashes

MIB = 1024 * 1024
SIZE, LARGER = 4 * MIB, 8 * MIB
# So many states of each story, each time others; "all" takes all, and BRICKYARD_SEED repeats a run.
STATES = os.environ.get("BRICKYARD_STATES", "2")
PART, PARTS = map(int, os.environ.get("BRICKYARD_PART", "1/1").split("/"))  # of them: guests can share a story
SEED = os.environ.get("BRICKYARD_SEED") or uuid.uuid4().hex[:8]
SAMPLES = int(os.environ.get("BRICKYARD_SAMPLES", "3"))  # of each set of writes that was in the cache
RECORDED, CRASHED = "brickyard-recorded", "brickyard-crashed"


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


class Storage(Protocol):
    """A pool on one disk."""

    wipes: bool  # what was deleted is nowhere on the disk

    def make(self, disk: str) -> None: ...

    def up(self, disk: str) -> Guard:
        """As after a boot."""

    def down(self, disk: str) -> None:
        """Nothing of the pool is active or mounted; also where `up` failed half way."""

    def left(self, disk: str) -> list[str]:
        """What is still in the pool when every brick is deleted; called before `down`."""

    def is_ordered(self, entry: Entry) -> bool:
        """Writes that the program above the driver makes one after the other and never flushes between: they reach
        the disk in their order, or whoever wrote them is lost without us."""


# the world -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Brick:
    """What is promised of a brick: the first MiB is `byte`, the rest zeros."""

    label: Label
    size_bytes: int
    byte: int

    def is_held_by(self, content: bytes) -> bool:
        head = bytes([self.byte]) * MIB
        return content[:MIB] == head and content.count(0, MIB) == len(content) - MIB


World = Mapping[str, Brick]


@dataclass(frozen=True)
class Step:
    """A verb, and the brick that it is about as it was before and is afterwards."""

    verb: str
    act: Callable[[Guard], Did]
    before: Brick | None
    after: Brick | None
    prepare: Callable[[Guard], object] = lambda driver: None
    repeated: Did = Did.ALREADY

    @property
    def subject(self) -> Label:
        brick = self.before or self.after
        assert brick is not None
        return brick.label

    def world(self, world: World) -> World:
        others = {name: brick for name, brick in world.items() if name != self.subject.name}
        return others | ({self.subject.name: self.after} if self.after else {})


def volume() -> Label:
    return Label(Kind.VOLUME, str(uuid.uuid4()), "demo")


def snapshot_of(label: Label) -> Label:
    return Label(Kind.SNAPSHOT, str(uuid.uuid4()), label.project, parent=label.id)


def fill(driver: Guard, name: str, byte: int) -> None:
    """A guest writes the first MiB and flushes."""
    connection = driver.open(name)
    if connection.format == "raw":
        with open(connection.path, "r+b") as file:
            file.write(bytes([byte]) * MIB)
            file.flush()
            os.fsync(file.fileno())
    else:
        run("qemu-io", "-f", connection.format, "-c", f"write -q -P {byte} 0 {MIB}", "-c", "flush", connection.path)
    driver.close(name)


def content(driver: Guard, name: str) -> bytes:
    connection = driver.open(name)
    try:
        if connection.format == "raw":
            return Path(connection.path).read_bytes()
        copy = Path("/tmp", f"{name}.content")
        run("qemu-img", "convert", "-f", connection.format, "-O", "raw", connection.path, str(copy))
        try:
            return copy.read_bytes()
        finally:
            copy.unlink()
    finally:
        driver.close(name)


def story() -> tuple[Callable[[Guard], object], dict[str, Brick], list[Step]]:
    """What to make first, the world that this gives, and then one step after the other."""
    source, empty, copy = volume(), volume(), volume()
    old, kept = snapshot_of(source), snapshot_of(source)

    def begin(driver: Guard) -> None:
        driver.create(source, SIZE)
        fill(driver, source.name, 1)
        driver.snapshot(source.name, old)
        fill(driver, source.name, 2)

    world = {source.name: Brick(source, SIZE, 2), old.name: Brick(old, SIZE, 1)}
    steps = [
        Step("create", lambda d: d.create(empty, SIZE), None, Brick(empty, SIZE, 0)),
        Step("snapshot", lambda d: d.snapshot(source.name, kept), None, Brick(kept, SIZE, 2)),
        Step("grow", lambda d: d.grow(source.name, LARGER), world[source.name], Brick(source, LARGER, 2)),
        Step("clone", lambda d: d.clone(old.name, copy, LARGER), None, Brick(copy, LARGER, 1)),
        Step(
            "revert",
            lambda d: d.revert(source.name, kept.name),
            Brick(source, LARGER, 3),
            Brick(source, LARGER, 2),
            prepare=lambda d: fill(d, source.name, 3),
            repeated=Did.CHANGED,
        ),
        Step("delete", lambda d: d.delete(old.name), world[old.name], None),
    ]
    return begin, world, steps


# recording -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def mapped(name: str, table: str) -> Iterator[str]:
    run("dmsetup", "create", name, "--table", table)
    try:
        yield f"/dev/mapper/{name}"
    finally:
        run("udevadm", "settle")
        run("dmsetup", "remove", "--retry", name)


def flush(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def record(storage: Storage, disks: Sequence[str], size_bytes: int, steps: Sequence[Step], begin: Callable[[Guard], object]) -> None:  # fmt: skip # noqa: E501
    """Make a pool and take the steps, with a mark before and after each."""
    run("modprobe", "dm-log-writes")
    forget_boot()
    with mapped(RECORDED, f"0 {size_bytes // 512} log-writes {disks[0]} {disks[1]}") as disk:
        storage.make(disk)
        try:
            driver = storage.up(disk)
            begin(driver)
            for step in steps:
                step.prepare(driver)
                flush(disk)
                run("dmsetup", "message", RECORDED, "0", "mark", f"before-{step.verb}")
                assert step.act(driver) is Did.CHANGED
                run("dmsetup", "message", RECORDED, "0", "mark", f"after-{step.verb}")
                flush(disk)
        finally:
            storage.down(disk)


def forget_boot() -> None:
    shutil.rmtree(queue.RUN, ignore_errors=True)


# replaying -------------------------------------------------------------------------------------------------------


@dataclass
class Replay:
    """The disk at any moment of the log; only forward, but for what is forgotten."""

    log: Log
    disks: Sequence[str]
    size_bytes: int
    done: int = 0
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1_000_000)))

    def forward(self, number: int) -> None:
        assert number >= self.done
        with open(self.disks[2], "r+b", buffering=0) as base:
            for entry in self.log.entries[self.done : number]:
                self.log.replay(entry, base.fileno())
            os.fsync(base.fileno())
        self.done = number

    @contextlib.contextmanager
    def crashed(self, crash: Crash) -> Iterator[str]:
        """The path of the disk after a power cut, under a name that nothing has seen."""
        self.forward(crash.safe)
        table = f"0 {self.size_bytes // 512} snapshot {self.disks[2]} {self.disks[3]} N 8"
        with mapped(f"{CRASHED}-{next(self.numbers)}", table) as path:
            with open(path, "r+b", buffering=0) as disk:
                for number in sorted((*crash.kept, *crash.torn)):
                    if number in crash.torn:
                        self.log.replay_torn(self.log.entries[number], disk.fileno(), crash)
                    else:
                        self.log.replay(self.log.entries[number], disk.fileno())
                os.fsync(disk.fileno())
            yield path


@dataclass(frozen=True)
class State:
    """One to look at: which step was being taken, and how the world was before it."""

    crash: Crash
    step: Step
    world: World
    acknowledged: bool  # the verb had answered before the power went


def run_states(storage: Storage, disks: Sequence[str], size_bytes: int) -> int:
    """Record the story, and look at states of its steps; the number of states."""
    begin, world, steps = story()
    record(storage, disks, size_bytes, steps, begin)
    chance, began = random.Random(SEED), clock.monotonic()
    with contextlib.closing(Log(disks[1])) as log:
        found = all_states(storage, log, world, steps, chance)
        every = in_order([state for states in found for state in states])
        chosen = different(log, every) if STATES == "all" else _chosen(found, chance)
        print(f"{len(every)} states, {len(chosen)} of them to look at (seed {SEED})", flush=True)
        chosen = chosen[len(chosen) * (PART - 1) // PARTS : len(chosen) * PART // PARTS]
        replay = Replay(log, disks, size_bytes)
        for number, state in enumerate(chosen, 1):
            print(f"{number} {state.step.verb}: {state.crash}", flush=True)
            with replay.crashed(state.crash) as disk:
                examine(storage, disk, state, chance)
    print(f"{len(chosen)} states in {clock.monotonic() - began:.0f} s", flush=True)
    return len(chosen)


def all_states(
    storage: Storage, log: Log, world: World, steps: Sequence[Step], chance: random.Random
) -> list[list[State]]:
    """The states of each step."""
    found = []
    for step in steps:
        first, last = log.marked(f"before-{step.verb}"), log.marked(f"after-{step.verb}")
        crashed = crashes(log.entries, first, last, chance, samples=SAMPLES, is_ordered=storage.is_ordered)
        found.append([State(crash, step, world, crash.safe >= last) for crash in crashed])
        world = step.world(world)
    return found


def _chosen(by_step: Sequence[Sequence[State]], chance: random.Random) -> list[State]:
    """Some of each step in turn; in the order of the log."""
    orders = [chance.sample(states, len(states)) for states in by_step]
    chance.shuffle(orders)
    deepest = max(len(order) for order in orders)
    found = [order[n] for n in range(deepest) for order in orders if n < len(order)]
    return in_order(found[: int(STATES)])


def different(log: Log, states: Sequence[State]) -> list[State]:
    """One of those in which the disk holds the same, and of these the one of which most is promised: zeros written over
    zeros, or a write that is not the last one to its place, make no state of their own."""
    fingerprint, found = Fingerprint(log), dict[tuple[str, int], State]()
    for state in states:
        key = state.step.verb, fingerprint.after(state.crash)
        other = found.get(key)
        if other is None or (other.acknowledged, not other.crash.sampled) < (state.acknowledged, not state.crash.sampled):  # fmt: skip # noqa: E501
            found[key] = state
    return in_order(list(found.values()))


def in_order(states: Sequence[State]) -> list[State]:
    """As the log can be replayed."""
    return sorted(states, key=lambda state: (state.crash.safe, state.crash.kept))


# looking ---------------------------------------------------------------------------------------------------------


def examine(storage: Storage, disk: str, state: State, chance: random.Random) -> None:
    """All promises on one state of the disk."""
    step, world = state.step, state.world
    forget_boot()
    try:
        driver = storage.up(disk)
        driver.check()
        others = {name: brick for name, brick in world.items() if name != step.subject.name}
        _check_list(driver, others, step, acknowledged=state.acknowledged)
        for name in chance.sample(sorted(others), 1):
            assert others[name].is_held_by(content(driver, name)), f"{name} has changed"
        if not state.crash.sampled or chance.random() < 0.5:  # or it is deleted as it is
            _check_repeat(driver, step, step.world(world))
        for name in sorted({*world, step.subject.name}):
            driver.delete(name)
        assert list(driver.list()) == []
        assert driver.leftovers() == {}
        assert storage.left(disk) == []
    finally:
        storage.down(disk)
    if storage.wipes:
        assert not leaks(disk)


def _check_list(driver: Guard, others: World, step: Step, *, acknowledged: bool) -> None:
    listed = {found.name: found for found in driver.list()}
    for found in listed.values():
        assert found.label is not None and found.label.name == found.name, f"{found} is not whole"
    subject = listed.pop(step.subject.name, None)
    assert set(listed) == set(others)
    for name, brick in others.items():
        assert listed[name].label == brick.label
        assert listed[name].size_bytes == brick.size_bytes
    possible = [brick for brick in ((step.after,) if acknowledged else (step.before, step.after)) if brick]
    if subject is None:
        assert step.after is None or (step.before is None and not acknowledged), "it is lost"
    elif subject.wiping:
        assert step.after is None
        try:
            driver.open(subject.name)
        except errors.NotFound:
            pass
        else:
            raise AssertionError(f"{subject} can be opened")
    else:
        assert subject.label == step.subject
        held = content(driver, subject.name)
        whole = [brick for brick in possible if brick.is_held_by(held)]
        assert whole, f"{subject} begins with {held[:8]!r} and is neither what it was nor what it becomes"
        assert len(held) in {brick.size_bytes for brick in possible}


def _check_repeat(driver: Guard, step: Step, world: World) -> None:
    step.act(driver)
    listed = {found.name: found for found in driver.list()}
    assert set(listed) == set(world)
    for name, brick in world.items():
        assert (listed[name].label, listed[name].size_bytes) == (brick.label, brick.size_bytes)
    if step.after is not None:
        assert step.after.is_held_by(content(driver, step.subject.name)), "the repeat has not brought it in order"
    assert step.act(driver) is step.repeated


def leaks(disk: str) -> list[str]:
    """Where on the disk there is still something that a guest wrote."""
    found = []
    with open(disk, "rb", buffering=0) as file:
        at = 0
        while piece := file.read(4 * MIB):
            found += [f"{byte} near {at}" for byte in (1, 2, 3) if bytes([byte]) * 4096 in piece]
            at += len(piece)
    return found
