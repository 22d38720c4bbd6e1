"""Attachments: who may use a volume, and from where.

A volume is reserved, connected and completed by its consumer. Connecting and disconnecting are flows, one at a time
for each volume; a request waits for its flow and answers from the row. Everything else is one transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from brickyard.core import clock, errors, pools
from brickyard.core.states import A, V
from brickyard.db import attachments, flows, hosts, instances, store, volumes
from brickyard.db.database import Row, Tx
from brickyard.flows import attach_volume, detach_volume
from brickyard.service import grouping, nova, qos, reach, work
from brickyard.service.site import Caller, Site

WAIT_S = 60.0
TURNS = 20  # how many flows of others one request lets pass before it gives up

Started = tuple[str, str | None]  # an attachment, and the flow that works on it


def create(
    site: Site,
    caller: Caller,
    volume_id: str,
    *,
    instance_uuid: str | None,
    connector: Mapping[str, Any] | None,
    mode: str | None,
) -> Row:
    """Reserve a volume; with a connector, connect it too."""

    def start(tx: Tx) -> Started:
        volume = held(tx, caller, volume_id)
        site.policy.check("volume:attachment_create", caller, volume.project_id)
        id = reserve(site, caller, tx, volume, instance_uuid, mode)
        return id, connect(site, caller, tx, volume, id, connector, fresh=True) if connector else None

    id, flow = in_turn(site, volume_id, start)
    finish(site, flow, f"Unable to create attachment for volume {volume_id}")
    with site.db.read() as tx:
        return require(tx, caller, id)


def update(site: Site, caller: Caller, id: str, connector: Mapping[str, Any]) -> Row:
    """Connect a reserved attachment, or connect it anew."""

    def start(tx: Tx) -> Started:
        volume = held(tx, caller, volume_id)
        require(tx, caller, id)
        site.policy.check("volume:attachment_update", caller, volume.project_id)
        if "error" in volume.status:
            raise errors.Conflict(f"Volume {volume.id} is in status {volume.status} and cannot be connected.")
        own = attachments.of_volume(tx, volume_id)
        if len(own) > 1 and not volume.multiattach and any(a.connection_info for a in own):
            raise errors.Conflict(
                f"Volume {volume.id} is connected through another attachment and is not multiattach; "
                "create the second attachment together with its connector."
            )
        return id, connect(site, caller, tx, volume, id, connector)

    with site.db.read() as tx:
        volume_id = require(tx, caller, id).volume_id
    _, flow = in_turn(site, volume_id, start)
    finish(site, flow, f"Unable to update attachment {id}")
    with site.db.read() as tx:
        return require(tx, caller, id)


def complete(site: Site, caller: Caller, id: str) -> None:
    """The consumer uses the volume now; also without a connection, for one that does not run yet."""
    with site.db.begin() as tx:
        row = require(tx, caller, id)
        volume = held(tx, caller, row.volume_id)
        row = require(tx, caller, id)
        site.policy.check("volume:attachment_complete", caller, volume.project_id)
        if row.status == A.ATTACHING and row.connection_info is None:
            raise errors.InvalidState(f"Attachment {id} is still being connected; complete it after that.")
        attached(tx, row)


def delete(site: Site, caller: Caller, id: str) -> list[Row]:
    """Disconnect, and remove; the attachments of the volume that remain."""
    with site.db.read() as tx:
        row = require(tx, caller, id)
        volume_id = row.volume_id
    unused = ask_unused(site, caller, [row])

    def start(tx: Tx) -> Started:
        volume = held(tx, caller, volume_id)
        row = require(tx, caller, id)
        site.policy.check("volume:attachment_delete", caller, volume.project_id)
        check_unused(tx, caller, row, unused)
        return id, disconnect(site, caller, tx, volume, row)

    _, flow = in_turn(site, volume_id, start)
    finish(site, flow, f"Unable to delete attachment {id}")
    with site.db.read() as tx:
        return attachments.of_volume(tx, volume_id)


def require(tx: Tx, caller: Caller, id: str) -> Row:
    """The attachment, if the caller may see it; NotFound otherwise."""
    row = attachments.find(tx, id, caller.sees)
    if row is None:
        raise errors.NotFound(f"Volume attachment could not be found with filter: attachment_id = {id}.")
    return row


# in the transaction of the caller ------------------------------------------------------------------------------------


def held(tx: Tx, caller: Caller, volume_id: str) -> Row:
    """The volume, locked until the transaction ends; NotFound if the caller may not see it."""
    store.hold(tx, "volume", volume_id)
    row = volumes.find(tx, volume_id, caller.sees)
    if row is None:
        raise errors.NotFound(f"Volume {volume_id} could not be found.")
    return row


def reserve(site: Site, caller: Caller, tx: Tx, volume: Row, instance_uuid: str | None, mode: str | None = None) -> str:
    """Reserve a volume that is held, and return the id of the new attachment.

    Anybody may have an available volume, and a shared one that is in use. An instance that has it already may reserve
    it once more, which is how it moves: the status stays, so nobody can come in between.
    """
    grouping.check_still(tx, volume)
    if may_reserve(volume):
        if volume.status == V.IN_USE and volume.bootable:
            site.policy.check("volume:multiattach_bootable_volume", caller, volume.project_id)
        store.begin(tx, "volume", volume.id, "reserve", where=store.reservable())
    elif volume.status not in (V.IN_USE, V.RESERVED) or not _has(tx, volume.id, instance_uuid):
        raise not_free(volume, "reserve")
    id = str(uuid.uuid4())
    attachments.insert(
        tx,
        id=id,
        volume_id=volume.id,
        instance_uuid=instance_uuid,
        status=A.RESERVED,
        mode="ro" if volume.readonly else mode,
    )
    return id


def may_reserve(volume: Row) -> bool:
    return volume.status == V.AVAILABLE or (volume.status == V.IN_USE and bool(volume.multiattach))


def not_free(volume: Row, action: str) -> errors.InvalidState:
    allowed = "available or in-use" if volume.multiattach else "available"
    return errors.InvalidState(
        f"Invalid volume: Volume {volume.id} status must be {allowed} to {action}, but the current status is "
        f"{volume.status}.",
        field="status",
    )


def connect(
    site: Site,
    caller: Caller,
    tx: Tx,
    volume: Row,
    id: str,
    connector: Mapping[str, Any],
    *,
    fresh: bool = False,
    again: bool = False,
) -> str:
    """Queue the flow that connects an attachment; its id. The attachment is attaching from here, and so is the volume;
    not when it is connected `again`, while it stays in use."""
    place, nqn = reach.way(tx, volume, connector)
    _check_not_far(tx, volume, place, id)
    backend = hosts.find_backend(tx, place.service)
    if backend is None or not backend.up:
        why = backend.why_down if backend is not None else "it is gone"
        raise errors.Unavailable(f"Backend {place.service} of volume {volume.id} is down: {why}")
    row = attachments.find(tx, id)
    assert row is not None
    mode = "ro" if volume.readonly else row.mode or connector.get("mode") or "rw"
    if not again:
        store.begin(tx, "volume", volume.id, "attach")
        store.begin(tx, "attachment", id, "attach", connector=dict(connector), mode=mode)
    extra: dict[str, Any] = {
        "qos_specs": qos.told(tx, volume.volume_type_id, volume.size_gib),
        "encrypted": False,
        "enforce_multipath": bool(connector.get("enforce_multipath", False)),
    }
    if volume.volume_type_id is not None:
        extra["cacheable"] = False
    params = attach_volume.params(
        attachment_id=id,
        volume_id=volume.id,
        pool=str(place),
        connector=dict(connector),
        mode=mode,
        extra=extra,
        fresh=fresh,
        nqn=nqn,
        exported=attachments.is_exported(row),
    )
    return work.queue(site, caller, tx, "attach_volume", params, resource_id=volume.id, project_id=volume.project_id)


def _check_not_far(tx: Tx, volume: Row, place: pools.PoolName, id: str) -> None:
    """InvalidState where one of our own instances has the volume over the network: an attachment that is the instance's
    is not connected anew, and the volume not handed to another one beside it unless it is shared."""
    host = hosts.find_host(tx, place.host)
    exports = host is not None and host.export_address is not None
    for other in attachments.of_volume(tx, volume.id):
        if other.instance_uuid is None or (volume.multiattach and other.id != id):
            continue
        instance = instances.find(tx, other.instance_uuid)
        if instance is None or instance.host in (None, place.host):
            continue
        if exports or (other.connection_info or {}).get("driver_volume_type") == "nbd":
            raise errors.InvalidState(
                f"Volume {volume.id} is for instance {instance.id} on host {instance.host}, which has it over the "
                f"network; detach it there first: brickyard instance detach {instance.id} {volume.id}",
                field="status",
            )


def attached(tx: Tx, row: Row, **values: Any) -> None:
    """An attachment is in use now, whether or not it was connected before."""
    if row.status == A.ATTACHED:
        return
    if row.status != A.ATTACHING:
        store.begin(tx, "attachment", row.id, "attach")
    stamp = {} if row.attached_at else {"attached_at": clock.stamp()}
    store.end(tx, "attachment", row.id, "attach", ok=True, **stamp, **values)
    store.settle(tx, row.volume_id)


def disconnect(site: Site, caller: Caller, tx: Tx, volume: Row, row: Row) -> str | None:
    """Remove an attachment at once when there is nothing to close, and otherwise by the flow whose id is returned."""
    check_still(volume)
    if row.connection_info is None:
        attachments.delete(tx, row.id)
        store.settle(tx, volume.id)
        return None
    store.begin(tx, "attachment", row.id, "detach")
    return close(site, caller, tx, volume, row)


def close(site: Site, caller: Caller, tx: Tx, volume: Row, row: Row, *, keep: bool = False) -> str:
    """Queue the flow that closes a connection, and removes its attachment unless that is kept; its id."""
    exported = attachments.is_exported(row)
    params = detach_volume.params(
        attachment_id=row.id, volume_id=volume.id, pool=volume.host, keep=keep, exported=exported
    )
    return work.queue(site, caller, tx, "detach_volume", params, resource_id=volume.id, project_id=volume.project_id)


def check_still(volume: Row) -> None:
    """InvalidState while a volume is being moved: who has it, keeps it until then, and as it is."""
    if volume.status in (V.MAINTENANCE, V.RETYPING):
        raise errors.InvalidState(
            f"Volume {volume.id} is being moved ({volume.status}); repeat this when that is over.", field="status"
        )


def ask_unused(site: Site, caller: Caller, rows: Iterable[Row]) -> frozenset[str]:
    """Which of the attachments no server of the compute service uses. Asked before the transaction that removes one,
    also of an attachment that is not connected yet: it may be by then."""
    return frozenset(
        row.id
        for row in rows
        if _concerns_a_server(caller, row)
        and not nova.uses(site.settings.compute, caller, row.instance_uuid, row.volume_id, row.id)
    )


def check_unused(tx: Tx, caller: Caller, row: Row, unused: frozenset[str]) -> None:
    """Conflict while an instance, ours or the compute service's, has the volume: taking it away from under a guest
    would leave the guest with a device that may next be another project's. Services detach properly, and may."""
    if not _may_be_used(caller, row):
        return
    conflict = f"ConflictNovaUsingAttachment: Detach volume from instance {row.instance_uuid} using the Compute API"
    if instances.find(tx, row.instance_uuid) is not None:
        raise errors.Conflict(
            f"{conflict}; here that is: brickyard instance detach {row.instance_uuid} {row.volume_id}"
        )
    if row.id not in unused:
        raise errors.Conflict(conflict)


