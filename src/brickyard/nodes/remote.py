"""Nodes that are other processes, reached over the message broker: the side that asks.

A call is asked again, with the same id, until its node says something; what the node says, it says again when it is
asked again. So neither a lost message nor a broker that starts anew nor an agent that died and is back matters, and a
word that comes twice, or after nobody waits any more, matters as little. A node that works on a call says so every
other second. One that has said nothing for `patience_s` is Unreachable; so is at once one that has been silent for so
long already.
"""

from __future__ import annotations

import logging
import queue
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from brickyard.core import clock, errors, fence, spans, trace
from brickyard.core.settings import Agents
from brickyard.nodes import broker, layout, verbs, wire

LOG = logging.getLogger(__name__)
ASK_AGAIN_S = (1.0, 2.0, 5.0)  # a lost message is rare, and a node that is away is not asked the faster for it
# What a host has in the broker may have been deleted, of which only its agent hears, who may make nothing; and a quorum
# queue may have died with a server that was killed right after it was made: it is there and does nothing, for ever. So
# what belongs to a host that is silent is declared again after a while, for so many hosts at a time. A queue is made
# anew when nobody listens to the calls in it, or when it could not be used so often: what lay in it is said again.
SILENT_S, SILENT_AT_ONCE = 15.0, 20
DEAF_ASKED, DEAD_TRIES = 4, 2
# Looking takes no longer than a request may: for these the patience is for the answer, and not for any word.
QUICK = frozenset({"report", "bricks", "find_brick", "leftovers", "devices", "console", "guests", "exports"})


@dataclass(slots=True)
class Call:
    """A call that somebody waits for. None among the words: ask again, now."""

    host: str
    words: queue.SimpleQueue[wire.Word | None] = field(default_factory=queue.SimpleQueue)


