"""What /metrics shows: requests as they are counted here, and the state of the site as the database has it.

Labels are few and bounded: the template of a route and never its path, the name of a flow and never its id.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import prometheus_client as prometheus
from prometheus_client import core as families

from brickyard.core import fullness
from brickyard.db import hosts, overviews
from brickyard.db.database import Row
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
        with self._site.db.read() as tx:
            pools, backends = hosts.list_pools(tx), hosts.list_backends(tx)
            flows = overviews.flow_counts(tx)
            wiping = overviews.deleting_gib(tx)
            statuses = {noun: overviews.status_counts(tx, noun) for noun in ("volumes", "snapshots", "instances")}
        for name, help in (
            ("total_gib", "Size of the storage under a pool."),
            ("free_gib", "What is really free of it."),
            ("limit_gib", "What may be promised of a pool."),
            ("claimed_gib", "What is promised of a pool."),
        ):
            gauge = families.GaugeMetricFamily(f"brickyard_pool_{name}", help, labels=("pool",))
            for pool in pools:
                gauge.add_metric((pool.name,), getattr(pool, name))
            yield gauge
        yield from _fullness(pools)
        gauge = families.GaugeMetricFamily(
            "brickyard_pool_wiping_gib", "What is promised of a pool to what is being deleted.", labels=("pool",)
        )
        for pool in pools:
            gauge.add_metric((pool.name,), wiping.get(pool.id, 0))
        yield gauge
        up = families.GaugeMetricFamily("brickyard_backend_up", "1 when a backend works.", labels=("backend", "driver"))
        for backend in backends:
            up.add_metric((backend.name, backend.driver), float(bool(backend.up)))
        yield up
        gauge = families.GaugeMetricFamily(
            "brickyard_flows", "Flows that are kept, by name and status.", labels=("name", "status")
        )
        for row in flows:
            gauge.add_metric((row.name, row.status), row.number)
        yield gauge
        for noun, rows in statuses.items():
            gauge = families.GaugeMetricFamily(f"brickyard_{noun}", f"All {noun} by status.", labels=("status",))
            for row in rows:
                gauge.add_metric((row.status,), row.number)
            yield gauge


def _fullness(pools: Sequence[Row]) -> Iterator[families.Metric]:
    """How full pools really are; a pool that cannot fill under its volumes has no percent."""
    for name, of in (("data_percent", "data"), ("metadata_percent", "metadata")):
        gauge = families.GaugeMetricFamily(
            f"brickyard_pool_{name}", f"How full the {of} of a thin pool really are.", labels=("pool",)
        )
        for pool in pools:
            if (percent := getattr(pool, name)) is not None:
                gauge.add_metric((pool.name,), percent)
        yield gauge
    gauge = families.GaugeMetricFamily(
        "brickyard_pool_stage", "0: ok, 1: warned, 2: frozen, 3: guests are paused.", labels=("pool",)
    )
    for pool in pools:
        gauge.add_metric((pool.name,), fullness.ORDER.index(fullness.Stage(pool.stage)))
    yield gauge
