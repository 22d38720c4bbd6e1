"""What /metrics shows: requests as they are counted here, and the state of the site as the database has it.

Labels are few and bounded: the template of a route and never its path, the name of a flow and never its id.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata

import prometheus_client as prometheus
from prometheus_client import core as families

from brickyard.core import clock, fullness
from brickyard.db import cached_images, figures, hosts, migrate, overviews
from brickyard.db.database import Row, Tx
from brickyard.service import hosts as host_rules
from brickyard.service import services
from brickyard.service.site import Site

CONTENT_TYPE = prometheus.CONTENT_TYPE_LATEST
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
UNROUTED = "unrouted"

# One more line for each series, which nothing asks for.
prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = prometheus.CollectorRegistry(auto_describe=True)
REQUESTS = prometheus.Histogram(
    "brickyard_http_request_seconds",
    "Requests by template of the route, method and status: their number and how long they took.",
    ("route", "method", "status"),
    buckets=BUCKETS_S,
    registry=REGISTRY,
)
prometheus.ProcessCollector(registry=REGISTRY)
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


def count(route: str | None, method: str, status: str, seconds: float) -> None:
    """Count one finished request."""
    _series(route or UNROUTED, method if method in METHODS else "other", status).observe(seconds)


@functools.cache
def _series(route: str, method: str, status: str) -> prometheus.Histogram:
    return REQUESTS.labels(route, method, status)


def exposition(site: Site) -> bytes:
    """The text that a Prometheus server scrapes."""
    state = prometheus.CollectorRegistry(auto_describe=False)
    state.register(_State(site))
    return bytes(prometheus.generate_latest(REGISTRY)) + bytes(prometheus.generate_latest(state))


class _State:
    """The state of the site, read when somebody asks: a few statements, whatever the number of volumes."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def collect(self) -> Iterator[families.Metric]:
        db = self._site.db
        with db.read() as tx:
            pools, backends, known = hosts.list_pools(tx), hosts.list_backends(tx), hosts.list_hosts(tx)
            wiping = overviews.deleting_gib(tx)
            flows = list(_flows(tx))
            kept = cached_images.kept(tx)
            statuses = {noun: figures.status_counts(tx, noun) for noun in figures.COUNTED}
            others = services.processes_up(self._site, tx)
            held, bytes_ = figures.held_guests(tx), figures.database_bytes(tx)
        about = {"version": metadata.version("brickyard"), "revision": migrate.head(), "database": db.dialect}
        yield _gauge("brickyard_info", "Always 1; what runs.", tuple(about), [(tuple(about.values()), 1)])
        yield _gauge("brickyard_database_bytes", "Size of the database.", (), [((), bytes_)])
        if (free := figures.database_free_bytes(db)) is not None:
            yield _gauge("brickyard_database_free_bytes", "Free on the file system of SQLite.", (), [((), free)])
        up = [(of, float(there)) for of, there in others.items()]
        help = "1 while an API or a conductor is there, of those that share the database."
        yield _gauge("brickyard_process_up", help, ("binary", "host"), up)
        yield from _hosts(known, clock.stamp(-self._site.settings.service_down_time_s))
        for name, help in POOLS.items():
            values = [((pool.name,), getattr(pool, name)) for pool in pools]
            yield _gauge(f"brickyard_pool_{name}", help, ("pool",), values)
        help = "What is promised of a pool to what is being deleted."
        values = [((pool.name,), wiping.get(pool.id, 0)) for pool in pools]
        yield _gauge("brickyard_pool_wiping_gib", help, ("pool",), values)
        yield from _image_cache(pools, kept)
        yield from _fullness(pools)
        up = [((backend.name, backend.driver), float(bool(backend.up))) for backend in backends]
        yield _gauge("brickyard_backend_up", "1 when a backend works.", ("backend", "driver"), up)
        enabled = [((backend.name,), float(bool(backend.enabled))) for backend in backends]
        yield _gauge("brickyard_backend_enabled", "0 when no new volumes may go there.", ("backend",), enabled)
        yield from flows
        for noun, rows in statuses.items():
            values = [((row.status,), row.number) for row in rows]
            yield _gauge(f"brickyard_{noun}", f"All {noun} by status.", ("status",), values)
        yield _gauge("brickyard_instances_held", "Instances that are paused for want of room.", (), [((), held)])


