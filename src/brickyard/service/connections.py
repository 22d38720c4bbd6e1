"""The older way to attach, in steps that name only the volume: reserve, initialize_connection, attach, begin_detaching,
terminate_connection, detach. They work on the same attachments as the newer calls."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from brickyard.core import errors, states
from brickyard.core.states import A, V
from brickyard.db import attachments, store, volumes
from brickyard.db.database import Row, Tx
from brickyard.service import attachments as service
from brickyard.service import grouping, reach
from brickyard.service.site import Caller, Site

POLICY = "volume_extension:volume_actions"


def reserve(site: Site, caller: Caller, id: str) -> None:
    """Keep the volume for the attach that follows; it is attaching."""
    with site.db.begin() as tx:
        volume = service.held(tx, caller, id)
        site.policy.check(f"{POLICY}:reserve", caller, volume.project_id)
        if not service.may_reserve(volume):
            raise service.not_free(volume, "reserve")
        grouping.check_still(tx, volume)
        store.begin(tx, "volume", id, "attach", where=store.reservable())


def unreserve(site: Site, caller: Caller, id: str) -> None:
    """Give up a reserve; nothing to give up is fine."""
    with site.db.begin() as tx:
        volume = service.held(tx, caller, id)
        site.policy.check(f"{POLICY}:unreserve", caller, volume.project_id)
        store.end(tx, "volume", id, "attach", ok=False)


def begin_detaching(site: Site, caller: Caller, id: str) -> None:
    with site.db.begin() as tx:
        volume = service.held(tx, caller, id)
        site.policy.check(f"{POLICY}:begin_detaching", caller, volume.project_id)
        if volume.status != V.IN_USE or A.ATTACHED not in store.attachment_statuses(tx, id):
            raise errors.InvalidState(
                f"Invalid volume: Volume {id} status must be in-use, and it must be attached, to detach, but the "
                f"current status is {volume.status}.",
                field="status",
            )
        store.begin(tx, "volume", id, "detach")


def roll_detaching(site: Site, caller: Caller, id: str) -> None:
    """Take back a begin_detaching; nothing to take back is fine."""
    with site.db.begin() as tx:
        volume = service.held(tx, caller, id)
        site.policy.check(f"{POLICY}:roll_detaching", caller, volume.project_id)
        store.end(tx, "volume", id, "detach", ok=False)


def initialize(site: Site, caller: Caller, id: str, connector: Mapping[str, Any]) -> Mapping[str, Any]:
    """Connect the volume to a host; the connection, which is the same when it is asked for again."""

    def start(tx: Tx) -> service.Started:
        volume = service.held(tx, caller, id)
        site.policy.check(f"{POLICY}:initialize_connection", caller, volume.project_id)
        if volume.status == V.MAINTENANCE:
            raise errors.InvalidState(f"Volume {id} is in maintenance; connect it when that is over.", field="status")
        _, nqn = reach.way(tx, volume, connector)
        own = [a for a in attachments.of_volume(tx, id) if a.status in (A.ATTACHING, A.ATTACHED)]
        here = next((a for a in own if a.connection_info and a.attached_host == connector.get("host")), None)
        if here is not None:
            _check_nqn(here, nqn)
            return here.id, None
        bare = next((a for a in own if a.status == A.ATTACHED and a.connection_info is None), None)
        if bare is not None:
            return bare.id, service.connect(site, caller, tx, volume, bare.id, connector, again=True)
        new = _insert(tx, volume, None, connector.get("mode"))
        return new, service.connect(site, caller, tx, volume, new, connector, fresh=True)

    attachment_id, flow = service.in_turn(site, id, start)
    service.finish(site, flow, f"Unable to initialize the connection of volume {id}")
    with site.db.read() as tx:
        found: Mapping[str, Any] = service.require(tx, caller, attachment_id).connection_info
    return found


def _check_nqn(row: Row, nqn: str) -> None:
    """InvalidState if the attachment is connected to the same host, but by another name: it would get no data."""
    known = row.connection_info.get("host_nqn", "")
    if known != nqn:
        raise errors.InvalidState(
            f"Volume {row.volume_id} is connected to host {row.attached_host} by {known or 'a path of its own'}, and "
            f"not by {nqn or 'one'}: terminate that connection first.",
            field="nqn",
        )


def attach(
    site: Site,
    caller: Caller,
    id: str,
    *,
    instance_uuid: str | None,
    host: str | None,
    mountpoint: str,
    mode: str | None,
) -> None:
    """The volume is in use by an instance or a host; said before by the same one is fine."""
    with site.db.begin() as tx:
        volume = service.held(tx, caller, id)
        site.policy.check(f"{POLICY}:attach", caller, volume.project_id)
        if volume.readonly and mode != "ro":
            raise errors.Invalid(f"Volume {id} is read-only; attach it with mode ro.", field="mode")
        mode = mode or "rw"
        own = attachments.of_volume(tx, id)
        attached = [a for a in own if a.status == A.ATTACHED]
        if any(_same(a, instance_uuid, host) for a in attached):
            return
        allowed = [V.AVAILABLE, V.ATTACHING, *([V.IN_USE] if volume.multiattach else [])]
        mine = [a for a in own if a.status != A.ATTACHED and _meant(a, instance_uuid)]
        if volume.status not in allowed and not (volume.status == V.RESERVED and mine):
            raise service.not_free(volume, "attach")
        grouping.check_still(tx, volume)
        if any(a.mode and a.mode != mode for a in attached):
            raise errors.Invalid(f"Volume {id} is attached with another mode than {mode}; use the same.", field="mode")
        row_id = mine[0].id if mine else _insert(tx, volume, instance_uuid, mode)
        row = service.require(tx, caller, row_id)
        attachments.update(tx, row_id, instance_uuid=instance_uuid, mountpoint=mountpoint, mode=mode)
        service.attached(tx, row, attached_host=host or row.attached_host)


def detach(site: Site, caller: Caller, id: str, attachment_id: str | None) -> None:
    """The volume is no longer in use by an attachment, or by the only one."""
    _remove(site, caller, id, attachment_id, f"{POLICY}:detach")


def force_detach(site: Site, caller: Caller, id: str, attachment_id: str | None) -> None:
    """The same for administrators. A volume whose status they have set to error by hand is what it was before."""
    policy = "volume_extension:volume_admin_actions:force_detach"
    _remove(site, caller, id, attachment_id, policy, forgives=True)


def terminate(site: Site, caller: Caller, id: str, connector: Mapping[str, Any] | None) -> None:
    """Disconnect the volume from a host. Who had attached it detaches it next; who had not gives it up with this."""
    host = connector.get("host") if connector else None
    unused = _ask_unused(site, caller, id)

    def start(tx: Tx) -> service.Started:
        volume = service.held(tx, caller, id)
        site.policy.check(f"{POLICY}:terminate_connection", caller, volume.project_id)
        own = attachments.of_volume(tx, id)
        if len(own) > 1 and not caller.is_service:
            raise errors.Conflict(f"Volume {id} has {len(own)} attachments; delete the one that is meant by its id.")
        row = next((a for a in own if a.connection_info and host in (None, a.attached_host)), None)
        flow = None
        if row is not None:
            service.check_unused(tx, caller, row, unused)
            flow = _close(site, caller, tx, volume, row)
        if row is None or row.status == A.ATTACHED:
            store.end(tx, "volume", id, "attach", ok=False)
        return id, flow

    _, flow = service.in_turn(site, id, start)
    service.finish(site, flow, f"Unable to terminate the connection of volume {id}")


def _close(site: Site, caller: Caller, tx: Tx, volume: Row, row: Row) -> str | None:
    if row.status != A.ATTACHED:
        return service.disconnect(site, caller, tx, volume, row)
    service.check_still(volume)
    return service.close(site, caller, tx, volume, row, keep=True)


def _remove(
    site: Site, caller: Caller, id: str, attachment_id: str | None, policy: str, *, forgives: bool = False
) -> None:
    unused = _ask_unused(site, caller, id, attachment_id)

    def start(tx: Tx) -> service.Started:
        volume = service.held(tx, caller, id)
        site.policy.check(policy, caller, volume.project_id)
        own = attachments.of_volume(tx, id)
        by_hand = volume.status == V.ERROR and volume.fault is None and volume.before is None  # and not by a failure
        if forgives and own and by_hand:
            store.reset(tx, "volume", id, states.from_attachments([one.status for one in own]))
            volume = service.held(tx, caller, id)
        if not own:
            store.settle(tx, id)
            return id, None
        row = _one(tx, caller, id, own, attachment_id)
        service.check_unused(tx, caller, row, unused)
        return id, service.disconnect(site, caller, tx, volume, row)

    _, flow = service.in_turn(site, id, start)
    service.finish(site, flow, f"Unable to detach volume {id}")


def _ask_unused(site: Site, caller: Caller, id: str, attachment_id: str | None = None) -> frozenset[str]:
    """See `attachments.ask_unused`, of the attachment that is meant or of all."""
    with site.db.read() as tx:
        visible = volumes.find(tx, id, caller.sees) is not None
        own = attachments.of_volume(tx, id) if visible else []
    return service.ask_unused(site, caller, [row for row in own if attachment_id in (None, row.id)])


def _one(tx: Tx, caller: Caller, id: str, own: list[Row], attachment_id: str | None) -> Row:
    """The attachment that is meant."""
    if attachment_id is None:
        if len(own) > 1:
            said = f"Volume {id} has {len(own)} attachments; say which one with attachment_id."
            if caller.is_service:
                raise errors.Invalid(said, field="attachment_id")
            raise errors.Conflict(said)  # of one that a server may use
        return own[0]
    row = next((a for a in own if a.id == attachment_id), None)
    if row is None:
        if attachments.find(tx, attachment_id, caller.sees) is not None:
            raise errors.Invalid(f"Attachment {attachment_id} is of another volume than {id}.", field="attachment_id")
        raise errors.Conflict(f"Volume {id} has no attachment {attachment_id}; it has: {', '.join(a.id for a in own)}.")
    return row


def _meant(row: Row, instance_uuid: str | None) -> bool:
    """Whether an attachment that is not complete waits for this instance, or for whoever comes after its connector."""
    if row.instance_uuid is None:
        return bool(row.status == A.ATTACHING)
    return bool(row.instance_uuid == instance_uuid)


def _same(row: Row, instance_uuid: str | None, host: str | None) -> bool:
    if instance_uuid is not None:
        return bool(row.instance_uuid == instance_uuid)
    return row.instance_uuid is None and row.attached_host == host


def _insert(tx: Tx, volume: Row, instance_uuid: str | None, mode: str | None) -> str:
    id = str(uuid.uuid4())
    attachments.insert(tx, id=id, volume_id=volume.id, instance_uuid=instance_uuid, status=A.RESERVED, mode=mode)
    return id
