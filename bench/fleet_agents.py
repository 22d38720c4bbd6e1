"""The agents of many hosts in one process: `bench/fleet.py` starts it.

    python bench/fleet_agents.py CREDENTIALS --pools 4 --interval 10

Each is the agent of `brickyard node` as it is (nodes/agent.py, and what reports: daemons/node.py), over a connection
and an account of its own, with drivers and a hypervisor that live in memory. Only the threads are not there: one loop
waits for all connections, and does what has come at once. Prints a line when all are connected. Ends with its input.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import heapq
import itertools
import json
import pathlib
import queue
import random
import selectors
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import amqp

from brickyard.brick import registry
from brickyard.core import errors
from brickyard.core.settings import Broker
from brickyard.daemons import node as daemon
from brickyard.hypervisor.memory import Memory
from brickyard.nodes import agent, broker, local

KINDS = ("fast", "bulk", "big", "spare")
TRIES_S = 0.5  # between two looks for a queue that is not there yet
BEATS_S = 15.0
RACKS_OF, ZONES = 20, 4
LAST = "last"  # the pool of the race for the last gigabyte


def made(host: str, number: int, pools: int, racers: int) -> local.LocalNode:
    """A host with pools of 1 TiB; the first few have one of 8 GiB besides, for which there will be a race."""
    sizes = {f"{KINDS[at % 4]}{at // 4 or ''}": 1024 for at in range(pools)}
    sizes |= {LAST: 8} if number < racers else {}
    backends = [
        local.Backend(
            name=name,
            driver_name="memory",
            volume_backend_name=name,
            availability_zone="nova",
            load=functools.partial(registry.load, "memory", {"capacity_gib": str(gib), "preallocate": "true"}),
            options={"max_over_subscription_ratio": 1.0, "reserved_percentage": 0},
        )
        for name, gib in sizes.items()
    ]
    labels = {"zone": f"z{number % ZONES}", "rack": f"r{number // RACKS_OF}"}

    def never(name: str, options: Any) -> local.Backend:
        raise errors.Invalid(f"Simulated hosts make no backends, as {name}.", field="host")

    return local.LocalNode(
        host=host, labels=labels, vcpus=64, memory_mib=262144, backends=backends, hypervisor=Memory(), make=never
    )


class Wire:
    """In place of the agent's publisher: the connection on which it listens, too."""

    def __init__(self) -> None:
        self.channel: Any = None

    def publish(self, exchange: str, key: str, body: bytes) -> None:
        self.channel.basic_publish(amqp.Message(body, content_type="application/json"), exchange, key)


class Simulated(agent.Agent):
    """One agent, whose work is done where a call has come in."""

    def __init__(self, told: dict[str, Any], number: int, pools: int, racers: int) -> None:
        self.settings = Broker(tuple(told["servers"]), told["user"], told["password"], told["virtual_host"])
        node = made(told["host"], number, pools, racers)
        super().__init__(node, node.host, self.settings, lambda: None)
        node.start()
        wire: Any = Wire()
        self.wire = self._publisher = wire
        self.speaker = daemon.Speaker(node)
        self.connection: Any = None
        self.busy = False

    def connect(self) -> None:
        """Until the control plane has made the queue of its calls."""
        while True:
            try:
                self.connection = self.connection or broker.connect(self.settings, f"simulated {self.host}")
                self.wire.channel = self.connection.channel()
                self.wire.channel.basic_qos(0, agent.PREFETCH, False)
                self._listen(self.wire.channel)
                self.speaker.speak(self)
            except amqp.exceptions.NotFound:
                time.sleep(TRIES_S)
            except (*broker.TROUBLE, errors.Unavailable):  # a thousand that come at once may have to wait
                self.connection = None
                time.sleep(TRIES_S)
            else:
                return

    def hear(self) -> None:
        with contextlib.suppress(TimeoutError):
            self.connection.drain_events(timeout=0.05)

    def beat(self) -> None:
        self.connection.heartbeat_check()
        self._listen_again(self.wire.channel)

    def _on_ask(self, channel: Any, message: Any) -> None:
        super()._on_ask(channel, message)
        if self.busy:
            return  # an answer is being sent, and what has come meanwhile was read with that
        self.busy = True
        while due := [long for long, ready in self._ready.items() if not ready.empty()]:
            for long in due:
                self._ready[long].put(None)
                self._work(long)
        self.busy = False


def serve(connected: queue.SimpleQueue[Simulated], interval_s: float, ended: threading.Event) -> None:
    """From the moment on at which it is connected, each; that may take the last of a thousand a while."""
    waiting = selectors.DefaultSelector()
    order = itertools.count()
    due: list[Any] = []
    while not ended.is_set():
        while not connected.empty():
            one, now = connected.get(), time.monotonic()
            waiting.register(one.connection.connection.sock, selectors.EVENT_READ, one)
            heapq.heappush(due, (now + random.uniform(0, interval_s), next(order), one, one.speaker.speak))
            heapq.heappush(due, (now + random.uniform(0, BEATS_S), next(order), one, Simulated.beat))
        pause_s = due[0][0] - time.monotonic() if due else 0.2
        for key, _ in waiting.select(max(0.0, min(0.2, pause_s))):
            key.data.hear()
        while due and due[0][0] <= time.monotonic():
            at, number, one, do = due[0]
            heapq.heapreplace(due, (at + (interval_s if do == one.speaker.speak else BEATS_S), number, one, do))
            do(one)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("credentials", type=pathlib.Path)
    parser.add_argument("--pools", type=int, default=4)
    parser.add_argument("--racers", type=int, default=8)
    parser.add_argument("--interval", type=float, default=10.0)
    options = parser.parse_args()
    agent.THREADS = agent.THREADS_LONG = 0
    told = json.loads(options.credentials.read_text())
    agents = [Simulated(one, number, options.pools, options.racers) for number, one in enumerate(told)]
    ended, connected = threading.Event(), queue.SimpleQueue[Simulated]()

    def connect(one: Simulated) -> None:
        one.connect()
        connected.put(one)

    def connect_all() -> None:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(connect, agents))
        print("connected", flush=True)

    threading.Thread(target=connect_all, daemon=True).start()

    def wait() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    serve(connected, options.interval, ended)


if __name__ == "__main__":
    main()
