"""The agent's side of the verbs: takes calls from the broker, has the node do them, and says how it goes.

A call that is asked again while it runs is joined, and one that is over is answered as it was; both are remembered
here, and only here. An agent that died has forgotten them and does them again, which every verb allows. Verbs that
change the same brick or guest run one after the other, in the order in which they were asked: a call that nobody waits
for any more may still be at work when what undoes it comes. A call is taken off the queue when it has come, not when it
is done: work may take hours, and it is the asker who makes sure that it is done.
"""

from __future__ import annotations

import collections
import logging
import queue
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from brickyard.core import clock, errors, fence, spans, trace
from brickyard.core.bricks import Label
from brickyard.core.settings import Broker
from brickyard.nodes import broker, fences, layout, verbs, wire

LOG = logging.getLogger(__name__)
PREFETCH = 64
THREADS, THREADS_LONG = 8, 24  # a wipe of hours must not keep anybody from looking
OPEN_MAX = 512  # calls that wait or run; what is asked beyond them is not heard, and asked again
KEPT_MAX, KEPT_S = 512, 600.0  # answers that are given again
LISTEN_AGAIN_S = 20.0  # to the queue of its calls, when nothing has come from it
SAY_S = 2.0  # how often a call that takes long says that it is alive
DEVICES = frozenset({
    "claim_devices", "make_pool", "unmake_pool", "extend_pool", "drain_device", "wipe_moved", "refill_device",
    "remove_device", "destroy_pool",
})  # fmt: skip
GUESTS = frozenset({
    "boot", "stop", "destroy", "attach", "detach", "resize_disk", "still_disk", "pivot_disk", "unmirror_disk",
})  # fmt: skip
LOOKING = frozenset({"find_brick", "find_backup", "cancel_backup"})


