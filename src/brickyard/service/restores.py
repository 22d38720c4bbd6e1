"""What comes back from backups: to a volume that there is or a new one; and records of backups, which move between
services that reach the same place."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from brickyard.backups.manifest import Where
from brickyard.core import errors, pools
from brickyard.core import quotas as quota_rules
from brickyard.core.states import B
from brickyard.db import backups, hosts, store
from brickyard.db.database import Row, Tx
from brickyard.flows import import_backup, restore_backup
from brickyard.service import backup_services, grouping, quotas, volumes, work
from brickyard.service.attachments import held
from brickyard.service.backups import held_backup, require
from brickyard.service.site import Caller, Site


def restore(site: Site, caller: Caller, id: str, volume_id: str | None, name: str | None) -> Row:
    """Begin to restore; the volume: the one that is named, or one that is created for it."""
    with site.db.begin() as tx:
        row = held_backup(tx, caller, id)
        site.policy.check("backup:restore", caller, row.project_id)
        if volume_id is None:
            new = volumes.NewVolume(
                size_gib=row.size_gib, name=name or f"restore_backup_{id}", backup_id=id, restores=True
            )
            created = volumes.create_in(site, caller, tx, new)
            store.begin(tx, "backup", id, "restore")
            return created
        volume = held(tx, caller, volume_id)
        site.policy.check("backup:restore", caller, volume.project_id)
        _check_target(site, tx, row, volume)
        grouping.check_still(tx, volume)
        store.begin(tx, "backup", id, "restore")
        store.begin(tx, "volume", volume_id, "restore")
        params = restore_backup.params(backup_id=id, container=row.container, volume_id=volume_id, pool=volume.host)
        work.queue(site, caller, tx, "restore_backup", params, resource_id=volume_id, project_id=volume.project_id)
        return volumes.require(tx, caller, volume_id)


def _check_target(site: Site, tx: Tx, row: Row, volume: Row) -> None:
    if volume.size_gib < row.size_gib:
        raise errors.Invalid(
            f"Volume {volume.id} has {volume.size_gib} GiB, and backup {row.id} needs {row.size_gib}.",
            field="volume_id",
        )
    if volume.host is None:
        raise errors.InvalidState(f"Volume {volume.id} has no place to restore to.", field="volume_id")
    hosts.check_thawed(tx, volume.pool_id)
    backup_services.reaching(site, tx, row.place, {pools.parse(volume.host).host})


# records ---------------------------------------------------------------------------------------------------------


class OfVolume(msgspec.Struct, kw_only=True):
    """What the backup kept of the volume's row, see db/backups.py."""

    metadata: dict[str, str] = {}
    image_metadata: dict[str, str] = {}
    bootable: bool = False


class Record(msgspec.Struct, kw_only=True):
    """A backup as it is exported: all that its row says and that is not found where it is kept."""

    id: str
    volume_id: str
    size: int
    container: str
    place: str
    data_timestamp: str
    project_id: str
    user_id: str
    display_name: str | None = None
    display_description: str | None = None
    snapshot_id: str | None = None
    parent_id: str | None = None
    availability_zone: str | None = None
    metadata: dict[str, str] = {}
    of_volume: OfVolume = msgspec.field(default_factory=OfVolume)
    format: int = 1


SERVICE = "cinder.backup.drivers.brickyard"  # clients expect a driver's name, and no service of Cinder has this one


def export_record(site: Site, caller: Caller, id: str) -> dict[str, str]:
    """`backup_service` and `backup_url` of the wire."""
    with site.db.read() as tx:
        row = require(tx, caller, id)
    site.policy.check("backup:export-import", caller, row.project_id)
    if row.status != B.AVAILABLE:
        raise errors.InvalidState(f"Backup {id} must be available to be exported, but is {row.status}.", field="status")
    record = Record(
        id=row.id,
        volume_id=row.volume_id,
        size=row.size_gib,
        container=row.container,
        place=row.place,
        data_timestamp=row.data_timestamp,
        project_id=row.project_id,
        user_id=row.user_id,
        display_name=row.name,
        display_description=row.description,
        snapshot_id=row.snapshot_id,
        parent_id=row.parent_id,
        availability_zone=row.availability_zone,
        metadata=row.metadata,
        of_volume=msgspec.convert(row.of_volume, OfVolume),
    )
    return {"backup_service": SERVICE, "backup_url": base64.b64encode(msgspec.json.encode(record)).decode()}


