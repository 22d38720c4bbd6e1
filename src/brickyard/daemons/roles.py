"""`brickyard api` and `brickyard conductor`: what `brickyard serve` is, as processes of their own, any number of each.

They share a database server and a message broker; the nodes of hosts are agents. What each keeps in its memory is a
picture, and the database decides: any of them may die at any moment.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from brickyard.core import clock, errors
from brickyard.core.settings import Agents, Settings
from brickyard.daemons import logs, notify, serve, state_dir, tracing
from brickyard.db import alone, database, hosts, migrate
from brickyard.db.database import Database

if TYPE_CHECKING:
    from brickyard.flows.world import World
    from brickyard.service import recorder

LOG = logging.getLogger(__name__)


def api(settings: Settings, *, say: Callable[[str], None]) -> None:
    """Answer requests until SIGTERM."""
    started = clock.monotonic()
    with _shared(settings, "api") as (db, agents):
        from brickyard.api import app
        from brickyard.daemons import http_server
        from brickyard.service import presence, services, site, waking

        http_server.check_free(settings.listen_host, settings.listen_port)
        rules, asked = serve.policy_of(settings.service), serve.identity(settings.service)
        nodes, world = _world(settings, db, agents, None)
        waker = waking.Elsewhere(db, nodes.asker.wake)
        host = settings.node.host

        def ready() -> None:
            serve.ready(settings, say, started)
            rules.warm()

        made = app.create_app(site.Site(world, waker, rules, agents, asked, host))
        server = http_server.InProcess(
            made,
            host=settings.listen_host,
            port=settings.listen_port,
            on_ready=ready,
            ahead=asked.ahead if asked else None,
        )
        nodes.start()
        waker.start()
        try:
            with presence.shown(db, settings.service, services.API, host, waker.dead):
                server.run()
        finally:
            notify.tell("STOPPING=1")
            waker.stop()
            nodes.stop()


def conductor(settings: Settings, *, say: Callable[[str], None]) -> None:
    """Run flows until SIGTERM, then end the steps that run; others take over the rest."""
    with _shared(settings, "conductor") as (db, agents):
        from brickyard.flows import catalogue
        from brickyard.flows import conductor as work
        from brickyard.service import presence, services

        stopping = threading.Event()
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda number, frame: stopping.set())
        nodes, world = _world(settings, db, agents, lambda id: worker.wake(id))
        service, host = settings.service, settings.node.host
        worker = work.Conductor(db, world, catalogue.FLOWS, service.conductor_threads, service.flow_lease_s)
        nodes.start()
        nodes.catch_up(2 * service.report_interval_s)
        worker.start()
        try:
            with presence.shown(db, service, services.SCHEDULER, host, worker.dead):
                LOG.info("ready")
                say(f"Conductor on host {host}, of the message broker at {', '.join(agents.broker.servers)}")
                notify.tell(f"READY=1\nSTATUS=conductor on {host}")
                stopping.wait()
        finally:
            notify.tell("STOPPING=1")
            worker.end()
            nodes.stop()
            worker.stop()


@contextmanager
def _shared(settings: Settings, role: str) -> Iterator[tuple[Database, Agents]]:
    """The database, which others may use at the same time, and the broker; Invalid when there is nothing to share."""
    logs.configure(debug=settings.debug)
    for warning in settings.warnings:
        LOG.warning("configuration: %s", warning)
    if settings.database_url.startswith("sqlite"):
        raise errors.Invalid(
            f"`brickyard {role}` shares its database with others, and SQLite is for one process: set connection in "
            "[database] to PostgreSQL or MariaDB, or run `brickyard serve`.",
            field="connection",
        )
    if settings.agents is None:
        raise errors.Invalid(
            f"`brickyard {role}` reaches the nodes of hosts over a message broker: set transport_url, or run "
            "`brickyard serve`.",
            field="transport_url",
        )
    state_dir.prepare(settings.state_dir)
    db = database.Database(settings.database_url)
    try:
        with (
            tracing.of(settings.tracing, role, settings.node.host),
            alone.Alone(db, lost=lambda: os.kill(os.getpid(), signal.SIGTERM), shared=True),
        ):
            migrate.check(db)
            yield db, settings.agents
    finally:
        db.close()
    LOG.info("stopped")


def _world(
    settings: Settings, db: Database, agents: Agents, on_wake: Callable[[str], None] | None
) -> tuple[recorder.Agents, World]:
    """The nodes and what flows work on. Whoever is woken by others is a conductor, and records what hosts report."""
    from brickyard.flows import places, world
    from brickyard.nodes.directory import Directory
    from brickyard.service import recorder

    picture = places.Places(db, settings.service)
    picture.refresh()
    interval_s = settings.service.report_interval_s
    nodes = recorder.Agents(db, picture, agents, interval_s, records=on_wake is not None, on_wake=on_wake)
    directory = Directory({}, nodes, functools.partial(hosts.refuse_lost, db))
    images = settings.state_dir / "images"
    asked = serve.services(settings.service)
    return nodes, world.World(db, directory, picture, settings.service, images, *asked)
