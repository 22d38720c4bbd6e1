"""Snapshots of all volumes of a group: each request in one transaction. What one waits for are the flows of its
snapshots, and the last of them ends it (db/group_snapshots.settle)."""

from __future__ import annotations

import uuid

from brickyard.core import errors, states
from brickyard.core.states import G, V
from brickyard.db import group_snapshots, snapshots, store, volumes
from brickyard.db.database import Row, Tx
from brickyard.service import grouping
from brickyard.service import snapshots as snapshot_service
from brickyard.service.site import Caller, Site


def create(
    site: Site, caller: Caller, group_id: str, *, name: str | None, description: str | None, consistent: bool = False
) -> Row:
    """Insert it with a snapshot of every volume of the group, all of them `creating`.

    The snapshots are taken one after the other. Those of a consistency group are of one moment all the same, because
    nobody has its volumes meanwhile.
    """
    id = str(uuid.uuid4())
    with site.db.begin() as tx:
        group = grouping.held(tx, caller, group_id, consistent=consistent)
        site.policy.check("group:create_group_snapshot", caller, group.project_id)
        if group.status != G.AVAILABLE:
            raise errors.InvalidState(f"Group {group_id} must be available, but is {group.status}.", field="group_id")
        members = volumes.of_group(tx, group_id)
        if not members:
            raise errors.Invalid(f"Group {group_id} is empty: there is nothing to keep.", field="group_id")
        group_snapshots.insert(
            tx,
            id=id,
            project_id=group.project_id,
            user_id=caller.user_id,
            group_id=group_id,
            group_type_id=group.group_type_id,
            name=name,
            description=description,
            status=states.GROUP_SNAPSHOT["create"].during,
        )
        for member in sorted(members, key=lambda one: str(one.id)):
            store.hold(tx, "volume", member.id)
            volume = volumes.find(tx, member.id) or member
            if consistent and volume.status != V.AVAILABLE:
                raise errors.InvalidState(
                    f"Volume {volume.id} must be available, but is {volume.status}: what is kept of a consistency "
                    "group is of one moment, so nobody may write to it. Detach it, or put it into a group instead.",
                    field="status",
                )
            snapshot_service.create_in(
                site,
                caller,
                tx,
                volume,
                name=name,
                description=description,
                metadata={},
                in_use=True,
                group_snapshot_id=id,
            )
        return require(tx, caller, id, consistent=consistent)


def require(tx: Tx, caller: Caller, id: str, *, consistent: bool = False) -> Row:
    """The group snapshot, if the caller may see it; NotFound otherwise."""
    row = group_snapshots.find(tx, id, caller.sees)
    return grouping.asked_for(tx, row, id, "group snapshot", consistent=consistent)


def delete(site: Site, caller: Caller, id: str, *, consistent: bool = False) -> None:
    """Begin to delete it with its snapshots, none of which may be the source of a volume that is being created."""
    with site.db.begin() as tx:
        row = _held(tx, caller, id, consistent=consistent)
        site.policy.check("group:delete_group_snapshot", caller, row.project_id)
        store.begin(tx, "group_snapshot", id, "delete")
        for snapshot in snapshots.of_group_snapshot(tx, id):
            store.hold(tx, "snapshot", snapshot.id)
            snapshot_service.begin_delete(site, caller, tx, snapshot)
        group_snapshots.settle(tx, id)


def reset(site: Site, caller: Caller, id: str, status: str) -> None:
    """What an administrator sets by hand."""
    wanted = status.lower()
    if wanted not in states.RESETTABLE_GROUP_SNAPSHOT:
        allowed = ", ".join(sorted(states.RESETTABLE_GROUP_SNAPSHOT))
        raise errors.Invalid(f"Status {status} may not be set; use: {allowed}.", field="status")
    with site.db.begin() as tx:
        row = _held(tx, caller, id)
        site.policy.check("group:reset_group_snapshot_status", caller, row.project_id)
        store.force(tx, "group_snapshot", id, wanted)


def _held(tx: Tx, caller: Caller, id: str, *, consistent: bool = False) -> Row:
    store.hold(tx, "group_snapshot", id)
    return require(tx, caller, id, consistent=consistent)
