"""`brickyard serve`: API, conductor and node in one process, on one database in one directory."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import Protocol

from brickyard.core import clock, errors
from brickyard.core.settings import Settings
from brickyard.daemons import backends, logs, notify, state_dir
from brickyard.db import alone, database, flows, hosts, migrate
from brickyard.db.database import Database
from brickyard.hypervisor import machine
from brickyard.nodes import local

LOG = logging.getLogger(__name__)
FIRST_REPORT_S = 5.0  # a disk that hangs may delay its own backend, and not the API for longer than this


def run(settings: Settings, *, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM. `say` tells the person who started it what they need to know; the log is for the rest."""
    started = clock.monotonic()
    logs.configure(debug=settings.debug)
    for warning in settings.warnings:
        LOG.warning("configuration: %s", warning)
    state_dir.prepare(settings.state_dir)
    with state_dir.held(settings.state_dir):
        db = database.Database(settings.database_url)
        try:
            with alone.Alone(db, lost=lambda: os.kill(os.getpid(), signal.SIGTERM)):
                before, now = migrate.upgrade(db)
                if before != now:
                    LOG.info("the database is at revision %s now", now, extra={"was": before})
                _serve(settings, db, lambda: _ready(settings, say, started))
        finally:
            db.close()
    LOG.info("stopped")


def _serve(settings: Settings, db: Database, on_ready: Callable[[], None]) -> None:
    # Imported here, so that a mistake in the configuration is told before a second is spent on the rest.
    from brickyard.api import app
    from brickyard.daemons import http_server
    from brickyard.flows import catalogue, conductor, places, world
    from brickyard.nodes.directory import Directory
    from brickyard.service import policy, site

    http_server.check_free(settings.listen_host, settings.listen_port)
    service = settings.service
    _resume(db)
    node = make_node(settings, db)
    picture = places.Places(db, service)
    reporter = Reporter(node, db, picture, service.report_interval_s)
    reporter.start()
    if not reporter.wait_for_first(FIRST_REPORT_S):
        LOG.warning("the first report of this host takes long; its pools appear when it is there")
    picture.refresh()
    everything = world.World(db, Directory({node.host: node}), picture, service, settings.state_dir / "images")
    worker = conductor.Conductor(db, everything, catalogue.FLOWS, service.conductor_threads)
    rules = policy.Policy(service.policy_file)

    def ready() -> None:
        on_ready()
        rules.warm()

    server = http_server.InProcess(
        app.create_app(site.Site(everything, worker, rules)),
        host=settings.listen_host,
        port=settings.listen_port,
        on_ready=ready,
    )
    worker.start()
    try:
        server.run()
    finally:
        notify.tell("STOPPING=1")
        reporter.stop()
        worker.stop()


def _resume(db: Database) -> None:
    """Free the flows of the run before this one; the locks on directory and database prove that nobody holds them."""
    with db.begin() as tx:
        left = flows.abandon(tx)
    if left:
        LOG.info("%s flows were not finished when the last run ended; they are resumed", left)


def _ready(settings: Settings, say: Callable[[str], None], started: float) -> None:
    gc.freeze()  # what is there by now is no garbage, and need not be looked at again
    gc.enable()
    LOG.info("ready", extra={"seconds": round(clock.monotonic() - started, 3), "port": settings.listen_port})
    host = f"[{settings.listen_host}]" if ":" in settings.listen_host else settings.listen_host
    url = f"http://{host}:{settings.listen_port}"
    here = f" --state-dir {settings.state_dir}"
    lines = [f"Brickyard listens on {url}", f"  data    {settings.state_dir}"]
    if settings.service.auth_strategy == "token":
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
    known = {backend.name: backends.configured(backend) for backend in settings.node.backends}
    maker = backends.Maker(settings.state_dir, settings.service.availability_zone, known)
    for name, options in _made_before(db, settings.node.host):
        if name in known:
            LOG.warning("backend %s was made through the API and is in the configuration now, which counts", name)
            continue
        known[name] = maker.again(name, options)
    node = local.LocalNode(
        host=settings.node.host,
        labels=settings.node.labels,
        vcpus=settings.node.vcpus,
        memory_mib=settings.node.memory_mib,
        backends=list(known.values()),
        hypervisor=_hypervisor(settings),
        make=maker,
    )
    maker.taken = node.backends
    return node


def _made_before(db: Database, host: str) -> list[tuple[str, dict[str, object]]]:
    with db.read() as tx:
        rows = [row for row in hosts.list_backends(tx) if row.host == host and row.options is not None]
    # One that is only being made has no storage yet: its flow goes on, and adds it.
    return [(row.name.partition("@")[2], row.options) for row in rows if row.why_down != hosts.BEING_MADE]


def _hypervisor(settings: Settings) -> machine.Hypervisor | None:
    """What runs instances here; None, with a warning that says why, when nothing can."""
    if settings.node.hypervisor == "none":
        return None
    if settings.node.hypervisor == "memory":
        from brickyard.hypervisor import memory

        return memory.Memory()
    from brickyard.hypervisor import qemu

    found = qemu.Qemu(settings.state_dir, accel=settings.node.acceleration)
    try:
        found.check()
    except errors.BrickyardError as error:
        LOG.warning("no instances can run on this host: %s", error)
        return None
    return found


class Refreshable(Protocol):
    def refresh(self) -> None: ...


class Reporter:
    """A thread that asks the node how it is, and records the answer: once at the start, then again and again, and as
    soon as the watch over its pools has something to tell. The watch goes on while the database does not answer."""

    def __init__(self, node: local.LocalNode, db: Database, places: Refreshable, interval_s: float) -> None:
        self.node, self.db, self.places, self.interval_s = node, db, places, interval_s
        self._first, self._stopping, self._due = threading.Event(), threading.Event(), threading.Event()
        node.watch.on_change = self._due.set  # what has changed is told at once
        self._thread = threading.Thread(target=self._work, name="reporter", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self.node.watch.start()

    def wait_for_first(self, timeout_s: float) -> bool:
        return self._first.wait(timeout_s)

    def stop(self, timeout_s: float = 5) -> None:
        self._stopping.set()
        self._due.set()
        self.node.watch.stop(timeout_s)
        self._thread.join(timeout_s)

    def _work(self) -> None:
        self._attempt(self.node.start)
        while True:
            self._attempt(self._report)
            self._first.set()
            self._due.wait(self.interval_s)
            self._due.clear()
            if self._stopping.is_set():
                return

    def _report(self) -> None:
        from brickyard.service import instances, reports

        reports.record(self.db, self.node.report())
        instances.observe(self.db, self.node.host, self.node.guests)
        self.places.refresh()

    def _attempt(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception:
            LOG.exception("the report of this host failed; it is repeated in %s s", self.interval_s)
