"""A fleet on this machine: a control plane, and the agents of 1,000 hosts with 4 pools each, over a real broker.

    scripts/bench fleet [--hosts N] [--pools N] [--boots N] [--clients N] [--seconds N] [--conductors N] [--json FILE]

PostgreSQL, RabbitMQ, one `brickyard api` and one `brickyard conductor` run beside the agents, which are real but for
their threads (bench/fleet_agents.py) and hold their bricks and guests in memory. Everything shares the processors of
this machine, the one who asks too. A boot counts from the request to the guest that runs; the figure is of the rows of
its flow. The race is of as many clients as there are for the last room of a fleet: first for as much as they want
together, where none may be refused, and then for one GiB, which one gets.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import platform
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import ranking  # noqa: E402
import sqlalchemy as sa  # noqa: E402
from fleet_agents import LAST  # noqa: E402
from fleet_control import Control, Process, until  # noqa: E402

from brickyard.core import inventory  # noqa: E402
from brickyard.db import schema  # noqa: E402

FLOW_S = 300.0  # in which every flow is over
RACE_GIB = 8  # of each pool that is raced for
RANKED = ("volume, any type", "volume, type", "boot, 1 volume", "boot, 2 volumes", "boot, 2 volumes, rack")


class Table:
    """The rows of the answer, printed as they come."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(self, what: str, value: float, unit: str, goal: float | None = None) -> None:
        at_least = unit == "/s"
        reached = None if goal is None else (value >= goal if at_least else value <= goal)
        self.rows.append({"what": what, "value": value, "unit": unit, "goal": goal, "reached": reached})
        wanted = f"{'≥' if at_least else '≤'} {goal:g}" if goal is not None else ""
        print(f"{what:58} {value:10.4g} {unit:8} {wanted:8}{'  missed' if reached is False else ''}", flush=True)

    def check(self, what: str, good: bool, found: str) -> None:
        self.rows.append({"what": what, "value": found, "reached": good})
        print(f"{what:58} {found}{'' if good else '  WRONG'}", flush=True)


# what is measured ------------------------------------------------------------------------------------------------


def known(control: Control, hosts: int) -> bool:
    return control.scalar("SELECT count(*) FROM hosts WHERE heartbeat_at IS NOT NULL") >= hosts


def heard_since(control: Control, stamp: str, hosts: int) -> bool:
    return control.scalar(f"SELECT count(*) FROM hosts WHERE heartbeat_at > '{stamp}'") >= hosts


@contextlib.contextmanager
def agents(control: Control, credentials: pathlib.Path, options: argparse.Namespace) -> Iterator[Process]:
    words = ["--pools", str(options.pools), "--interval", str(options.interval), "--racers", str(racers(options))]
    made = Process(control.room, "agents", str(ROOT / "bench/fleet_agents.py"), str(credentials), *words)
    try:
        yield made
    finally:
        made.stop()


