"""Transfers: a project offers a volume, and whoever has the key of the offer takes it over.

The volume waits in `awaiting-transfer`; nothing else can be done with it until the offer is accepted or taken back.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import uuid
from collections import Counter
from collections.abc import Sequence

from brickyard.core import errors
from brickyard.core import quotas as quota_rules
from brickyard.core.states import S, V
from brickyard.db import snapshots, store, transfers, types, volumes
from brickyard.db.database import Row, Tx
from brickyard.flows import relabel_bricks
from brickyard.service import quotas, work
from brickyard.service.attachments import held
from brickyard.service.site import Caller, Site

KEY_BYTES = 8  # 16 digits, as clients know them
SALT_BYTES = 16
FREE = (V.AVAILABLE, V.AWAITING_TRANSFER)  # in any other status the refusal speaks of that


def create(site: Site, caller: Caller, volume_id: str, *, name: str | None, no_snapshots: bool) -> tuple[Row, str]:
    """Offer an available volume, with its snapshots unless `no_snapshots`: the offer, and the only copy of its key."""
    id, key, salt = str(uuid.uuid4()), secrets.token_hex(KEY_BYTES), secrets.token_hex(SALT_BYTES)
    with site.db.begin() as tx:
        volume = held(tx, caller, volume_id)
        site.policy.check("volume:create_transfer", caller, volume.project_id)
        _check_alone(tx, volume, [] if no_snapshots else snapshots.of_volume(tx, volume_id))
        store.begin(tx, "volume", volume_id, "transfer")
        transfers.forget_volume(tx, volume_id)
        transfers.insert(
            tx,
            id=id,
            volume_id=volume_id,
            project_id=volume.project_id,
            name=name,
            no_snapshots=no_snapshots,
            salt=salt,
            key_hash=_hash(salt, key),
        )
        return require(tx, caller, id), key


def require(tx: Tx, caller: Caller, id: str) -> Row:
    """The offer, if the caller's project made it; NotFound otherwise."""
    row = transfers.find(tx, id, caller.sees)
    if row is None:
        raise errors.NotFound(f"Transfer {id} could not be found.")
    return row


def delete(site: Site, caller: Caller, id: str) -> None:
    """Take the offer back; the volume is available again, unless it was given another status by hand."""
    with site.db.begin() as tx:
        row = require(tx, caller, id)
        store.hold(tx, "volume", row.volume_id)
        site.policy.check("volume:delete_transfer", caller, row.project_id)
        if not transfers.delete(tx, id):
            raise errors.NotFound(f"Transfer {id} could not be found: it was accepted or deleted just now.")
        store.end(tx, "volume", row.volume_id, "transfer", ok=False)


def accept(site: Site, caller: Caller, id: str, key: str) -> Row:
    """Take over what is offered, in one transaction: owner, quota of both projects, and the offer is gone. What the
    bricks say of their owner follows at once, by a flow. The offer, as it was."""
    with site.db.begin() as tx:
        row = transfers.find(tx, id)
        if row is None:
            raise errors.NotFound(f"Transfer {id} could not be found.")
        if not hmac.compare_digest(_hash(row.salt, key), row.key_hash):
            raise errors.Invalid(
                f"This is not the key of transfer {id}; ask its owner for the auth_key that its creation showed.",
                field="auth_key",
            )
        store.hold(tx, "volume", row.volume_id)
        volume = volumes.find(tx, row.volume_id)
        if volume is None or not transfers.delete(tx, id):
            raise errors.NotFound(f"Transfer {id} could not be found: it was accepted or deleted just now.")
        if volume.status != V.AWAITING_TRANSFER:
            raise errors.InvalidState(
                f"Volume {volume.id} must be {V.AWAITING_TRANSFER} to be taken over, but is {volume.status}.",
                field="status",
            )
        own = [] if row.no_snapshots else _held_snapshots(tx, volume.id)
        _check_alone(tx, volume, own)
        if caller.project_id != volume.project_id:
            quotas.take(site, tx, caller.project_id, _deltas(site, tx, volume, own), size_gib=volume.size_gib)
        owner = {"project_id": caller.project_id, "user_id": caller.user_id}
        volumes.update(tx, volume.id, **owner)
        for snapshot in own:
            snapshots.update(tx, snapshot.id, **owner)
        store.end(tx, "volume", volume.id, "transfer", ok=True)
        params = relabel_bricks.params(volume_ids=[volume.id], snapshot_ids=[snapshot.id for snapshot in own])
        work.queue(site, caller, tx, "relabel_bricks", params, resource_id=volume.id, project_id=caller.project_id)
        return row


def _hash(salt: str, key: str) -> str:
    return hmac.new(bytes.fromhex(salt), key.encode(), hashlib.sha256).hexdigest()


def _held_snapshots(tx: Tx, volume_id: str) -> Sequence[Row]:
    """They stay what they are until the transaction ends; no new one is made of a volume that is offered."""
    for snapshot in snapshots.of_volume(tx, volume_id):
        store.hold(tx, "snapshot", snapshot.id)
    return snapshots.of_volume(tx, volume_id)


def _check_alone(tx: Tx, volume: Row, own: Sequence[Row]) -> None:
    """Neither the volume nor a snapshot that goes with it belongs to something that stays, and nobody has it: also an
    attachment that failed says where it was wanted, which is not the next owner's business."""
    if volume.status in FREE and store.attachment_statuses(tx, volume.id):
        raise errors.InvalidState(f"Volume {volume.id} has attachments; delete them first.")
    if volume.group_id is not None:
        raise errors.InvalidState(f"Volume {volume.id} is in group {volume.group_id}; remove it from there first.")
    for snapshot in own:
        if snapshot.group_snapshot_id is not None:
            raise errors.InvalidState(
                f"Snapshot {snapshot.id} belongs to group snapshot {snapshot.group_snapshot_id}; delete that, or offer "
                "the volume with no_snapshots."
            )
        if snapshot.status != S.AVAILABLE:
            raise errors.InvalidState(
                f"Snapshot {snapshot.id} must be available to go with its volume, but is {snapshot.status}; "
                "wait for it, delete it, or offer the volume with no_snapshots.",
                field="status",
            )


def _deltas(site: Site, tx: Tx, volume: Row, own: Sequence[Row]) -> dict[str, int]:
    """What the volume and its snapshots take of a quota; each counts for its own type."""
    deltas = Counter(quota_rules.volume_deltas(volume.size_gib, type_name=volume.volume_type))
    names = {id: types.find(tx, id) for id in {snapshot.volume_type_id for snapshot in own if snapshot.volume_type_id}}
    for snapshot in own:
        of_type = names.get(snapshot.volume_type_id)
        deltas.update(
            quota_rules.snapshot_deltas(
                snapshot.size_gib,
                type_name=of_type.name if of_type is not None else None,
                count_gigabytes=not site.settings.no_snapshot_gb_quota,
            )
        )
    return dict(deltas)
