"""Backups: what a caller may ask for, each in one transaction: policy, quota, state, rows, flow."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from brickyard.backups.manifest import Where
from brickyard.core import clock, errors, states
from brickyard.core import quotas as quota_rules
from brickyard.core.states import B, S, V
from brickyard.db import backups, hosts, snapshots, store
from brickyard.db.database import Row, Tx
from brickyard.flows import cancel_backup, create_backup, delete_backup
from brickyard.service import abilities, backup_services, quotas, work
from brickyard.service.attachments import held
from brickyard.service.site import Caller, Site

RULE = "volume_extension:backup_admin_actions"
IN_USE = "is the source of a volume that is being created; delete it when that one is available"


@dataclass(frozen=True, slots=True)
class NewBackup:
    """A create request."""

    volume_id: str
    snapshot_id: str | None = None
    name: str | None = None
    description: str | None = None
    container: str | None = None
    incremental: bool = False
    force: bool = False
    availability_zone: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


def create(site: Site, caller: Caller, new: NewBackup) -> Row:
    """Insert the backup, `creating`, with its flow. `force` allows it for a volume that is attached."""
    id = str(uuid.uuid4())
    with site.db.begin() as tx:
        volume = held(tx, caller, new.volume_id)
        site.policy.check("backup:create", caller, volume.project_id)
        snapshot = _snapshot(tx, caller, volume, new.snapshot_id)
        source = snapshot or volume
        if source.host is None:
            raise errors.InvalidState(f"Volume {volume.id} has no place, and so nothing to keep.", field="status")
        if snapshot is None:
            _check_volume(volume, new.force)
        own_snapshot = snapshot is None and volume.status == V.IN_USE
        if own_snapshot:
            hosts.check_thawed(tx, volume.pool_id)
            abilities.require(tx, volume.pool_id, "snapshots", field="force")
        service = backup_services.for_volume(site, tx, source.host, zone=new.availability_zone)
        where = Where(new.container or service.container, id)
        _ = where.prefix  # refuses a container that is no plain name
        moment = snapshot.created_at if snapshot is not None else clock.stamp()
        base = _base(tx, caller, volume.id, service.place, moment) if new.incremental else None
        quotas.take(site, tx, caller.project_id, quota_rules.backup_deltas(source.size_gib))
        backups.insert(
            tx,
            id=id,
            project_id=caller.project_id,
            user_id=caller.user_id,
            name=new.name,
            description=new.description,
            volume_id=volume.id,
            snapshot_id=new.snapshot_id,
            parent_id=base.id if base is not None else None,
            size_gib=source.size_gib,
            status=B.CREATING,
            container=where.container,
            place=service.place,
            host=service.host,
            availability_zone=backup_services.zone_of(site, service),
            metadata=dict(new.metadata),
            of_volume=backups.of_volume(volume),
            data_timestamp=moment,
        )
        store.begin(tx, "snapshot" if snapshot is not None else "volume", source.id, "backup")
        params = create_backup.params(
            backup_id=id,
            volume_id=volume.id,
            snapshot_id=new.snapshot_id,
            own_snapshot=own_snapshot,
            pool=source.host,
            pool_id=source.pool_id,
            gib=source.size_gib,
            container=where.container,
            base={"container": base.container, "id": base.id} if base is not None else None,
            base_snapshot_id=_kept_of(tx, base, source) if base is not None else None,
            owner_id=volume.project_id,
        )
        work.queue(site, caller, tx, "create_backup", params, resource_id=id, project_id=caller.project_id)
        return require(tx, caller, id)


def require(tx: Tx, caller: Caller, id: str) -> Row:
    """The backup, if the caller may see it; NotFound otherwise."""
    row = backups.find(tx, id, caller.sees)
    if row is None:
        raise errors.NotFound(f"Backup {id} could not be found.")
    return row


def held_backup(tx: Tx, caller: Caller, id: str) -> Row:
    """The same, locked until the transaction ends."""
    store.hold(tx, "backup", id)
    return require(tx, caller, id)


def update(site: Site, caller: Caller, id: str, values: Mapping[str, Any]) -> Row:
    """Change name, description or (all of the) metadata."""
    with site.db.begin() as tx:
        row = require(tx, caller, id)
        site.policy.check("backup:update", caller, row.project_id)
        backups.update(tx, id, **values)
        return require(tx, caller, id)


def delete(site: Site, caller: Caller, id: str) -> None:
    """Begin to delete: not while others are incremental to it, or a volume is being created from it."""
    with site.db.begin() as tx:
        row = held_backup(tx, caller, id)
        site.policy.check("backup:delete", caller, row.project_id)
        _check_independent(row)
        _begin_delete(site, caller, tx, row)


def force_delete(site: Site, caller: Caller, id: str) -> None:
    """Delete from any status; one that is being made is made no further, and is gone when its flow has ended."""
    with site.db.begin() as tx:
        row = held_backup(tx, caller, id)
        site.policy.check(f"{RULE}:force_delete", caller, row.project_id)
        _check_independent(row)
        if row.status == B.CREATING and store.is_worked_on(tx, id):
            backups.update(tx, id, cancelled=True)
            params = cancel_backup.params(backup_id=id, host=row.host)
            work.queue(site, caller, tx, "cancel_backup", params, resource_id=id, project_id=row.project_id)
            return
        _check_not_restored(row)
        store.force(tx, "backup", id, B.ERROR)
        _begin_delete(site, caller, tx, row)


def reset_status(site: Site, caller: Caller, id: str, status: str) -> None:
    if status.lower() not in states.RESETTABLE_BACKUP:
        allowed = ", ".join(sorted(states.RESETTABLE_BACKUP))
        raise errors.Invalid(f"Status {status} may not be set; use: {allowed}.", field="status")
    with site.db.begin() as tx:
        row = held_backup(tx, caller, id)
        site.policy.check(f"{RULE}:reset_status", caller, row.project_id)
        _check_not_restored(row)
        store.force(tx, "backup", id, status.lower())


def _begin_delete(site: Site, caller: Caller, tx: Tx, row: Row) -> None:
    services = backup_services.reaching(site, tx, row.place)
    host = next((one.host for one in services if one.host == row.host), services[0].host)
    store.begin(tx, "backup", row.id, "delete", where=backups.not_a_source(row.id), why=IN_USE)
    params = delete_backup.params(backup_id=row.id, container=row.container, host=host)
    work.queue(site, caller, tx, "delete_backup", params, resource_id=row.id, project_id=row.project_id)


def _check_independent(row: Row) -> None:
    if row.has_dependents:
        raise errors.InvalidState(
            f"Invalid backup: Incremental backups exist for backup {row.id}; delete these first.", field="id"
        )


def _check_not_restored(row: Row) -> None:
    if row.status == B.RESTORING:
        raise errors.InvalidState(f"Backup {row.id} is being restored; wait until that flow has ended.", field="status")


def _snapshot(tx: Tx, caller: Caller, volume: Row, id: str | None) -> Row | None:
    """The snapshot that is backed up, locked; one of the volume, and available."""
    if id is None:
        return None
    store.hold(tx, "snapshot", id)
    row = snapshots.find(tx, id, caller.sees)
    if row is None:
        raise errors.NotFound(f"Snapshot {id} could not be found.")
    if row.volume_id != volume.id:
        raise errors.Invalid(f"Snapshot {id} is not one of volume {volume.id}.", field="snapshot_id")
    if row.status != S.AVAILABLE:
        raise errors.InvalidState(f"Snapshot {id} must be available to be backed up, but is {row.status}.")
    return row


def _kept_of(tx: Tx, base: Row, source: Row) -> str | None:
    """The snapshot that a backup is one of, if it is still there beside what is compared with it. It may go at any
    time: then all is read."""
    row = snapshots.find(tx, base.snapshot_id) if base.snapshot_id is not None else None
    if row is None or (row.volume_id, row.host) != (base.volume_id, source.host):
        return None
    return str(row.id)


def _check_volume(volume: Row, force: bool) -> None:
    allowed = (V.AVAILABLE, V.IN_USE) if force else (V.AVAILABLE,)
    if volume.status not in allowed:
        raise errors.InvalidState(
            f"Invalid volume: Volume {volume.id} must be {' or '.join(allowed)} to be backed up, but the current "
            f"status is {volume.status}." + (" Use force." if volume.status == V.IN_USE else ""),
            field="status",
        )


def _base(tx: Tx, caller: Caller, volume_id: str, place: str, moment: str) -> Row:
    """The backup that an incremental one is compared with, locked, and whole."""
    for _ in range(3):  # the one that is found may just be going
        found = backups.base_of(tx, volume_id, caller.project_id, place, moment)
        if found is None:
            break
        row = held_backup(tx, caller, found.id)
        if row.status in backups.WHOLE:
            return row
    raise errors.Invalid(
        f"Invalid backup: No backups available to do an incremental backup of volume {volume_id}; make a full one "
        "first.",
        field="incremental",
    )
