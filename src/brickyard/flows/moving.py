"""Which volumes can move to another pool, and how their moves begin: for a request, and for a host that is drained."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from brickyard.core import errors
from brickyard.core.states import I, V
from brickyard.db import attachments, hosts, instances, snapshots, store, volumes
from brickyard.db.database import Row, Tx
from brickyard.flows import mirror_volume, move_volume, reach

# Drivers whose bricks another one can take as images, of the very size that was asked for, and which take such.
MOVABLE = ("raw", "qcow2", "vdi", "lvm", "lvm-thin", "partition")
COPIED = "is the source of a volume or snapshot that is being created; move it when that one is available"


@dataclass(frozen=True, slots=True)
class Use:
    """The attachment of a volume to a running instance of ours, on `host`."""

    attachment_id: str
    instance_id: str
    host: str


def hold(tx: Tx, id: str) -> None:
    """Lock a volume, and who has it: an instance is neither stopped nor deleted before the move has begun."""
    store.hold(tx, "volume", id)
    for row in attachments.of_volume(tx, id):
        if row.instance_uuid is not None:
            store.hold(tx, "instance", row.instance_uuid)


def check_place(row: Row) -> None:
    """InvalidState for a volume that lies nowhere, or where its group lies."""
    if row.group_id is not None:
        raise errors.InvalidState(f"Volume {row.id} is in group {row.group_id}; remove it from that first.")
    if row.pool_id is None:
        raise errors.InvalidState(f"Volume {row.id} lies nowhere.", field="status")


def use_of(tx: Tx, row: Row) -> Use | None:
    """Who uses a volume that can be moved; None when nobody does. InvalidState or Invalid for one that cannot."""
    check_place(row)
    own = attachments.of_volume(tx, row.id)
    if row.status == V.IN_USE and len(own) == 1:
        use = _own_use(tx, row, own[0])
    elif row.status == V.AVAILABLE and not own:
        use = None
    else:
        raise errors.InvalidState(
            f"Volume {row.id} must be available, or in use by one instance, to be moved, but is {row.status} with "
            f"{len(own)} attachments.",
            field="status",
        )
    _check_movable(tx, row, use)
    return use


def _own_use(tx: Tx, row: Row, attachment: Row) -> Use:
    instance_id = attachment.instance_uuid
    instance = instances.find(tx, instance_id) if instance_id is not None else None
    if instance is None or all(volume.id != row.id for volume in reach.attached(tx, instance)):
        raise errors.InvalidState(
            f"Volume {row.id} is in use by a consumer that is no instance of this service; detach it there first.",
            field="status",
        )
    if instance.status != I.ACTIVE:
        raise errors.InvalidState(
            f"Volume {row.id} is attached to instance {instance.id}, which is {instance.status}: start that, or detach "
            "the volume.",
            field="status",
        )
    return Use(attachment.id, instance.id, instance.host)


def _check_movable(tx: Tx, row: Row, use: Use | None) -> None:
    if own := snapshots.of_volume(tx, row.id):
        raise errors.InvalidState(
            f"Volume {row.id} has {len(own)} snapshots, which cannot be moved; delete them first."
        )
    pool = hosts.find_pool(tx, row.pool_id)
    if pool is None or (use is None and pool.driver not in MOVABLE):
        raise errors.Invalid(
            f"Volume {row.id} lies on {row.host}, and only what lies on {', '.join(MOVABLE)} can be moved while no "
            "instance has it."
        )
    hosts.check_thawed(tx, row.pool_id)


def check_exports(tx: Tx, name: str, why: str) -> None:
    """Invalid unless host `name` exports volumes; `why` it has to, in words that follow on that."""
    host = hosts.find_host(tx, name)
    if host is None or host.export_address is None:
        raise errors.Invalid(
            f"Host {name} exports no volumes, {why}: have export_address set there.",
            field="host",
        )


def begin(
    tx: Tx,
    row: Row,
    use: Use | None,
    action: str,
    ask: dict[str, Any],
    *,
    change: dict[str, Any] | None = None,
    drain: str | None = None,
) -> tuple[str, dict[str, Any]]:
    """The volume, which is held, is moved from here on: the name and the parameters of the flow to queue for it.
    `drain`: the flow that wants it."""
    alone = volumes.not_being_copied(row.id)
    store.begin(tx, "volume", row.id, action, where=alone, why=COPIED, migration_status="starting")
    params = move_volume.params(
        volume_id=row.id,
        gib=row.size_gib,
        pool=row.host,
        pool_id=row.pool_id,
        generation=row.generation,
        ask=ask,
        action=action,
        change=change,
        drain=drain,
    )
    if use is None:
        return move_volume.FLOW.name, params
    used = mirror_volume.params(
        params, **dataclasses.asdict(use), read_only=bool(row.readonly), shared=bool(row.multiattach)
    )
    return mirror_volume.FLOW.name, used