class Asker:
    """Asks the nodes of many hosts, and hears what they report: `on_report(host, report)`, `on_alive(host)`, and of
    flows that other processes have queued: `on_wake(id)`. All are called by the thread that listens, which they must
    not keep. What is None is left to other processes."""

    def __init__(
        self,
        settings: Agents,
        *,
        on_report: Callable[[str, verbs.Report], None] | None = None,
        on_alive: Callable[[str], None] = lambda host: None,
        on_wake: Callable[[str], None] | None = None,
    ) -> None:
        self.settings, self.on_report, self.on_alive, self.on_wake = settings, on_report, on_alive, on_wake
        self.id = str(uuid.uuid4())
        self._calls: dict[str, Call] = {}
        self._lock = threading.Lock()
        self._hosts: dict[str, str] = {}  # the exchange through which it speaks → the host
        self._new: set[str] = set()  # hosts that are not declared yet, or perhaps no more
        self._heard: dict[str, float] = {}  # host → when it last said anything
        self._declared: dict[str, float] = {}  # host → when what it needs in the broker was last declared
        self._deaf: set[str] = set()  # hosts that were asked again and again and said nothing
        self._consumed: set[str] = set()  # the consumers of this connection
        self._broken: dict[str, int] = {}  # queue → how often it could not be used since all could
        self._since = clock.monotonic()
        self._stopped = False
        self._publisher = broker.Publisher(settings.broker, "brickyard asker", self._lost)
        self._listener = broker.Listener(
            settings.broker, "asker", begin=self._begin, tick=self._declare, idle=self._publisher.tick
        )

    def start(self) -> None:
        self._since = clock.monotonic()
        self._listener.start()

    def stop(self) -> None:
        """Whoever waits for a node is told that it is unreachable."""
        self._stopped = True
        self._ask_again()
        self._listener.stop()
        self._publisher.close()

    def know(self, host: str) -> None:
        """There is an agent of this host, or will be."""
        with self._lock:
            self._hosts[layout.says(host)] = host
            self._new.add(host)

    def forget(self, host: str) -> None:
        """There is no agent of this host any more; whoever waits for it is told that it is unreachable."""
        with self._lock:
            self._hosts.pop(layout.says(host), None)
            self._new.discard(host)
            self._heard.pop(host, None)
            self._declared.pop(host, None)
        self._ask_again()

    def hears(self, settled_s: float) -> bool:
        """Whether a host that says nothing is silent itself: the broker is there, and was for so long that whoever can
        has spoken since."""
        found = self.settings
        return self._listener.hears(min(0.75 * found.broker.heartbeat_s, 0.8 * found.patience_s), settled_s)

    def names(self) -> list[str]:
        with self._lock:
            return sorted(self._hosts.values())

    def node(self, host: str) -> verbs.Node | None:
        """How to call the node of this host; None when there is no agent for it."""
        with self._lock:
            known = layout.says(host) in self._hosts
        return cast(verbs.Node, RemoteNode(self, host)) if known else None

    def wake(self, id: str) -> None:
        """Tell some conductor of a flow. Unavailable when the broker does not take it; one that is lost is found."""
        self._publisher.publish(layout.WAKES, layout.WAKES, id.encode(), expires_s=layout.WAKE_S)

    # calls --------------------------------------------------------------------------------------------------------

    def call(self, host: str, verb: wire.Verb, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        with spans.of(f"ask {verb.name}", "client", host=host, verb=verb.name):
            return self._call(host, verb, args, named)

    def _call(self, host: str, verb: wire.Verb, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        progress = verb.signature.bind(None, *args, **named).arguments.get("progress")
        claim = fence.now()
        asked = wire.Ask(
            id=str(uuid.uuid4()),
            verb=verb.name,
            asker=self.id,
            values=wire.packed(verb, args, named),
            trace={**trace.now(), **spans.carried()},
            flow=claim.flow,
            epoch=claim.epoch,
            protocol=wire.PROTOCOL,
        )
        self._refuse_silent(host)
        call = Call(host)
        with self._lock:
            self._calls[asked.id] = call
        try:
            return wire.result(verb, self._outcome(asked, call, progress), host)
        except errors.Superseded as late:
            raise fence.Stop(late.message) from late
        finally:
            with self._lock:
                del self._calls[asked.id]

    def _outcome(self, asked: wire.Ask, call: Call, progress: Callable[[int, int], None] | None) -> wire.Word:
        """The word that the verb is done; raises what it failed with."""
        body, why = wire.encode(asked), ""
        heard_s = clock.monotonic()
        ask_s, times = heard_s, 0
        while True:
            now_s = clock.monotonic()
            self._refuse_ending()
            if self.node(call.host) is None:
                raise errors.Unreachable(
                    f"Host {call.host} has no agent any more: `brickyard host enroll` gives it one."
                )
            if now_s - heard_s >= self.settings.patience_s:
                raise errors.Unreachable(self._silent(call.host, now_s - heard_s, why))
            if now_s >= ask_s:
                why = self._ask(call.host, body)
                ask_s = now_s + ASK_AGAIN_S[min(times, len(ASK_AGAIN_S) - 1)]
                times += 1
                if times % DEAF_ASKED == 0:
                    with self._lock:
                        self._deaf.add(call.host)
            until_s = min(ask_s, heard_s + self.settings.patience_s)
            try:
                word = call.words.get(timeout=max(0.0, until_s - clock.monotonic()))
            except queue.Empty:
                continue
            if word is None:
                ask_s = 0.0
                continue
            if word.state == "done":
                return word
            if word.state == "failed":
                raise wire.raised(word)
            ask_s = clock.monotonic() + ASK_AGAIN_S[-1]
            if asked.verb not in QUICK:
                heard_s = clock.monotonic()
            if progress is not None and word.total_bytes:
                progress(word.done_bytes, word.total_bytes)

    def _ask(self, host: str, body: bytes) -> str:
        """Why it could not be asked, if so: it is asked again."""
        try:
            self._publisher.publish(layout.CALLS, host, body, expires_s=ASK_AGAIN_S[-1])
        except errors.Unavailable as error:
            return error.message
        return ""

    def _refuse_silent(self, host: str) -> None:
        """A thread is not kept for a node that has been silent for long: it is asked when it has said something."""
        with self._lock:
            heard_s = max(self._heard.get(host, self._since), self._since)
        silent_s = clock.monotonic() - heard_s
        self._refuse_ending()
        if silent_s >= self.settings.patience_s:
            raise errors.Unreachable(self._silent(host, silent_s, ""))

    def _refuse_ending(self) -> None:
        """That we end says nothing about the host: a flow goes on elsewhere, or later, where it is."""
        if self._stopped and fence.now() is not fence.NONE:
            raise fence.Stop("this process ends")
        if self._stopped:
            raise errors.Unreachable("This service ends; ask again when it is started again.")

    def _silent(self, host: str, silent_s: float, why: str) -> str:
        said = why or ("" if self._listener.connected.is_set() else "the message broker is not there")
        reason = f" ({said})" if said else ""
        return f"The agent of host {host} has not answered for {silent_s:.0f} s{reason}: does `brickyard node` run?"

    # listening ----------------------------------------------------------------------------------------------------

    def _begin(self, channel: Any) -> None:
        self._consumed.clear()
        layout.declare_asker(channel, self.id)
        layout.declare_shared(channel)
        if self.on_wake is not None:
            channel.basic_consume(layout.WAKES, no_ack=True, callback=self._on_wake)
        with self._lock:
            self._new = set(self._hosts.values())
        self._declare(channel)
        self._broken.clear()
        channel.basic_consume(layout.asker(self.id), no_ack=True, callback=self._on_word)
        self._ask_again()

    def _declare(self, channel: Any) -> None:
        with self._lock:
            new, self._new = self._new, set()
            doubted, self._deaf = (set(self._silent_hosts()) | self._deaf & set(self._hosts.values())) - new, set()
        if new or doubted:
            layout.declare_shared(channel)
        for host in sorted(new | doubted):
            self._listener.at_work()
            self._declare_host(channel, host, doubted=host in doubted)

    def _declare_host(self, channel: Any, host: str, *, doubted: bool) -> None:
        self._declared[host] = clock.monotonic()
        at = ""

        def using(queue: str) -> None:
            nonlocal at
            at = queue
            proven = max(self._broken.values(), default=0) >= DEAD_TRIES  # where one died, so did others
            if self._broken.get(queue, 0) >= (1 if proven else DEAD_TRIES):
                LOG.warning("queue %s of the message broker cannot be used, and is made anew", queue)
                channel.queue_delete(queue)

        try:
            if layout.declare_node(channel, host, self.id, using=using) == 0 and doubted:
                channel.queue_delete(layout.calls(host))
                layout.declare_node(channel, host, self.id, using=using)
            if self.on_report is not None:
                at = layout.reports(host)
                tag = f"{at}.{self.id}"
                if tag in self._consumed:
                    channel.basic_cancel(tag)  # of the queue that was there before
                self._consumed.add(tag)
                channel.basic_consume(at, consumer_tag=tag, no_ack=True, callback=self._on_notice)
        except Exception:
            self._broken[at] = self._broken.get(at, 0) + 1
            raise

    def _silent_hosts(self) -> list[str]:
        """Some that were not heard, and had nothing declared, for long; the longest first. The lock is held."""
        last = {
            host: max(self._heard.get(host, self._since), self._declared.get(host, self._since))
            for host in self._hosts.values()
        }
        due_s = clock.monotonic() - SILENT_S
        return sorted((host for host, at in last.items() if at < due_s), key=last.__getitem__)[:SILENT_AT_ONCE]

    def _lost(self, exchange: str) -> None:
        """Some host has no queue any more, or there is no exchange: all is declared again. A wake-up may be lost."""
        if exchange == layout.WAKES:
            return
        LOG.warning("a call found no queue in the message broker; the queues of all hosts are declared again")
        with self._lock:
            self._new = set(self._hosts.values())

    def _ask_again(self) -> None:
        with self._lock:
            waiting = list(self._calls.values())
        for call in waiting:
            call.words.put(None)

    def _from(self, message: Any) -> str | None:
        """The host that a message came from, as the broker says it."""
        with self._lock:
            host = self._hosts.get(message.delivery_info["exchange"])
            if host is not None:
                self._heard[host] = clock.monotonic()
        return host

    def _on_word(self, message: Any) -> None:
        host = self._from(message)
        key = message.delivery_info["routing_key"]
        if host is None or key == layout.REPORT:
            return  # it is there: that is all
        if key == layout.ALIVE:
            if self.on_report is not None and not self._listener.was_away():
                self.on_alive(host)
            return
        word = wire.decoded(wire.Word, broker.body(message))
        if word is None:
            return
        with self._lock:
            call = self._calls.get(word.id)
        if call is not None and call.host == host:  # otherwise nobody waits any more, or it is not that host's to say
            call.words.put(word)

    def _on_notice(self, message: Any) -> None:
        host, notice = self._from(message), wire.decoded(wire.Notice, broker.body(message))
        if host is None or notice is None or self.on_report is None:
            return
        if self._listener.was_away():
            return  # it speaks of a host as it was then, and others have recorded what came after it
        if notice.report is None:
            return
        if notice.report.host == host:
            self.on_report(host, notice.report)
        else:
            LOG.error("the agent of host %s reports as %s, which does not count", host, notice.report.host)

    def _on_wake(self, message: Any) -> None:
        if self.on_wake is not None:
            self.on_wake(broker.body(message).decode(errors="replace"))


class RemoteNode:
    """A verbs.Node: every verb of the table is a call."""

    def __init__(self, asker: Asker, host: str) -> None:
        self.asker, self.host = asker, host

    def __getattr__(self, name: str) -> Callable[..., Any]:
        verb = wire.VERBS.get(name)
        if verb is None:
            raise AttributeError(name)
        return lambda *args, **named: self.asker.call(self.host, verb, args, named)