@dataclass(slots=True)
class Call:
    id: str
    verb: wire.Verb
    values: dict[str, Any]
    askers: set[str]
    trace: dict[str, str]
    key: Hashable
    claim: fence.Claim = fence.NONE
    moved: tuple[int, int] = (0, 0)  # bytes done, bytes in all
    said: tuple[float, tuple[int, int]] = (float("-inf"), (0, 0))  # when, and what
    over: wire.Word | None = None
    over_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Agent:
    """`start()` it when the node is ready; `notify` whenever there is something to report."""

    def __init__(
        self,
        node: verbs.Node,
        host: str,
        settings: Broker,
        on_connected: Callable[[], None],
        known: fences.Fences | None = None,
    ) -> None:
        self.node, self.host, self.on_connected = node, host, on_connected
        self.fences = known or fences.Fences()
        self._lock = threading.Lock()
        self._calls: collections.OrderedDict[str, Call] = collections.OrderedDict()
        self._lines: dict[Hashable, collections.deque[Call]] = {}  # who waits for the one that works on the same
        self._ready: dict[bool, queue.SimpleQueue[Call | None]] = {long: queue.SimpleQueue() for long in (False, True)}
        self._publisher = broker.Publisher(settings, f"brickyard node {host}")
        self._listened_s = clock.monotonic()
        self._listener = broker.Listener(
            settings, f"node {host}", begin=self._begin, tick=self._listen_again, idle=self._tick
        )
        self._threads = [
            threading.Thread(target=self._work, args=(long,), name=f"verbs-{n}", daemon=True)
            for n, long in enumerate([False] * THREADS + [True] * THREADS_LONG)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()
        self._listener.start()

    def stop(self, timeout_s: float = 10) -> None:
        """Hear nothing more, end what runs if it ends soon; the rest is asked again when there is an agent again."""
        self._listener.stop()
        for long, ready in self._ready.items():
            for _ in range(THREADS_LONG if long else THREADS):
                ready.put(None)
        deadline_s = clock.monotonic() + timeout_s
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline_s - clock.monotonic()))
        self._publisher.close()

    def notify(self, report: verbs.Report | None) -> None:
        """A report, or only that this node is there. Unavailable when the broker does not take it."""
        key = layout.ALIVE if report is None else layout.REPORT
        notice = wire.Notice(report, protocol=wire.PROTOCOL)
        self._publisher.publish(layout.says(self.host), key, wire.encode(notice))

    # listening ----------------------------------------------------------------------------------------------------

    def _begin(self, channel: Any) -> None:
        channel.basic_qos(0, PREFETCH, False)
        self._listen(channel)
        self.on_connected()

    def _listen(self, channel: Any) -> None:
        queue = layout.calls(self.host)
        channel.basic_consume(queue, consumer_tag=queue, callback=lambda message: self._on_ask(channel, message))
        self._listened_s = clock.monotonic()

    def _listen_again(self, channel: Any) -> None:
        """Nobody is told when a queue that was dead is made anew under the same name."""
        if clock.monotonic() - self._listened_s >= LISTEN_AGAIN_S:
            channel.basic_cancel(layout.calls(self.host))
            self._listen(channel)

    def _on_ask(self, channel: Any, message: Any) -> None:
        self._listened_s = clock.monotonic()
        channel.basic_ack(message.delivery_tag)  # first, so that one that breaks us does not come again and again
        asked = wire.decoded(wire.Ask, broker.body(message))
        if asked is not None:
            self._take(asked)

    def _take(self, asked: wire.Ask) -> None:
        with self._lock:
            known = self._calls.get(asked.id)
        if known is not None:
            with known.lock:
                known.askers.add(asked.asker)
                over = known.over
            self._say(known, over or _working(known), {asked.asker})
            return
        try:
            verb, values = wire.unpacked(asked, self.host)
            claim = fence.Claim(asked.flow, asked.epoch)
            self.fences.admit(claim)
        except errors.BrickyardError as error:
            refused = wire.Word(asked.id, "failed", fault=wire.fault(error), protocol=wire.PROTOCOL)
            self._publish(refused, {asked.asker})
            return
        call = Call(asked.id, verb, values, {asked.asker}, asked.trace, _key(verb.name, values), claim)
        with self._lock:
            if sum(1 for other in self._calls.values() if other.over is None) >= OPEN_MAX:
                LOG.warning("%s calls are open; one more is not heard, and will be asked again", OPEN_MAX)
                return
            self._calls[call.id] = call
            if call.key is not None and call.key in self._lines:
                self._lines[call.key].append(call)
                return
            if call.key is not None:
                self._lines[call.key] = collections.deque()
        self._ready[verb.tells].put(call)

    # work ---------------------------------------------------------------------------------------------------------

    def _work(self, long: bool) -> None:
        while (call := self._ready[long].get()) is not None:
            trace.begin(**{name: fact for name, fact in call.trace.items() if name != spans.TRACEPARENT})
            word = self._done(call)
            with call.lock:
                call.over, call.over_s = word, clock.monotonic()
                askers = set(call.askers)
            self._next(call)
            self._say(call, word, askers)

    def _done(self, call: Call) -> wire.Word:
        def moved(done_bytes: int, total_bytes: int) -> None:
            call.moved = done_bytes, total_bytes

        more = {"progress": moved} if call.verb.tells else {}
        try:
            self.fences.check(call.claim)  # it may have waited in line while its flow was claimed again
            parent = call.trace.get(spans.TRACEPARENT)
            with spans.of(call.verb.name, "server", parent=parent, host=self.host, verb=call.verb.name):
                result = getattr(self.node, call.verb.name)(**call.values, **more)
            return wire.Word(call.id, "done", result=wire.plain(result), protocol=wire.PROTOCOL)
        except Exception as error:
            if not isinstance(error, errors.BrickyardError):
                LOG.exception("verb %s failed", call.verb.name)
            return wire.Word(call.id, "failed", fault=wire.fault(error), protocol=wire.PROTOCOL)

    def _next(self, call: Call) -> None:
        """Let on who waited for this one, and forget what was over long ago."""
        with self._lock:
            line = self._lines.get(call.key) if call.key is not None else None
            if line:
                following = line.popleft()
                self._ready[following.verb.tells].put(following)
            elif call.key is not None:
                self._lines.pop(call.key, None)
            self._calls.move_to_end(call.id)
            old_s = clock.monotonic() - KEPT_S
            over = [other for other in self._calls.values() if other.over is not None]
            for n, other in enumerate(over):
                if len(over) - n > KEPT_MAX or other.over_s < old_s:
                    del self._calls[other.id]

    # answers ------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Say of every call that is not over that it is worked on, with how far it is where that has changed."""
        self._publisher.tick()
        now_s = clock.monotonic()
        with self._lock:
            open_ = [call for call in self._calls.values() if call.over is None]
        for call in open_:
            said_s, moved = call.said
            if call.moved != moved or now_s - said_s >= SAY_S:
                with call.lock:
                    askers = set(call.askers)
                self._say(call, _working(call), askers)

    def _say(self, call: Call, word: wire.Word, askers: set[str]) -> None:
        call.said = clock.monotonic(), call.moved
        self._publish(word, askers)

    def _publish(self, word: wire.Word, askers: set[str]) -> None:
        body = wire.encode(word)
        for asker in askers:
            try:
                self._publisher.publish(layout.says(self.host), asker, body)
            except errors.Unavailable as error:
                LOG.debug("an answer could not be sent, and is asked for again: %s", error)


def _working(call: Call) -> wire.Word:
    done_bytes, total_bytes = call.moved
    return wire.Word(call.id, "working", done_bytes, total_bytes, protocol=wire.PROTOCOL)


def _key(verb: str, values: dict[str, Any]) -> Hashable:
    """What a verb changes; None for one that changes nothing, or sees to it itself."""
    if verb in LOOKING:
        return None
    if verb in GUESTS:
        return "guest", values["id"] if "id" in values else values["boot"].id
    if verb in DEVICES:
        return "devices", values["backend"]
    label = values.get("label")
    if isinstance(label, Label):
        return values["backend"], label.name
    return (values["backend"], values["name"]) if {"backend", "name"} <= values.keys() else None
