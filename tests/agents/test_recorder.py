"""What agents report, recorded by a conductor that was not there for long."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from tests import rabbit, world
from tests.agents.rig import until
from tests.agents.test_calls import Asked, Bench

from brickyard.core.settings import Agents
from brickyard.db import agents, schema
from brickyard.service import recorder, reports


def made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def test_a_conductor_that_starts_waits_for_hosts_that_nobody_has_recorded(
    tmp_path: Path, broker: rabbit.Rabbit
) -> None:
    site, bench = world.make(made(tmp_path / "site"), {"m": "memory"}, None), Bench(made(tmp_path / "node"), broker)
    bench.asker.stop()  # it would take what is reported

    def heard() -> str:
        with site.db.read() as tx:
            return str(tx.scalar(sa.select(schema.hosts.c.heartbeat_at).where(schema.hosts.c.name == bench.host)))

    reports.record(site.db, bench.local.report())
    with site.db.begin() as tx:
        agents.invite(tx, bench.host, "token", 60)
        tx.execute(sa.update(schema.hosts).values(heartbeat_at="2000"))
    conductor = recorder.Agents(site.db, site.world.places, Agents(bench.broker), 60)
    conductor.start()
    try:
        starting = Asked(conductor.catch_up, 60)
        until(lambda: conductor._awaited == {bench.host}, "it waits for the host")
        assert starting.is_alive() and heard() == "2000"
        until(lambda: bench.agent.notify(None) or not starting.is_alive(), "it goes on when the host is heard")
        assert heard() > "2000"
    finally:
        conductor.stop()
        bench.close()
        site.db.close()
