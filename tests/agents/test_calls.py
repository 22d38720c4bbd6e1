"""Calls over a real broker, between an asker and an agent that the test holds in its hands."""

from __future__ import annotations

import dataclasses
import queue
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import rabbit, world
from tests.agents.rig import until

from brickyard.backups.copying import Task
from brickyard.backups.manifest import Where
from brickyard.core import errors
from brickyard.core.bricks import Did, Kind, Label
from brickyard.core.settings import Agents
from brickyard.hypervisor import memory
from brickyard.nodes import agent, layout, local, remote, verbs, wire
from brickyard.nodes import broker as door


class Gate:
    """The verbs of a node, of which `create_brick` waits until it may go on."""

    def __init__(self, node: local.LocalNode) -> None:
        self.node = node
        self.open, self.entered = threading.Event(), threading.Semaphore(0)
        self.figures: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
        self.log: list[str] = []
        self.open.set()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def verb(*args: Any, **named: Any) -> Any:
            self.log.append(name)
            if name == "create_brick":
                while not self.figures.empty():
                    named["progress"](*self.figures.get())
                self.entered.release()
                assert self.open.wait(60)
            return getattr(self.node, name)(*args, **named)

        return verb


class Bench:
    """An agent and an asker for a host of its own."""

    def __init__(self, directory: Path, server: rabbit.Rabbit, tls: bool = False) -> None:
        self.host, self.broker = f"h{uuid.uuid4().hex[:8]}", server.settings(tls=tls)
        self.local = world.node(self.host, directory, {"m": "memory"}, memory.Memory(), directory / "kept")
        self.gate = Gate(self.local)
        self.reports: list[tuple[str, verbs.Report | None]] = []
        self.asker = self.an_asker()
        self.agent = self.an_agent()

    def an_agent(self) -> agent.Agent:
        made = agent.Agent(self.gate, self.host, self.broker, lambda: None)  # type: ignore[arg-type]
        made.start()
        return made

    def an_asker(self, patience_s: int = 60) -> remote.Asker:
        made = remote.Asker(
            Agents(self.broker, patience_s),
            on_report=lambda host, report: self.reports.append((host, report)),
            on_alive=lambda host: self.reports.append((host, None)),
        )
        made.know(self.host)
        made.start()
        return made

    @property
    def node(self) -> verbs.Node:
        found = self.asker.node(self.host)
        assert found is not None
        return found

    def ask(self, ask: wire.Ask) -> None:
        self.asker._publisher.publish(layout.CALLS, self.host, wire.encode(ask))

    def listen(self, id: str) -> remote.Call:
        """What is said to a call with this id."""
        call = self.asker._calls[id] = remote.Call(self.host)
        return call

    def close(self) -> None:
        self.gate.open.set()
        self.asker.stop()
        self.agent.stop(5)


@pytest.fixture
def bench(tmp_path: Path, broker: rabbit.Rabbit) -> Iterator[Bench]:
    made = Bench(tmp_path, broker)
    made.node.guests()
    made.gate.log.clear()
    yield made
    made.close()


def label() -> Label:
    return Label(Kind.VOLUME, str(uuid.uuid4()), "p")


class Asked(threading.Thread):
    """A call in a thread of its own: `result` is what it returned or raised."""

    def __init__(self, call: Callable[..., Any], *args: Any) -> None:
        super().__init__(daemon=True)
        self.call, self.args = call, args
        self.outcome: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.outcome = self.call(*self.args)
        except BaseException as error:
            self.outcome = error

    def result(self) -> Any:
        self.join(60)
        assert not self.is_alive()
        return self.outcome


def last_word(call: remote.Call) -> wire.Word:
    """The next one that is not about work in progress."""
    while True:
        word = call.words.get(timeout=60)
        if word is not None and word.state != "working":
            return word


# what travels ----------------------------------------------------------------------------------------------------