def import_record(site: Site, caller: Caller, service: str, url: str) -> Row:
    """Insert the backup of a record, `creating`, for the caller's project, with a flow that looks for it."""
    record = _read(service, url)
    with site.db.begin() as tx:
        if backups.find(tx, record.id) is not None:
            raise errors.Invalid(f"Backup {record.id} is known already; delete it first.", field="backup_url")
        host = backup_services.reaching(site, tx, record.place)[0].host
        quotas.take(site, tx, caller.project_id, quota_rules.backup_deltas(record.size))
        backups.insert(
            tx,
            id=record.id,
            project_id=caller.project_id,
            user_id=caller.user_id,
            name=record.display_name,
            description=record.display_description,
            volume_id=record.volume_id,
            snapshot_id=record.snapshot_id,
            parent_id=record.parent_id,
            size_gib=record.size,
            status=B.CREATING,
            container=record.container,
            place=record.place,
            host=host,
            availability_zone=record.availability_zone,
            metadata=record.metadata,
            of_volume=msgspec.structs.asdict(record.of_volume),
            data_timestamp=record.data_timestamp,
        )
        params = import_backup.params(
            backup_id=record.id, container=record.container, host=host, gib=record.size, volume_id=record.volume_id
        )
        work.queue(site, caller, tx, "import_backup", params, resource_id=record.id, project_id=caller.project_id)
        return require(tx, caller, record.id)


def _read(service: str, url: str) -> Record:
    if service != SERVICE:
        raise errors.Invalid(
            f"Backups of {service} cannot be imported; backup_service must be {SERVICE}.", field="backup_service"
        )
    try:
        found = msgspec.json.decode(base64.b64decode(url, validate=True), type=Record)
    except (ValueError, msgspec.MsgspecError) as error:
        raise errors.Invalid(f"backup_url is no record that was exported: {error}", field="backup_url") from error
    return _checked(found)


def _checked(record: Record) -> Record:
    """What is in a record becomes rows and paths: it is no better than what anybody sends."""
    _ = Where(record.container, record.id).prefix
    for name, text in _texts(record):
        if len(text) > 255 or not text.isprintable():
            raise errors.Invalid(f"{name} of the record is no text of at most 255 characters", field="backup_url")
    for name in ("volume_id", "snapshot_id", "parent_id"):
        given = getattr(record, name)
        if given is not None:
            _ = Where(record.container, given).prefix
    if not 0 < record.size < 2**31 or len(record.data_timestamp) > 26:
        raise errors.Invalid("size or data_timestamp of the record cannot be", field="backup_url")
    _check_of_volume(record.of_volume)
    return record


def _texts(record: Record) -> list[tuple[str, str]]:
    values: dict[str, Any] = {**msgspec.structs.asdict(record), **{f"metadata {k}": k for k in record.metadata}}
    values |= {f"value of {k}": v for k, v in record.metadata.items()}
    return [(name, value) for name, value in values.items() if isinstance(value, str)]


def _check_of_volume(kept: OfVolume) -> None:
    """The limits are those of the requests that set such values."""
    for name, values, most in (("metadata", kept.metadata, 255), ("image_metadata", kept.image_metadata, 65535)):
        for key, value in values.items():
            if not 0 < len(key) <= 255 or len(value) > most or "\0" in key + value:
                raise errors.Invalid(
                    f"{name} of the record's volume: keys have 1 to 255 characters, values up to {most}, none is NUL",
                    field="backup_url",
                )
