"""What agents report, recorded, and what they are asked in return.

The latest word of each agent waits for one of a few threads, one thread for a host at a time: an agent that falls
silent in the middle holds up nobody else's. That hosts are there, and nothing else, is written for all who have said so
since the last time at once.
"""

from __future__ import annotations

import dataclasses
import logging
import queue
import threading
from collections.abc import Callable

from brickyard.core import clock, errors, settings
from brickyard.db import agents, fullness, hosts
from brickyard.db import instances as rows
from brickyard.db.database import Database
from brickyard.nodes import broker, verbs
from brickyard.nodes.remote import Asker
from brickyard.service import far_pools, lost_hosts, reports

LOG = logging.getLogger(__name__)
THREADS = 4
BEAT_S = 0.25  # between two times that it is written who is there


class Agents:
    """The agents of other hosts: `asker` calls them, and what they say is recorded; unless `records` is false, and that
    is left to other processes. A host that another process has enrolled is known when it is asked for, or soon."""

    def __init__(
        self,
        db: Database,
        places: reports.Refreshable,
        found: settings.Agents,
        interval_s: float,
        *,
        records: bool = True,
        on_wake: Callable[[str], None] | None = None,
    ) -> None:
        self.db, self.places, self.interval_s = db, places, interval_s
        self.asker = Asker(
            found,
            on_report=self._heard if records else None,
            on_alive=self._beats,
            on_wake=on_wake,
        )
        self._lock = threading.Lock()
        self._latest: dict[str, verbs.Report | None] = {}  # host → its latest report; None: it is only there
        self._alive: set[str] = set()  # hosts that have said that they are there, which is not written yet
        self._unseen: set[str] = set()  # hosts whose guests are to be looked at
        self._at_work: set[str] = set()
        self._awaited: set[str] = set()
        self._due: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._work, name=f"recorder-{n}", daemon=True) for n in range(THREADS)]
        self._threads.append(threading.Thread(target=self._look, name="down-detector", daemon=True))
        self._threads.append(threading.Thread(target=self._touch, name="heartbeats", daemon=True))

    def start(self) -> None:
        self._follow()
        for thread in self._threads:
            thread.start()
        self.asker.start()

    def catch_up(self, timeout_s: float) -> None:
        """Wait until every host has been heard that nobody has recorded for long: perhaps only because nobody was
        there to record it, and then what waits must not be refused as if the host was down."""
        with self.db.read() as tx:
            stale = {row.name for row in hosts.list_hosts(tx) if (row.heartbeat_at or "") < clock.stamp(-timeout_s)}
        self._awaited = stale & set(self.asker.names())
        deadline_s = clock.monotonic() + timeout_s
        while self._awaited and clock.monotonic() < deadline_s:
            self._stopping.wait(0.05)

    def stop(self, timeout_s: float = 5) -> None:
        self._stopping.set()
        self.asker.stop()
        for _ in range(THREADS):
            self._due.put(None)
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout_s)

    # the nodes, as nodes/directory.py wants them ------------------------------------------------------------------

    def node(self, host: str) -> verbs.Node | None:
        found = self.asker.node(host)
        if found is None:
            with self.db.read() as tx:
                enrolled = agents.find(tx, host) is not None
            if enrolled:
                self.asker.know(host)
                found = self.asker.node(host)
        return found

    def names(self) -> list[str]:
        return self.asker.names()

    def hears(self) -> bool:
        return not self.names() or self.asker.hears(2 * self.interval_s + broker.PAUSES_S[-1])

    def know(self, host: str) -> None:
        self.asker.know(host)

    def forget(self, host: str) -> None:
        self.asker.forget(host)

    def _follow(self) -> None:
        """Know the hosts that are enrolled, by whichever process, and those only."""
        known = set(self.asker.names())
        with self.db.read() as tx:
            enrolled = {row.host for row in agents.list_(tx)}
        for host in enrolled - known:
            self.asker.know(host)
        for host in known - enrolled:
            self.asker.forget(host)

    # what they report ---------------------------------------------------------------------------------------------

    def _heard(self, host: str, report: verbs.Report | None) -> None:
        with self._lock:
            waits = host in self._latest
            self._latest[host] = report or self._latest.get(host)
            if waits or host in self._at_work:
                return
        self._due.put(host)

    def _beats(self, host: str) -> None:
        with self._lock:
            self._alive.add(host)

    def _touch(self) -> None:
        """Write who is there, all together; who is on no record, or was declared lost, is heard as one that reports.
        Every conductor hears of all, and who has it written looks at the guests."""
        while not self._stopping.wait(BEAT_S):
            with self._lock:
                said, self._alive = self._alive, set()
            if not said:
                continue
            try:
                with self.db.begin() as tx:
                    found = hosts.touch(tx, said, clock.stamp(-self.interval_s / 2))
                    seen = rows.hosts_with_active(tx, found.written)
            except Exception as error:
                LOG.warning("that %s hosts are there could not be written, and is tried again: %s", len(said), error)
                found, seen = hosts.Touched(set(), set(), said), set()
            there = found.written | found.known
            with self._lock:
                self._alive |= found.locked
                self._awaited -= there
                self._unseen |= seen
            for host in said - there - found.locked:
                self._heard(host, None)
            for host in seen:
                self._due.put(host)

    def _work(self) -> None:
        while (host := self._due.get()) is not None:
            with self._lock:
                if host in self._at_work or (host not in self._latest and host not in self._unseen):
                    continue
                looks = host not in self._latest
                self._unseen.discard(host)  # a report is followed by a look at the guests anyway
                report = self._latest.pop(host, None)
                self._at_work.add(host)
            try:
                if looks:
                    self._see(host)
                else:
                    self._take(host, report)
            except errors.Unavailable as error:
                LOG.warning("what host %s reports could not be recorded: %s", host, error)
            except Exception:
                LOG.exception("what host %s reports could not be recorded", host)
            with self._lock:
                self._at_work.discard(host)
                self._awaited.discard(host)
                again = host in self._latest or host in self._unseen
            if again:
                self._due.put(host)

    def _take(self, host: str, report: verbs.Report | None) -> None:
        node = self.node(host)
        if node is None:
            return  # it was dismissed
        if lost_hosts.heard(self.db, host):
            if report is not None:
                self._settled(node, report)  # or a pool that it has forgotten could not be looked at
            return  # it counts after that, and says then how it is
        if report is None:
            report = node.report()  # what it said before is on no record
        reports.take(self.db, self.places, node, self._settled(node, report))
        with self.db.read() as tx:
            reached_from = fullness.hosts_that_reach(tx, host)
        with self._lock:
            self._unseen |= reached_from  # their guests may have to wait now, or wait no more
        for other in reached_from:
            self._due.put(other)

    def _see(self, host: str) -> None:
        node = self.node(host)
        if node is not None:
            far_pools.look(self.db, node, host)

    def _settled(self, node: verbs.Node, report: verbs.Report) -> verbs.Report:
        """The report, after the node serves what was made through the API and it has forgotten, and no more what was
        deleted while it was away."""
        named = {backend.name: backend for backend in report.backends}
        for name, options in reports.made_through_api(self.db, report.host):
            if name not in named:
                named[name] = _added(node, name, options)
        with self.db.read() as tx:
            gone = {row.name.partition("@")[2] for row in hosts.deleted_backends(tx, report.host)}
        for name in [name for name, backend in named.items() if backend.from_api and name in gone]:
            node.remove_backend(name)
            del named[name]
        return dataclasses.replace(report, backends=list(named.values()))

    def _look(self) -> None:
        """Draw the picture anew, whether anybody reports or not: who does not is down after a while."""
        while not self._stopping.wait(self.interval_s):
            for look in (self._follow, self.places.refresh):
                try:
                    look()
                except Exception:
                    LOG.exception("the picture of all places could not be drawn; it is tried again")


def _added(node: verbs.Node, name: str, options: dict[str, object]) -> verbs.BackendReport:
    try:
        return node.add_backend(name, options)
    except errors.Unreachable:
        raise
    except errors.BrickyardError as error:
        return verbs.BackendReport(
            name=name,
            driver=str(options.get("driver", "raw")),
            volume_backend_name=str(options.get("volume_backend_name") or name),
            availability_zone=str(options.get("availability_zone") or "nova"),
            options=options,
            from_api=True,
            up=False,
            why_down=error.message,
        )
