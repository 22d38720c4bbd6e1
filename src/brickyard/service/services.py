"""Services as the field knows them: each backend is a `cinder-volume`, the conductor is the `cinder-scheduler`.

An administrator disables a backend, and it takes no new volumes; what is on it stays in use.
"""

from __future__ import annotations

from dataclasses import dataclass

from brickyard.core import clock, errors
from brickyard.db import hosts
from brickyard.db.database import Row, Tx
from brickyard.service.site import Site

VOLUME, SCHEDULER, API = "cinder-volume", "cinder-scheduler", "cinder-api"
FROZEN = "frozen"


@dataclass(frozen=True, slots=True)
class Service:
    """`up`: it reports, and its storage works; `backend_up` is None for what is no backend."""

    binary: str
    host: str
    zone: str
    enabled: bool
    up: bool
    updated_at: str
    disabled_reason: str | None = None
    backend_up: bool | None = None
    frozen: bool = False


def list_(site: Site, *, host: str | None = None, binary: str | None = None) -> list[Service]:
    """All services; `host` is host@backend, or a host with all its backends."""
    with site.db.read() as tx:
        found = [scheduler(site), *(_volume(site, row) for row in hosts.list_backends(tx))]
    return [
        service
        for service in found
        if binary in (None, service.binary) and (host is None or host in (service.host, service.host.partition("@")[0]))
    ]


def switch(site: Site, *, host: str, binary: str, enabled: bool, reason: str | None = None) -> None:
    """Enable or disable a backend for new volumes. Without a scheduler nothing would work: that one stays."""
    if binary == SCHEDULER and host == scheduler(site).host:
        raise errors.Invalid(f"{SCHEDULER} cannot be disabled; disable a {VOLUME}.", field="binary")
    with site.db.begin() as tx:
        row = require(tx, host) if binary == VOLUME else None
        if row is None:
            raise errors.NotFound(f"Service {binary} could not be found on host {host}.")
        check_switch(row.frozen, host, enabled=enabled)
        hosts.update_backend(tx, row.id, enabled=enabled, disabled_reason=reason)
    site.world.places.refresh()


def check_switch(frozen: bool, host: str, *, enabled: bool) -> None:
    """What is frozen is disabled, and stays so until it is thawed."""
    if enabled and frozen:
        raise errors.Invalid(f"Backend {host} is frozen; thaw it, which enables it too.", field="host")


def freeze(site: Site, host: str, *, frozen: bool) -> None:
    """Keep a backend as it is, for work on its storage: no request makes, changes or deletes anything there, while what
    is there stays in use. Or let it go again. What is so already is fine, and a disabled one is enabled only when it
    was frozen."""
    with site.db.begin() as tx:
        row = _known(tx, host)
        if bool(row.frozen) != frozen:
            reason = FROZEN if frozen else None
            hosts.update_backend(tx, row.id, frozen=frozen, enabled=not frozen, disabled_reason=reason)
    site.world.places.refresh()


def failover(site: Site, host: str) -> None:
    """Always refused: no backend here is replicated anywhere."""
    with site.db.read() as tx:
        _known(tx, host)
    raise errors.Invalid(
        f"replication_status of {host} must be enabled or failed-over to fail over, and it is disabled: this "
        "backend is not replicated.",
        field="host",
    )


def _known(tx: Tx, host: str) -> Row:
    row = hosts.find_backend(tx, host)
    if row is None:
        raise errors.Invalid(f"Service {VOLUME} could not be found on host {host}; use host@backend.", field="host")
    return row


def require(tx: Tx, host: str) -> Row:
    """The backend named host@backend; NotFound otherwise."""
    row = hosts.find_backend(tx, host)
    if row is None:
        raise errors.NotFound(f"Service {VOLUME} could not be found on host {host}; it must look like host@backend.")
    return row


def contents(site: Site, host: str) -> list[hosts.Contents]:
    """What lies on a backend, or on all backends of a host: in all, and by project."""
    with site.db.read() as tx:
        backends = [row for row in hosts.list_backends(tx) if host in (row.name, row.host)]
        if not backends:
            raise errors.NotFound(f"Host {host} could not be found.")
        by_project = hosts.contents(tx, [row.id for row in backends])
    sums = [sum(column) for column in zip(*(one[1:] for one in by_project), strict=True)] or [0, 0, 0, 0]
    return [hosts.Contents("(total)", *sums), *by_project]


def _volume(site: Site, row: Row) -> Service:
    reports = (row.heartbeat_at or "") >= clock.stamp(-site.settings.service_down_time_s)
    return Service(
        binary=VOLUME,
        host=row.name,
        zone=row.availability_zone,
        enabled=bool(row.enabled and row.host_enabled),
        up=bool(reports and row.up),
        updated_at=row.heartbeat_at or row.updated_at or row.created_at,
        disabled_reason=row.disabled_reason,
        backend_up=bool(row.up),
        frozen=bool(row.frozen),
    )


def scheduler(site: Site) -> Service:
    """The conductor runs in the process that answers: on the host whose node that is too, where there is one."""
    names = site.world.nodes.own() or site.world.nodes.names()
    return Service(
        binary=SCHEDULER,
        host=names[0] if names else "localhost",
        zone=site.settings.availability_zone,
        enabled=True,
        up=True,
        updated_at=clock.stamp(),
    )