def racers(options: argparse.Namespace) -> int:
    return -(-options.clients // RACE_GIB)


def load(control: Control, table: Table, seconds: float, what: str) -> None:
    """What the control plane does while nobody asks for anything."""
    before, counted = control.spent_s(), control.counters()
    time.sleep(seconds)
    after, now = control.spent_s(), control.counters()
    for name in after:
        table.add(f"{what}: processor of {name}", 100 * (after[name] - before.get(name, 0.0)) / seconds, "%")
    for name in now:
        table.add(f"{what}: {name.replace('_', ' ')}", (now[name] - counted[name]) / seconds, "per s")


def each(clients: int, count: int, do: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(do, range(count)))


STOPPING = threading.Event()  # nobody waits any more


class Watcher:
    """Who waits for flows, with one question to the database for all who do."""

    def __init__(self, control: Control) -> None:
        self.control, self.open = control, set[str]()
        self.changed, self.ended = threading.Condition(), False
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def _look(self) -> None:
        statement = sa.select(schema.flows.c.resource_id).where(schema.flows.c.status.in_(("running", "unwinding")))
        while not self.ended:
            with self.control.db.read() as tx:
                found = set(tx.scalars(statement))
            with self.changed:
                self.open = found
                self.changed.notify_all()
            time.sleep(0.02)

    def over(self, resource_id: str) -> None:
        """Wait until no flow of it is open, which has begun before."""
        deadline_s = time.monotonic() + FLOW_S
        with self.changed:
            looks = 0
            while looks < 2 or resource_id in self.open:  # the first look may have begun before the flow did
                if not self.changed.wait(10) or STOPPING.is_set() or time.monotonic() > deadline_s:
                    raise SystemExit(f"the flow of {resource_id} does not end")
                looks += 1


def flows_ms(control: Control, name: str, since: str) -> tuple[list[float], Counter[str]]:
    """How long each flow took from its request on, sorted, and how they ended."""
    flows = schema.flows
    statement = sa.select(flows).where(flows.c.name == name, flows.c.created_at >= since)
    with control.db.read() as tx:
        rows = list(tx.execute(statement))
    spent = [1e3 * (ranking_time(row.finished_at) - ranking_time(row.created_at)) for row in rows if row.finished_at]
    return sorted(spent), Counter(str(row.status) for row in rows)


def ranking_time(stamp: str) -> float:
    import datetime

    return datetime.datetime.fromisoformat(stamp).replace(tzinfo=datetime.UTC).timestamp()


def now_stamp() -> str:
    from brickyard.core import clock

    return clock.stamp()


def boots(control: Control, table: Table, watcher: Watcher, options: argparse.Namespace) -> None:
    image = control.ask("POST", "/v1/images", {"name": "tiny", "kind": "kernel", "cmdline": "quiet"})
    for role in ("kernel", "initrd"):
        control.http.put(f"/v1/images/{image['id']}/files/{role}", content=role.encode()).raise_for_status()
    control.ask("POST", "/v1/flavors", {"name": "small", "vcpus": 1, "memory_mib": 64})

    def boot(number: int) -> str:
        body = {"name": f"i{number}", "flavor": "small", "image": "tiny", "local_storage": [{"size_gib": 1}]}
        id = str(control.ask("POST", "/v1/instances", body)["id"])
        watcher.over(id)
        return id

    def clear(id: str) -> None:
        control.ask("DELETE", f"/v1/instances/{id}?volumes=delete")
        watcher.over(id)

    since, began, before = now_stamp(), time.perf_counter(), control.spent_s()
    ids = each(options.clients, options.boots, boot)
    seconds, after = time.perf_counter() - began, control.spent_s()
    spent, ended = flows_ms(control, "boot_instance", since)
    table.add(f"boots, {options.clients} clients", len(ids) / seconds, "/s")
    table.add("boot, p50", statistics.median(spent), "ms")
    table.add("boot, p99", spent[int(len(spent) * 0.99)], "ms")
    for name in after:
        table.add(f"a boot: processor of {name}", 1e3 * (after[name] - before.get(name, 0.0)) / len(ids), "ms")
    table.check("boots that did not come to be", set(ended) == {"done"}, str(len(ids) - ended["done"]))
    since, began = now_stamp(), time.perf_counter()
    each(options.clients, len(ids), lambda number: clear(ids[number]))
    until(lambda: not control.scalar("SELECT count(*) FROM volumes"), "the volumes are gone")
    table.add("cleared again, with their volumes", len(ids) / (time.perf_counter() - began), "/s")
    spent, _ = flows_ms(control, "delete_instance", since)
    table.add("cleared, p50", statistics.median(spent), "ms")


def race(control: Control, table: Table, watcher: Watcher, options: argparse.Namespace) -> None:
    """Every client wants one GiB of the pools called `last`, at the same moment, as a volume and with a boot."""
    type_id = control.ask("POST", "/v3/types", {"volume_type": {"name": "racer"}})["volume_type"]["id"]
    specs = {"extra_specs": {"volume_backend_name": LAST}}
    control.ask("POST", f"/v3/types/{type_id}/extra_specs", specs)
    room = control.scalar(f"SELECT sum(limit_gib) FROM pools WHERE name LIKE '%@{LAST}#{LAST}'")
    gate = threading.Barrier(options.clients)

    def volume(number: int) -> str:
        gate.wait()
        body = {"volume": {"size": 1, "volume_type": "racer"}}
        id = str(control.ask("POST", "/v3/volumes", body)["volume"]["id"])
        watcher.over(id)
        return id

    def boot(number: int) -> str:
        gate.wait()
        storage = [{"size_gib": 1, "volume_type": "racer"}]
        body = {"name": f"r{number}", "flavor": "small", "image": "tiny", "local_storage": storage}
        id = str(control.ask("POST", "/v1/instances", body)["id"])
        watcher.over(id)
        return id

    def statuses(ids: list[str], nouns: str) -> Counter[str]:
        listed = "','".join(ids)
        with control.db.read() as tx:
            return Counter(tx.scalars(sa.text(f"SELECT status FROM {nouns} WHERE id IN ('{listed}')")))

    def promised() -> int:
        statement = f"SELECT max(claimed_gib - limit_gib) FROM pools WHERE name LIKE '%@{LAST}#{LAST}'"
        return int(control.scalar(statement))

    for what, do, nouns, good in (("volumes", volume, "volumes", "available"), ("boots", boot, "instances", "active")):
        free = f"SELECT sum(free_gib) FROM pools WHERE name LIKE '%@{LAST}#{LAST}'"
        until(lambda free=free: control.scalar(free) == room, "the hosts have said what is free")
        spare = volume_fill(control, watcher, int(room) - options.clients)
        began = time.perf_counter()
        ids = each(options.clients, options.clients, do)
        seconds = time.perf_counter() - began
        found = statuses(ids, nouns)
        text = f"{found[good]} of {options.clients} in {seconds:.2f} s"
        table.check(f"race of {what}: room for all", found[good] == options.clients and promised() <= 0, text)
        remove(control, watcher, ids[:1], nouns)
        began = time.perf_counter()
        more = each(options.clients, options.clients, do)
        seconds = time.perf_counter() - began
        found = statuses(more, nouns)
        text = f"{found[good]} of {options.clients} in {seconds:.2f} s, {promised()} GiB too much"
        table.check(f"race of {what}: for the last GiB", found[good] == 1 and promised() <= 0, text)
        if found[good] < 1:
            print(*why(control, more), sep="\n")
        remove(control, watcher, [*ids[1:], *more], nouns)
        remove(control, watcher, spare, "volumes")


def why(control: Control, ids: list[str]) -> list[str]:
    """Why flows have failed, without their ids, and how many of them."""
    flows = schema.flows
    with control.db.read() as tx:
        rows = tx.execute(sa.select(flows.c.error, flows.c.refusals).where(flows.c.resource_id.in_(ids))).all()
    seen = Counter((str(row.error)[:300], str(row.refusals)[:600]) for row in rows)
    return [f"    {count} × {error}: {refusals}" for (error, refusals), count in seen.most_common(3)]


def volume_fill(control: Control, watcher: Watcher, gib: int) -> list[str]:
    """Volumes of one GiB that take what is more than the race is for."""
    body = {"volume": {"size": 1, "volume_type": "racer"}}
    ids = [str(control.ask("POST", "/v3/volumes", body)["volume"]["id"]) for _ in range(gib)]
    for id in ids:
        watcher.over(id)
    return ids


def remove(control: Control, watcher: Watcher, ids: list[str], nouns: str) -> None:
    path = "/v3/volumes/{}" if nouns == "volumes" else "/v1/instances/{}?volumes=delete"
    for id in ids:
        control.ask("DELETE", path.format(id))
    for id in ids:
        watcher.over(id)
    until(lambda: not control.scalar("SELECT count(*) FROM flows WHERE finished_at IS NULL"), "all is removed")


def decisions(table: Table, sizes: list[int]) -> None:
    """The slowest of a few usual requests, see bench/ranking.py for all of them."""
    for pools in sizes:
        listed = ranking.hosts(pools)
        inv = inventory.Inventory(listed)
        shapes = ranking.shapes(pools)
        slowest = max(ranking.measured(inv, shapes[name][1], 100)["p50_ms"] for name in RANKED)
        table.add(f"ranking over {pools} pools, the slowest request", slowest, "ms", ranking.GOALS_MS.get(pools))


def measure(control: Control, table: Table, options: argparse.Namespace) -> None:
    names = [f"h{number:05d}" for number in range(options.hosts)]
    credentials = control.room / "credentials.json"
    control.start()
    table.add(f"{options.hosts} hosts enrolled", control.enroll(names, credentials), "s")
    began = time.perf_counter()
    with agents(control, credentials, options) as simulated:
        until(lambda: known(control, options.hosts), "all hosts are known")
        table.add("all are known, from the start of their agents", time.perf_counter() - began, "s")
        until(simulated.said, "the agents are connected")
        time.sleep(2)
        load(control, table, options.seconds, "alone")
        watcher = Watcher(control)
        boots(control, table, watcher, options)
        race(control, table, watcher, options)
        watcher.ended = True
        for name in control.processes:
            table.add(f"resident memory of {name}", control.resident_mb(name), "MB")
        control.end()
        since = now_stamp()
        table.add("started again: the control plane is ready", control.start(), "s")
        waited = until(lambda: heard_since(control, since, options.hosts), "all hosts are heard again")
        table.add("started again: all are heard, after that", waited, "s")


def stop(signum: int, frame: Any) -> None:
    """What was started is stopped."""
    STOPPING.set()
    sys.exit(1)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--pools", type=int, default=4, help="of each host")
    parser.add_argument("--boots", type=int, default=500)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--conductors", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20.0, help="for which it is left alone")
    parser.add_argument("--interval", type=int, default=10, help="between two reports of a host, in seconds")
    parser.add_argument("--ranked", type=int, nargs="*", default=[1_000, 10_000, 100_000], help="pools")
    parser.add_argument("--database", choices=("postgresql", "mariadb"), default="postgresql")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    before, table = os.getloadavg()[0], Table()
    with tempfile.TemporaryDirectory(prefix="brickyard-bench-") as directory:
        control = Control(pathlib.Path(directory), options.database, options.conductors, options.interval)
        try:
            measure(control, table, options)
        finally:
            control.close()
    decisions(table, options.ranked)
    print(f"processors {os.cpu_count()}, load before {before:.1f}, after {os.getloadavg()[0]:.1f}")
    if options.json:
        where = {"python": platform.python_version(), "processors": os.cpu_count(), "load_before": before}
        asked = {name: value for name, value in vars(options).items() if name != "json"}
        kept = {"where": where, "asked": asked, "rows": table.rows}
        options.json.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    return 0 if all(row["reached"] is not False for row in table.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