def test_verbs_answer_as_they_do_at_home(bench: Bench) -> None:
    mine, copy = label(), label()
    snapshot = Label(Kind.SNAPSHOT, str(uuid.uuid4()), "p", parent=mine.id)
    guest, more = str(uuid.uuid4()), str(uuid.uuid4())
    disk = verbs.BrickDisk("m", mine.name, mine.id)
    kept = Where("volumes", str(uuid.uuid4()))
    for verb, *args in (
        ("report",),
        ("create_brick", "m", mine, 10),
        ("clone_brick", "m", mine.name, copy, 20),
        ("snapshot_brick", "m", mine.name, snapshot),
        ("revert_brick", "m", mine.name, snapshot.name),
        ("grow_brick", "m", mine.name, 30),
        ("open_brick", "m", mine.name),
        ("close_brick", "m", mine.name),
        ("find_brick", "m", mine.name),
        ("find_brick", "m", label().name),
        ("leftovers", "m"),
        ("tidy_brick", "m", mine.name),
        ("backup_brick", "m", mine.name, Task(kept, mine.id, "p", 30)),
        ("find_backup", kept),
        ("restore_brick", "m", mine.name, kept),
        ("delete_backup", kept),
        ("cancel_backup", kept.id),
        ("boot", verbs.Boot(guest, "n", 1, 64, (disk,), kernel="/k")),
        ("attach", guest, dataclasses.replace(disk, serial=more)),
        ("detach", guest, more),
        ("guests",),
        ("console", guest),
        ("destroy", guest),
        ("delete_brick", "m", copy.name),
        ("bricks", "m"),
    ):
        got = getattr(bench.node, verb)(*args)
        known = getattr(bench.local, verb)(*args)  # every verb may be repeated
        assert type(got) is type(known), verb
        if not isinstance(known, Did):
            assert got == known, verb
    found = bench.local.find_brick("m", mine.name)
    assert found is not None and found.size_bytes == 30 and found.label == mine


def test_progress_comes_along(bench: Bench) -> None:
    seen: list[tuple[int, int]] = []
    bench.gate.open.clear()
    bench.gate.figures.put((3, 10))
    asked = Asked(bench.node.create_brick, "m", label(), 10, lambda *figures: seen.append(figures))
    until(lambda: (3, 10) in seen, "the figures arrive")
    bench.gate.open.set()
    assert asked.result() is Did.CHANGED


def test_errors_travel_as_what_they_are(bench: Bench) -> None:
    with pytest.raises(errors.NotFound, match="is not in memory"):
        bench.node.open_brick("m", label().name)
    with pytest.raises(errors.Unavailable, match="has no backend nothing"):
        bench.node.bricks("nothing")
    one = label()
    bench.node.create_brick("m", one, 10)
    with pytest.raises(errors.BrickMismatch):
        bench.node.create_brick("m", one, 20)


