"""Two APIs, two conductors and two agents: six processes on one database server and one RabbitMQ, and a
collector of their traces."""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from tests import rabbit
from tests.agents.rig import NODE, Control, Host, Process, until

from brickyard.db import schema
from brickyard.db.database import Database

LEASE_S = 4  # as tests/agents/rig.py has it


class Fleet:
    """Every control process has the same state directory, as with a shared file system: images lie there."""

    def __init__(self, room: Path, broker: rabbit.Rabbit, url: str, collector: str) -> None:
        traced = f"[tracing]\nendpoint = {collector}\n"
        more = f"[database]\nconnection = {url.replace('%', '%%')}\n{traced}"
        self.db = Database(url)
        self.a1, self.a2 = (Control(room / name, broker, "api", more) for name in ("a1", "a2"))
        self.c1, self.c2 = (Process(room / name, self.a1.config.read_text(), "conductor") for name in ("c1", "c2"))
        self.n1, self.n2 = Host(room, "n1", NODE + traced), Host(room, "n2", NODE + traced)
        self.hosts = {host.name: host for host in (self.n1, self.n2)}
        self.control: tuple[Process, ...] = (self.a1, self.a2, self.c1, self.c2)
        for number, process in enumerate(self.control):
            process.state = room / "state"
            named = process.config.read_text().replace("host = control", f"host = m{number % 2 + 1}")
            process.config.write_text(named)

    def each(self, do: Callable[[Any], object], *processes: Process) -> None:
        """At the same time."""
        with ThreadPoolExecutor(max(1, len(processes))) as pool:
            list(pool.map(do, processes))

    def start(self, *processes: Process) -> None:
        """What does not run of these, or of all."""
        wanted = processes or (*self.control, *self.hosts.values())
        self.each(lambda process: process.start(), *(process for process in wanted if process.ended()))

    def settle(self) -> None:
        """Everything runs and nothing is held, whatever the test before this one has done."""
        for host in self.hosts.values():
            host.go_on()
        for process in (*self.control, *self.hosts.values()):
            if not process.ended():
                assert process.process is not None
                process.process.send_signal(signal.SIGCONT)
        self.start()
        for api in (self.a1, self.a2):
            until(lambda api=api: api.hosts_up() >= {"n1", "n2"}, "both hosts are up")
            api.picture()

    def stop(self) -> None:
        def end(process: Process) -> None:
            if process.process is not None and not process.ended():
                process.process.send_signal(signal.SIGCONT)
                process.kill(signal.SIGTERM)

        self.each(end, *self.control, *self.hosts.values())
        self.db.close()

    # what is in the database --------------------------------------------------------------------------------------

    def flows(self, *, open_only: bool = True) -> list[Any]:
        flows = schema.flows
        with self.db.read() as tx:
            found = list(tx.execute(sa.select(flows)))
        return [row for row in found if not open_only or row.status in ("running", "unwinding")]

    def owners(self) -> set[str]:
        return {row.owner for row in self.flows() if row.owner}

    def hold_work_of_both(self) -> list[str]:
        """Volumes whose bricks are being made, on behalf of one conductor and of the other; the hosts do not go on."""
        for host in self.hosts.values():
            host.hold()
        ids: list[str] = []
        while len(self.owners()) < 2 or len(ids) < 4:
            assert len(ids) < 40, "only one conductor gets work"
            ids += [api.volume() for api in (self.a1, self.a2)]
        until(lambda: all(row.owner for row in self.flows()), "every flow has a conductor")
        until(lambda: any(host.waits() for host in self.hosts.values()), "a brick is being made")
        return ids

    def go_on(self) -> None:
        for host in self.hosts.values():
            host.go_on()

    def check(self) -> None:
        """Nothing is under way, nothing was done twice, and records, disks and guests agree."""
        until(lambda: not self.flows(), "every flow is over")
        log, pools, claims = schema.flow_log, schema.pools, schema.claims
        with self.db.read() as tx:
            done = list(tx.execute(sa.select(log.c.flow_id, log.c.attempt, log.c.step, log.c.event)))
            claimed = dict(
                tx.execute(sa.select(claims.c.pool_id, sa.func.sum(claims.c.gib)).group_by(claims.c.pool_id)).all()
            )
            counted = {row.id: row.claimed_gib for row in tx.execute(sa.select(pools))}
            reservations = tx.execute(sa.select(schema.reservations)).all()
        assert len(set(done)) == len(done), "a step of a flow was written down twice"
        assert counted == {id: claimed.get(id, 0) for id in counted} and not reservations
        for api in (self.a1, self.a2):
            assert api.get("/v1/audit")["differences"] == []
        with self.db.read() as tx:
            volumes = {f"volume-{id}" for id in tx.scalars(sa.select(schema.volumes.c.id))}
        bricks = [name for host in self.hosts.values() for name in host.litter()]
        assert sorted(bricks) == sorted(volumes), "each volume is one brick, and nothing else lies there"
