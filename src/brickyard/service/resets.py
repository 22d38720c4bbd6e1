"""What administrators do by hand when a status is wrong. Nothing of it touches a resource that a flow works on: a flow
ends by itself, done or failed, and what it would write must not meet another hand."""

from __future__ import annotations

from collections.abc import Iterable

from brickyard.core import errors, states
from brickyard.core.states import S, V
from brickyard.db import attachments, snapshots, store, volumes
from brickyard.db.database import Tx
from brickyard.service import attachments as connections
from brickyard.service.site import Caller, Site

VOLUME_RULE = "volume_extension:volume_admin_actions:reset_status"
SNAPSHOT_RULE = "volume_extension:snapshot_admin_actions:reset_status"
UPDATE_RULE = "volume_extension:snapshot_actions:update_snapshot_status"
# what a service that makes snapshots for us may say of one
PROGRESS = {S.CREATING: (S.CREATING, S.AVAILABLE, S.ERROR), S.DELETING: (S.DELETING, S.ERROR_DELETING)}


def volume(
    site: Site, caller: Caller, id: str, status: str | None, attach_status: str | None, migration_status: str | None
) -> None:
    """Set the status, or that of the latest move; with attach_status `detached`, remove the attachments."""
    wanted = _one_of(status, states.RESETTABLE_VOLUME)

    def start(tx: Tx) -> connections.Started:
        row = connections.held(tx, caller, id)
        site.policy.check(VOLUME_RULE, caller, row.project_id)
        own = attachments.of_volume(tx, id)
        if wanted == V.IN_USE and not own:
            raise errors.Invalid(f"Volume {id} has no attachments, so it cannot be in-use.", field="status")
        if wanted is not None:
            store.force(tx, "volume", id, wanted)
        if migration_status is not None:
            if wanted is None:
                store.force(tx, "volume", id, row.status)  # not while a flow works on it
            volumes.update(tx, id, migration_status=None if migration_status == "none" else migration_status)
        if attach_status == "detached":
            believed = frozenset(attachment.id for attachment in own)  # an administrator says so of servers elsewhere
            for attachment in own:
                connections.check_unused(tx, caller, attachment, believed)
                connections.disconnect(site, caller, tx, row, attachment)
            if wanted is not None:
                store.reset(tx, "volume", id, wanted)
        return id, None

    connections.in_turn(site, id, start)


def snapshot(site: Site, caller: Caller, id: str, status: str) -> None:
    wanted = _one_of(status, states.RESETTABLE_SNAPSHOT)
    assert wanted is not None
    with site.db.begin() as tx:
        store.hold(tx, "snapshot", id)
        row = snapshots.find(tx, id, caller.sees)
        if row is None:
            raise errors.NotFound(f"Snapshot {id} could not be found.")
        site.policy.check(SNAPSHOT_RULE, caller, row.project_id)
        store.force(tx, "snapshot", id, wanted)


def snapshot_progress(site: Site, caller: Caller, id: str, status: str, progress: int | None) -> None:
    """What a service that makes the snapshot outside of our flows says of it."""
    with site.db.begin() as tx:
        store.hold(tx, "snapshot", id)
        row = snapshots.find(tx, id, caller.sees)
        if row is None:
            raise errors.NotFound(f"Snapshot {id} could not be found.")
        site.policy.check(UPDATE_RULE, caller, row.project_id)
        allowed = PROGRESS.get(S(row.status), ())
        if status not in allowed:
            raise errors.Invalid(
                f"Status {status} does not follow {row.status}; "
                + (f"use one of: {', '.join(allowed)}." if allowed else "it is neither creating nor deleting."),
                field="status",
            )
        store.force(tx, "snapshot", id, status)
        if progress is not None:
            snapshots.update(tx, id, progress=progress)


def _one_of(status: str | None, allowed: Iterable[str]) -> str | None:
    """The status in the spelling of the tables; Invalid unless it may be set by hand."""
    if status is None:
        return None
    if status.lower() not in allowed:
        raise errors.Invalid(f"Status {status} may not be set; use: {', '.join(sorted(allowed))}.", field="status")
    return status.lower()