def _concerns_a_server(caller: Caller, row: Row) -> bool:
    return row.instance_uuid is not None and not caller.is_service


def _may_be_used(caller: Caller, row: Row) -> bool:
    return _concerns_a_server(caller, row) and row.connection_info is not None


def _has(tx: Tx, volume_id: str, instance_uuid: str | None) -> bool:
    own = attachments.of_volume(tx, volume_id)
    return instance_uuid is not None and any(a.instance_uuid == instance_uuid for a in own)


# flows ---------------------------------------------------------------------------------------------------------------


def in_turn(site: Site, volume_id: str, start: Callable[[Tx], Started]) -> Started:
    """Run `start` in a transaction in which no flow connects or disconnects anything of the volume."""
    deadline = clock.monotonic() + WAIT_S
    for _ in range(TURNS):
        with site.db.begin() as tx:
            store.hold(tx, "volume", volume_id)
            flow = attachments.busy(tx, volume_id)
            if flow is None:
                return start(tx)
        site.waker.wait(flow, max(0.0, deadline - clock.monotonic()))
        if clock.monotonic() > deadline:
            break
    raise errors.Conflict(f"Volume {volume_id} is being attached and detached by others; try again later.")


def finish(site: Site, flow: str | None, what: str) -> None:
    """Wait for a flow; when it fails, its error: the caller's fault as it is, and the rest as the wire has it, 500."""
    if flow is None:
        return
    status = site.waker.wait(flow, WAIT_S)
    if status == "done":
        return
    if status is None:
        raise errors.BrickyardError(f"{what}: it was not done after {WAIT_S:.0f} s; repeat the request.")
    with site.db.read() as tx:
        row = flows.find(tx, flow)
        failures = [entry.data for entry in flows.log(tx, flow) if entry.event == "failed"]
    kind = getattr(errors, str(failures[-1]["type"]), None) if failures else None
    message = f"{what}: {row.error if row else 'its flow is gone'}"
    if kind in (errors.Invalid, errors.InvalidState, errors.NotFound, errors.Conflict):
        raise kind(message)
    raise errors.BrickyardError(message)
