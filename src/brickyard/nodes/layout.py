"""What lies in the message broker, and who may use it.

For each host h there are
  exchange  brickyard.node.h.says      the agent of h writes to it, and to nothing else
  queue     brickyard.node.h.calls     the agent of h reads it, and nothing else: calls, from exchange brickyard.calls
  queue     brickyard.node.h.reports   its latest report, from the exchange of h
and for each process that asks a queue brickyard.asker.<id>, bound to the exchanges of all hosts, where it
also hears of every report and sign of life, and so which hosts are silent. A report is taken from the queue of its host
by one conductor, a wake-up for a flow from brickyard.wakes by one, whichever that is. So the broker itself
says who sent a message, by the exchange through which it came. All of it is made by the side that asks; an agent may
make nothing. Queues are what a broker with a thousand hosts takes longest to make, so there are few.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

CALLS = "brickyard.calls"
WAKES, WAKE_S = "brickyard.wakes", 5  # later than that, every conductor has looked for itself
REPORT, ALIVE = "report", "alive"  # routing keys: meant for one conductor, whichever that is, and for all
NOTICE_S = 60  # a word about the state of a host that is older says nothing about now
HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,189}")  # of an agent: it becomes a part of names in the broker


def account(host: str) -> str:
    """The user name of an agent."""
    return f"brickyard.node.{host}"


def says(host: str) -> str:
    return f"brickyard.node.{host}.says"


def calls(host: str) -> str:
    return f"brickyard.node.{host}.calls"


def reports(host: str) -> str:
    return f"brickyard.node.{host}.reports"


def retired(host: str) -> list[str]:
    """Queues that the first release made, and that go with the host."""
    return [f"brickyard.node.{host}.alive"]


def asker(id: str) -> str:
    return f"brickyard.asker.{id}"


def declare_asker(channel: Any, id: str) -> None:
    """The queue of one process that asks; it ends with the connection."""
    limits = {"x-max-length": 10_000, "x-overflow": "drop-head"}
    channel.queue_declare(asker(id), durable=False, exclusive=True, auto_delete=True, arguments=limits)


def declare_shared(channel: Any) -> None:
    """The exchange of calls, and where conductors hear of flows that others have queued; safe to repeat."""
    channel.exchange_declare(CALLS, "direct", durable=True, auto_delete=False)
    channel.exchange_declare(WAKES, "direct", durable=True, auto_delete=False)
    _queue(channel, WAKES, {"x-max-length": 10_000, "x-overflow": "drop-head", "x-message-ttl": WAKE_S * 1000})
    channel.queue_bind(WAKES, WAKES, WAKES)


def declare_node(channel: Any, host: str, asker_id: str, *, using: Callable[[str], None] = lambda queue: None) -> int:
    """What a host needs, and that its answers come to this process; safe to repeat. `using(queue)` is called before a
    queue is declared. Returns how many listen to the host's calls.

    Only for its queues the broker is waited for: with a thousand hosts, ten answers for each are most of a start. What
    could not be made otherwise ends the channel, which the next answer says."""
    channel.exchange_declare(says(host), "direct", durable=True, auto_delete=False, nowait=True)
    quorum = {"x-queue-type": "quorum"}
    using(calls(host))
    declared = _queue(channel, calls(host), {**quorum, "x-single-active-consumer": True})
    channel.queue_bind(calls(host), CALLS, host, nowait=True)
    using(reports(host))
    _queue(channel, reports(host), {**quorum, "x-max-length": 1, "x-message-ttl": NOTICE_S * 1000})
    channel.queue_bind(reports(host), says(host), REPORT, nowait=True)
    for key in (asker_id, REPORT, ALIVE):
        channel.queue_bind(asker(asker_id), says(host), key, nowait=True)
    return int(declared.consumer_count)


def _queue(channel: Any, name: str, arguments: dict[str, Any]) -> Any:
    return channel.queue_declare(name, durable=True, exclusive=False, auto_delete=False, arguments=arguments)