POOLS = {
    "total_gib": "Size of the storage under a pool.",
    "free_gib": "What is really free of it.",
    "limit_gib": "What may be promised of a pool.",
    "claimed_gib": "What is promised of a pool.",
}
HOSTS = {
    "vcpus_total": "Processors for instances.",
    "vcpus_claimed": "Processors that are promised.",
    "memory_mib_total": "Memory for instances.",
    "memory_mib_claimed": "Memory that is promised.",
}
Values = Sequence[tuple[tuple[str, ...], float]]


def _gauge(name: str, help: str, labels: tuple[str, ...], values: Values) -> families.Metric:
    gauge = families.GaugeMetricFamily(name, help, labels=labels)
    for of, value in values:
        gauge.add_metric(of, value)
    return gauge


def _age_s(since: str | None) -> float:
    """Seconds since a time of the database; 0 of none."""
    return max(0.0, (clock.now() - datetime.datetime.fromisoformat(since)).total_seconds()) if since else 0.0


def _flows(tx: Tx) -> Iterator[families.Metric]:
    counts = [((row.name, row.status), row.number) for row in figures.flow_counts(tx)]
    yield _gauge("brickyard_flows", "Flows that are kept, by name and status.", ("name", "status"), counts)
    queue = figures.queue(tx)
    yield _gauge("brickyard_flows_waiting", "Flows that are due and have no conductor.", (), [((), queue.waiting)])
    help = "For how long the oldest of them has been due."
    yield _gauge("brickyard_flows_waiting_seconds", help, (), [((), _age_s(queue.since))])
    open_ = figures.open_flows(tx)
    help = "Age of the oldest flow that is not over."
    ages = [((row.name, row.status), _age_s(row.oldest)) for row in open_]
    yield _gauge("brickyard_flow_oldest_seconds", help, ("name", "status"), ages)
    help = "How often an undo of one flow has failed and was put off, of the flow where that is most."
    values = [((row.name, row.status), row.setbacks) for row in open_]
    yield _gauge("brickyard_flow_setbacks", help, ("name", "status"), values)


def _hosts(known: Sequence[Row], oldest: str) -> Iterator[families.Metric]:
    up = [((host.name,), float(host_rules.up(host, oldest))) for host in known]
    yield _gauge("brickyard_host_up", "1 while a host reports.", ("host",), up)
    ages = [((host.name,), _age_s(host.heartbeat_at)) for host in known if host.heartbeat_at]
    yield _gauge("brickyard_host_report_age_seconds", "Since the last report of a host.", ("host",), ages)
    enabled = [((host.name,), float(bool(host.enabled))) for host in known]
    yield _gauge("brickyard_host_enabled", "0 when nothing new may go there.", ("host",), enabled)
    for name, help in HOSTS.items():
        yield _gauge(f"brickyard_host_{name}", help, ("host",), [((host.name,), getattr(host, name)) for host in known])


def _image_cache(pools: Sequence[Row], kept: Mapping[str, tuple[int, int]]) -> Iterator[families.Metric]:
    """What pools keep to clone volumes from, and how often that was of use."""
    for name, help in (
        ("hits", "Volumes of images that their pool kept, or was about to keep."),
        ("misses", "Volumes of images that their pool did not keep, where it keeps some."),
    ):
        counter = families.CounterMetricFamily(f"brickyard_image_cache_{name}", help, labels=("pool",))
        for pool in pools:
            counter.add_metric((pool.name,), getattr(pool, f"image_cache_{name}"))
        yield counter
    for place, (name, help) in enumerate(
        (("images", "Images that a pool keeps."), ("gib", "What is promised to them."))
    ):
        values = [((pool.name,), kept.get(pool.id, (0, 0))[place]) for pool in pools]
        yield _gauge(f"brickyard_image_cache_{name}", help, ("pool",), values)


def _fullness(pools: Sequence[Row]) -> Iterator[families.Metric]:
    """How full pools really are; a pool that cannot fill under its volumes has no percent."""
    for name, of in (("data_percent", "data"), ("metadata_percent", "metadata")):
        values = [((pool.name,), percent) for pool in pools if (percent := getattr(pool, name)) is not None]
        yield _gauge(f"brickyard_pool_{name}", f"How full the {of} of a thin pool really are.", ("pool",), values)
    stages = [((pool.name,), fullness.ORDER.index(fullness.Stage(pool.stage))) for pool in pools]
    yield _gauge("brickyard_pool_stage", "0: ok, 1: warned, 2: frozen, 3: guests are paused.", ("pool",), stages)
