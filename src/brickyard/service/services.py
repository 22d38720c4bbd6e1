"""Services as the field knows them: each backend is a `cinder-volume`, the conductor is the `cinder-scheduler`,
and what makes the backups of a host is its `cinder-backup`.

An administrator disables a backend, and it takes no new volumes; what is on it stays in use.
"""

from __future__ import annotations

from dataclasses import dataclass

from brickyard.core import clock, errors
from brickyard.db import backup_services as rows
from brickyard.db import hosts, processes
from brickyard.db.database import Row, Tx
from brickyard.service import backup_services
from brickyard.service.site import Site

VOLUME, SCHEDULER, BACKUP, API = "cinder-volume", "cinder-scheduler", "cinder-backup", "cinder-api"
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
        found = [*_schedulers(site, tx), *(_volume(site, row) for row in hosts.list_backends(tx))]
        found += [_backup(site, row) for row in rows.list_(tx)]
    return [
        service
        for service in found
        if binary in (None, service.binary) and (host is None or host in (service.host, service.host.partition("@")[0]))
    ]


def switch(site: Site, *, host: str, binary: str, enabled: bool, reason: str | None = None) -> None:
    """Enable or disable a backend for new volumes, or the service of a host for new backups. Without a scheduler
    nothing would work: that one stays."""
    with site.db.begin() as tx:
        if binary == SCHEDULER and host in {one.host for one in _schedulers(site, tx)}:
            raise errors.Invalid(f"{SCHEDULER} cannot be disabled; disable a {VOLUME}.", field="binary")
        if binary == BACKUP and rows.switch(tx, host, enabled=enabled, reason=reason):
            return
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


def _backup(site: Site, row: Row) -> Service:
    return Service(
        binary=BACKUP,
        host=row.host,
        zone=backup_services.zone_of(site, row),
        enabled=bool(row.enabled),
        up=bool(row.up and backup_services.reports(site, row)),
        updated_at=row.heartbeat_at or row.updated_at or row.created_at,
        disabled_reason=row.disabled_reason,
    )


def own_host(site: Site) -> str:
    """Where this process is: on the host whose node it is too, where there is one."""
    own = site.world.nodes.own()
    return own[0] if own else site.host


def processes_up(site: Site, tx: Tx) -> dict[tuple[str, str], bool]:
    """(binary, host) → whether one is there, of the processes that share the database; a conductor is a scheduler."""
    oldest = clock.stamp(-site.settings.service_down_time_s)
    found: dict[tuple[str, str], bool] = {}
    for row in processes.list_(tx):
        of = row.binary, row.host
        found[of] = found.get(of, False) or row.heartbeat_at >= oldest
    return found


def _schedulers(site: Site, tx: Tx) -> list[Service]:
    """The conductor of this process, or those that share its database."""
    if site.waker.here:
        return [_scheduler(site, own_host(site), up=True, updated_at=clock.stamp())]
    latest = {row.host: row.heartbeat_at for row in sorted(processes.list_(tx), key=lambda row: row.heartbeat_at)}
    known = processes_up(site, tx)
    return [
        _scheduler(site, host, up=up, updated_at=latest[host])
        for (binary, host), up in known.items()
        if binary == SCHEDULER
    ]


def _scheduler(site: Site, host: str, *, up: bool, updated_at: str) -> Service:
    return Service(
        binary=SCHEDULER,
        host=host,
        zone=site.settings.availability_zone,
        enabled=True,
        up=up,
        updated_at=updated_at,
    )