@pytest.mark.parametrize(
    "error",
    [
        errors.DeviceInUse("it is in use", ("ext4", "mounted")),
        errors.NoValidHost("nowhere", [{"name": "h", "rule": "r", "message": "m"}]),
        errors.Invalid("wrong", field="size", allowed="1 to 3"),
        errors.Unreachable("silent"),
        errors.NoSpace("full", pool="p"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_keeps_its_facts(error: errors.BrickyardError) -> None:
    word = wire.decoded(wire.Word, wire.encode(wire.Word("1", "failed", fault=wire.fault(error))))
    assert word is not None
    again = wire.raised(word)
    assert type(again) is type(error) and vars(again) == vars(error)


def test_an_error_that_nobody_knows_is_an_error() -> None:
    tool = wire.raised(wire.Word("1", "failed", fault=wire.fault(errors.ToolFailed(["lvs"], 5, "no"))))
    assert type(tool) is errors.BrickError and "exit status 5" in tool.message
    for kind in ("Exception", "KeyboardInterrupt", "annotations", "revived", "NewerError"):
        assert type(wire.raised(wire.Word("1", "failed", fault=wire.Fault(kind, "m")))) is errors.BrickyardError
    assert type(wire.raised(wire.Word("1", "failed", fault=wire.fault(KeyError("x"))))) is errors.BrickyardError


# other releases --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (wire.Ask("1", "fly", ""), "does not know the verb fly: upgrade it"),
        (wire.Ask("2", "bricks", "", {"backend": "m", "deep": True}), "does not know deep of the verb bricks"),
        (wire.Ask("3", "bricks", "", {"backend": "m"}, protocol=9, oldest=8), "speaks protocol 1 to 1"),
        (wire.Ask("4", "bricks", "", {"backend": 5}), "backend of the verb bricks: Expected `str`, got `int`"),
        (wire.Ask("5", "bricks", ""), "The verb bricks needs backend"),
        (wire.Ask("6", "__init__", ""), "does not know the verb __init__"),
        (wire.Ask("7", "start", ""), "does not know the verb start"),
    ],
    ids=lambda part: part.verb if isinstance(part, wire.Ask) else "",
)
def test_what_is_not_understood_is_refused_in_words(bench: Bench, ask: wire.Ask, words: str) -> None:
    call = bench.listen(ask.id)
    ask.asker = bench.asker.id
    bench.ask(ask)
    word = last_word(call)
    assert word.state == "failed" and word.fault is not None and words in word.fault.message
    assert not bench.gate.log


def test_a_newer_side_that_says_more_is_understood(bench: Bench) -> None:
    mine = {"kind": "volume", "id": str(uuid.uuid4()), "project": "p", "colour": "blue"}
    values = {"backend": "m", "label": mine, "size_bytes": 7}
    call = bench.listen("1")
    bench.ask(wire.Ask("1", "create_brick", bench.asker.id, values, protocol=2))
    assert last_word(call).result == "changed"
    assert wire.decoded(wire.Word, b'{"id":"1","state":"done","mood":"good"}') == wire.Word("1", "done")
    found = wire.Word("1", "done", result={"path": "/x", "format": "raw", "size_bytes": 1, "speed": 9})
    assert wire.result(wire.VERBS["open_brick"], found, "h1").path == "/x"
    with pytest.raises(errors.Unavailable, match="upgrade this service"):
        wire.result(wire.VERBS["close_brick"], wire.Word("1", "done", result="perhaps"), "h1")


def test_what_has_its_default_is_not_sent() -> None:
    packed = wire.packed(wire.VERBS["claim_devices"], ("b", ["/dev/x"]), {"wipe": ()})
    assert packed == {"backend": "b", "paths": ["/dev/x"]}


def test_garbage_harms_nobody(bench: Bench) -> None:
    for body in (b"", b"{}", b"\xff\xfe", b'{"id":1,"verb":[]}', b"[" * 100000):
        bench.asker._publisher.publish(layout.CALLS, bench.host, body)
        bench.agent._publisher.publish(layout.says(bench.host), bench.asker.id, body)
        bench.agent._publisher.publish(layout.says(bench.host), layout.REPORT, body)
    assert bench.node.guests() == []


# twice, late, lost -----------------------------------------------------------------------------------------------


def test_a_call_that_comes_twice_is_done_once(bench: Bench) -> None:
    bench.gate.open.clear()
    values = wire.packed(wire.VERBS["create_brick"], ("m", label(), 10), {})
    ask = wire.Ask("twice", "create_brick", bench.asker.id, values)
    call = bench.listen(ask.id)
    for _ in range(3):
        bench.ask(ask)
    word = call.words.get(timeout=60)
    assert word is not None and word.state == "working"
    bench.gate.open.set()
    assert last_word(call).result == "changed"
    bench.ask(ask)  # its answer was lost
    assert last_word(call).result == "changed"
    assert bench.gate.log.count("create_brick") == 1


def test_a_report_that_waited_while_we_slept_does_not_count(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "AWAY_S", 1.5)
    asleep, wake = threading.Event(), threading.Event()

    def sleep(host: str) -> None:
        asleep.set()
        assert wake.wait(60)

    awake, bench.asker.on_alive = bench.asker.on_alive, sleep
    bench.agent.notify(None)
    assert asleep.wait(60)
    bench.asker.on_alive = awake
    stale = dataclasses.replace(bench.local.report(), vcpus=99)
    bench.agent.notify(stale)
    until(bench.asker._listener.was_away, "it has slept for long")
    wake.set()
    until(lambda: not bench.asker._listener.was_away(), "it has connected anew")
    fresh = dataclasses.replace(stale, vcpus=1)
    until(lambda: bench.agent.notify(fresh) or (bench.host, fresh) in bench.reports, "what is said now counts")
    assert (bench.host, stale) not in bench.reports


def test_an_answer_that_comes_too_late_harms_nobody(bench: Bench) -> None:
    bench.gate.open.clear()
    mine, other = label(), bench.an_asker()
    node = other.node(bench.host)
    assert node is not None
    asked = Asked(node.create_brick, "m", mine, 10)
    assert bench.gate.entered.acquire(timeout=60)
    other.stop()  # it gives up
    assert isinstance(asked.result(), errors.Unreachable)
    undone = Asked(bench.node.delete_brick, "m", mine.name)  # what undoes it comes before it is done, and waits
    until(lambda: len(bench.agent._lines.get(("m", mine.name), ())) == 1, "the delete stands in line")
    assert bench.node.find_brick("m", mine.name) is None and "delete_brick" not in bench.gate.log
    bench.gate.open.set()
    assert undone.result() is Did.CHANGED
    assert bench.node.find_brick("m", mine.name) is None


def test_a_node_that_says_nothing_is_unreachable(bench: Bench) -> None:
    bench.agent.stop()
    bench.asker.stop()
    bench.asker = bench.an_asker(patience_s=1)
    with pytest.raises(errors.Unreachable, match="has not answered for"):
        bench.node.guests()
    with pytest.raises(errors.Unreachable):  # at once
        bench.node.guests()
    bench.agent = bench.an_agent()

    def answers() -> bool:
        bench.agent.notify(None)  # it says that it is there, and from then on it is asked
        try:
            return bench.node.guests() == []
        except errors.Unreachable:
            return False

    until(answers, "the node answers again")


def test_a_call_outlives_a_broker_that_starts_anew(bench: Bench, broker: rabbit.Rabbit) -> None:
    bench.gate.open.clear()
    asked = Asked(bench.node.create_brick, "m", label(), 10)
    assert bench.gate.entered.acquire(timeout=60)
    broker.restart()
    bench.gate.open.set()
    assert asked.result() is Did.CHANGED
    assert bench.gate.log.count("create_brick") == 1


def test_a_word_counts_only_from_the_host_that_was_asked(bench: Bench, broker: rabbit.Rabbit) -> None:
    bench.gate.open.clear()
    other = f"{bench.host}-other"
    bench.asker.know(other)
    asked = Asked(bench.node.create_brick, "m", label(), 10)
    assert bench.gate.entered.acquire(timeout=60)
    [id] = bench.asker._calls
    bound = f"/exchanges/%2F/{layout.says(other)}/bindings/source"
    with broker.management() as http:
        until(lambda: len(http.get(bound).json()) >= 4, "what the other host says goes where it should")
    forged = wire.Word(id, "failed", fault=wire.Fault("NoSpace", "forged"))
    publisher = door.Publisher(bench.broker, "test")

    def say(key: str, message: Any) -> None:
        publisher.publish(layout.says(other), key, wire.encode(message))

    say(bench.asker.id, forged)
    say(layout.REPORT, wire.Notice(bench.local.report()))
    until(lambda: say(layout.ALIVE, wire.Notice()) or (other, None) in bench.reports, "the other host is heard")
    publisher.close()
    bench.gate.open.set()
    assert asked.result() is Did.CHANGED
    assert not [report for _, report in bench.reports if report is not None]
