"""Which service makes, restores or deletes a backup. One does so for the volumes of its own host."""

from __future__ import annotations

from collections.abc import Collection

from brickyard.core import clock, errors, pools
from brickyard.db import backup_services
from brickyard.db.database import Row, Tx
from brickyard.service.site import Site

NONE = "Service cinder-backup could not be found"


def reports(site: Site, row: Row) -> bool:
    """Whether its host has been heard of lately."""
    return bool(row.heartbeat_at and row.heartbeat_at > clock.stamp(-site.settings.service_down_time_s))


def zone_of(site: Site, row: Row) -> str:
    return str(row.labels.get("zone") or site.settings.availability_zone)


def for_volume(site: Site, tx: Tx, pool: str, *, zone: str | None = None) -> Row:
    """The service that backs up what lies on a pool; Unavailable when there is none that does."""
    host = pools.parse(pool).host
    row = backup_services.of_host(tx, host)
    if row is None:
        raise errors.Unavailable(f"{NONE} on host {host}, where the volume lies: set backup_driver there.")
    if not row.enabled:
        raise errors.Unavailable(f"{NONE}: that of host {host} is disabled.")
    _check_up(site, row)
    if zone is not None and zone != zone_of(site, row):
        raise errors.Unavailable(
            f"{NONE} in availability zone {zone} that reaches the volume: that of its host is in {zone_of(site, row)}."
        )
    return row


def reaching(site: Site, tx: Tx, place: str, hosts: Collection[str] | None = None) -> list[Row]:
    """The services that are up and reach a place, of these hosts (None: of any); Unavailable when there is none."""
    there = [row for row in backup_services.of_place(tx, place) if hosts is None or row.host in hosts]
    up = [row for row in there if row.up and reports(site, row)]
    if up:
        return up
    if there:
        _check_up(site, there[0])
    where = f" of host {', '.join(sorted(hosts))}" if hosts else ""
    raise errors.Unavailable(f"{NONE}{where} that reaches the backup: it is kept at {place}.")


def _check_up(site: Site, row: Row) -> None:
    if not reports(site, row):
        raise errors.Unavailable(f"{NONE}: host {row.host} has not reported since {row.heartbeat_at}.")
    if not row.up or row.place is None:
        raise errors.Unavailable(f"{NONE}: that of host {row.host} is down: {row.why_down}")
