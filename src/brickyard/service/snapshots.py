"""Snapshots: what a caller may ask for, each in one transaction: policy, quota, state, rows, flow."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from brickyard.core import errors
from brickyard.core import quotas as quota_rules
from brickyard.core.states import S, V
from brickyard.db import hosts, snapshots, store, volumes
from brickyard.db.database import Row, Tx
from brickyard.flows import create_snapshot, delete_snapshot
from brickyard.service import abilities, quotas, work
from brickyard.service.attachments import held
from brickyard.service.site import Caller, Site
from brickyard.service.volumes import COPIED


def create(
    site: Site,
    caller: Caller,
    volume_id: str,
    *,
    name: str | None,
    description: str | None,
    metadata: Mapping[str, str],
    in_use: bool,
) -> Row:
    """Insert the snapshot, `creating`, with its flow; `in_use` allows it for a volume that is attached."""
    with site.db.begin() as tx:
        volume = held(tx, caller, volume_id)
        return create_in(site, caller, tx, volume, name=name, description=description, metadata=metadata, in_use=in_use)


def create_in(
    site: Site,
    caller: Caller,
    tx: Tx,
    volume: Row,
    *,
    name: str | None,
    description: str | None,
    metadata: Mapping[str, str],
    in_use: bool,
    group_snapshot_id: str | None = None,
) -> Row:
    """`create` in a transaction that does more, and that holds the volume."""
    id = str(uuid.uuid4())
    site.policy.check("volume:create_snapshot", caller, volume.project_id)
    hosts.check_thawed(tx, volume.pool_id)
    _check_volume(volume, in_use)
    abilities.require(tx, volume.pool_id, "snapshots", field="volume_id")
    deltas = quota_rules.snapshot_deltas(
        volume.size_gib, type_name=volume.volume_type, count_gigabytes=not site.settings.no_snapshot_gb_quota
    )
    quotas.take(site, tx, volume.project_id, deltas)
    snapshots.insert(
        tx,
        id=id,
        volume_id=volume.id,
        project_id=volume.project_id,
        user_id=caller.user_id,
        name=name,
        description=description,
        size_gib=volume.size_gib,
        status=S.CREATING,
        volume_type_id=volume.volume_type_id,
        group_snapshot_id=group_snapshot_id,
        metadata=dict(metadata),
    )
    params = create_snapshot.params(
        snapshot_id=id,
        volume_id=volume.id,
        pool=volume.host,
        pool_id=volume.pool_id,
        gib=volume.size_gib,
        group_snapshot_id=group_snapshot_id,
    )
    work.queue(site, caller, tx, "create_snapshot", params, resource_id=id, project_id=volume.project_id)
    return require(tx, caller, id)


def require(tx: Tx, caller: Caller, id: str) -> Row:
    """The snapshot, if the caller may see it; NotFound otherwise."""
    row = snapshots.find(tx, id, caller.sees)
    if row is None:
        raise errors.NotFound(f"Snapshot {id} could not be found.")
    return row


def update(site: Site, caller: Caller, id: str, values: Mapping[str, Any]) -> Row:
    """Change name or description."""
    with site.db.begin() as tx:
        row = require(tx, caller, id)
        site.policy.check("volume:update_snapshot", caller, row.project_id)
        snapshots.update(tx, id, **values)
        return require(tx, caller, id)


def delete(site: Site, caller: Caller, id: str, *, force: bool = False) -> None:
    """Begin to delete. Volumes that were made from it stay; one that is being made keeps it until it is done.

    `force` deletes from any status in which nothing runs on it; the caller has been checked for that.
    """
    with site.db.begin() as tx:
        store.hold(tx, "snapshot", id)
        row = require(tx, caller, id)
        rule = "volume_extension:snapshot_admin_actions:force_delete" if force else "volume:delete_snapshot"
        site.policy.check(rule, caller, row.project_id)
        check_alone(row)
        if force:
            store.force(tx, "snapshot", id, S.ERROR)
        begin_delete(site, caller, tx, row)


def begin_delete(site: Site, caller: Caller, tx: Tx, row: Row) -> None:
    """Begin to delete a snapshot that is held and may go."""
    hosts.check_thawed(tx, row.pool_id)
    store.begin(tx, "snapshot", row.id, "delete", where=volumes.not_a_source(None, [row.id]), why=COPIED)
    params = delete_snapshot.params(
        snapshot_id=row.id,
        pool=row.host,
        pool_id=row.pool_id,
        gib=row.size_gib,
        group_snapshot_id=row.group_snapshot_id,
    )
    work.queue(site, caller, tx, "delete_snapshot", params, resource_id=row.id, project_id=row.project_id)


def check_alone(row: Row) -> None:
    """Invalid for a snapshot that goes only with those of the other volumes of a group."""
    if row.group_snapshot_id is not None:
        raise errors.InvalidState(f"Snapshot {row.id} is part of group snapshot {row.group_snapshot_id}; delete that.")


def _check_volume(volume: Row, in_use: bool) -> None:
    allowed = (V.AVAILABLE, V.IN_USE) if in_use else (V.AVAILABLE,)
    if volume.status not in allowed:
        raise errors.InvalidState(
            f"Invalid volume: Volume {volume.id} status must be {' or '.join(allowed)}, but current status is: "
            f"{volume.status}." + (" Use force, or microversion 3.66." if volume.status == V.IN_USE else ""),
            field="status",
        )
    if volume.pool_id is None:
        raise errors.InvalidState(f"Volume {volume.id} has no place, and so nothing to keep.", field="status")
