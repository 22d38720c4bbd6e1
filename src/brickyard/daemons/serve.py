"""`brickyard serve`: API, conductor and node in one process, on one database in one directory."""

from __future__ import annotations

import functools
import gc
import logging
import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from brickyard.compute import Compute
from brickyard.core import clock
from brickyard.core.settings import Service, Settings
from brickyard.daemons import logs, notify, own_node, state_dir, tracing
from brickyard.db import alone, database, flows, hosts, migrate
from brickyard.db.database import Database
from brickyard.glance import Glance
from brickyard.nodes import local

if TYPE_CHECKING:
    from brickyard.flows.places import Places
    from brickyard.service.policy import Policy
    from brickyard.service.recorder import Agents
    from brickyard.service.site import Identity

LOG = logging.getLogger(__name__)


def run(settings: Settings, *, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM. `say` tells the person who started it what they need to know; the log is for the rest."""
    started = clock.monotonic()
    logs.configure(debug=settings.debug)
    for warning in settings.warnings:
        LOG.warning("configuration: %s", warning)
    state_dir.prepare(settings.state_dir)
    with tracing.of(settings.tracing, "serve", settings.node.host), state_dir.held(settings.state_dir):
        db = database.Database(settings.database_url)
        try:
            with alone.Alone(db, lost=lambda: os.kill(os.getpid(), signal.SIGTERM)):
                before, now = migrate.upgrade(db)
                if before != now:
                    LOG.info("the database is at revision %s now", now, extra={"was": before})
                _serve(settings, db, lambda: ready(settings, say, started))
        finally:
            db.close()
    LOG.info("stopped")


def _serve(settings: Settings, db: Database, on_ready: Callable[[], None]) -> None:
    # Imported here, so that a mistake in the configuration is told before a second is spent on the rest.
    from brickyard.api import app
    from brickyard.daemons import http_server
    from brickyard.flows import catalogue, conductor, places, world
    from brickyard.nodes.directory import Directory
    from brickyard.service import reports, site

    http_server.check_free(settings.listen_host, settings.listen_port)
    service = settings.service
    rules, asked = policy_of(service), identity(service)
    _resume(db)
    picture = places.Places(db, service)
    nodes, reporter = {}, None
    if settings.run_node:
        node = make_node(settings, db)
        nodes[node.host] = node
        reporter = own_node.Reporter(node, lambda: reports.take(db, picture, node), service.report_interval_s)
        reporter.start()
        if not reporter.wait_for_first(own_node.FIRST_REPORT_S):
            LOG.warning("the first report of this host takes long; its pools appear when it is there")
    picture.refresh()
    agents = _agents(settings, db, picture)
    directory = Directory(nodes, agents, functools.partial(hosts.refuse_lost, db))
    images = settings.state_dir / "images"
    everything = world.World(db, directory, picture, service, images, *services(service))
    worker = conductor.Conductor(db, everything, catalogue.FLOWS, service.conductor_threads, service.flow_lease_s)

    def ready() -> None:
        on_ready()
        rules.warm()

    server = http_server.InProcess(
        app.create_app(site.Site(everything, worker, rules, settings.agents, asked, settings.node.host)),
        host=settings.listen_host,
        port=settings.listen_port,
        on_ready=ready,
        ahead=asked.ahead if asked else None,
    )
    if agents:
        agents.start()
    worker.start()
    try:
        server.run()
    finally:
        notify.tell("STOPPING=1")
        worker.end()
        if reporter:
            reporter.stop()
        if agents:
            agents.stop()
        worker.stop()


def services(service: Service) -> tuple[Glance | None, Compute | None]:
    """The image service and the compute service of the cloud."""
    images = Glance(service.glance, service.keystone) if service.glance is not None else None
    return images, Compute(service.compute, service.keystone) if service.auth_strategy == "keystone" else None


def policy_of(service: Service) -> Policy:
    """Who may do what; a file with a mistake stops the start."""
    from brickyard.service import policy

    rules = policy.Policy(service.policy_file)
    for warning in rules.warnings:
        LOG.warning("policy: %s", warning)
    return rules


def identity(service: Service) -> Identity | None:
    """Who says whose a token is, where that is not we."""
    from brickyard.api import keystone

    return keystone.Keystone(service.keystone) if service.auth_strategy == "keystone" else None


def _agents(settings: Settings, db: Database, picture: Places) -> Agents | None:
    """The agents of other hosts. Imported only where there may be some."""
    if settings.agents is None:
        return None
    from brickyard.service import recorder

    return recorder.Agents(db, picture, settings.agents, settings.service.report_interval_s)


def _resume(db: Database) -> None:
    """Free the flows of the run before this one; the locks on directory and database prove that nobody holds them."""
    with db.begin() as tx:
        left = flows.abandon(tx)
    if left:
        LOG.info("%s flows were not finished when the last run ended; they are resumed", left)


def ready(settings: Settings, say: Callable[[str], None], started: float) -> None:
    """The API answers: tell whoever started it."""
    gc.freeze()  # what is there by now is no garbage, and need not be looked at again
    gc.enable()
    LOG.info("ready", extra={"seconds": round(clock.monotonic() - started, 3), "port": settings.listen_port})
    host = f"[{settings.listen_host}]" if ":" in settings.listen_host else settings.listen_host
    url = f"http://{host}:{settings.listen_port}"
    here = f" --state-dir {settings.state_dir}"
    lines = [f"Brickyard listens on {url}", f"  data    {settings.state_dir}"]
    if settings.service.auth_strategy == "keystone":
        lines.append(f"  token   of Keystone at {settings.service.keystone['auth_url']}")
        auth = "--os-auth-type token --os-auth-url KEYSTONE --os-token TOKEN --os-project-name PROJECT --os-endpoint"
    elif settings.service.auth_strategy == "token":
        lines.append(f"  token   brickyard token create --user me --project demo --role member{here}")
        auth = "--os-auth-type admin_token --os-token TOKEN --os-endpoint"
    else:
        lines.append("  token   none is needed: every caller on this machine is an administrator")
        auth = "--os-auth-type none --os-endpoint"
    lines.append(f"  client  openstack {auth} {url}/v3 volume list")
    say("\n".join(lines))
    notify.tell(f"READY=1\nSTATUS=answers on {url}")


# the node --------------------------------------------------------------------------------------------------------


def make_node(settings: Settings, db: Database) -> local.LocalNode:
    """This host, with the backends of its configuration and those that were made through the API."""
    from brickyard.service import reports

    return own_node.make(settings, reports.made_through_api(db, settings.node.host))
