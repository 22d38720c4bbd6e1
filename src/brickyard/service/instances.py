"""Instances: booted together with their local storage, and what can be done to them while they run."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from brickyard.core import errors, placement, sizes, topology
from brickyard.core import quotas as quota_rules
from brickyard.core.states import A, I, V
from brickyard.db import attachments, flavors, flows, images, instances, messages, store, types, volumes
from brickyard.db.database import Database, Row, Tx
from brickyard.flows import attach_instance, boot_instance, delete_instance, detach_instance, reserving
from brickyard.hypervisor.machine import FAR, MOVING, NO_ROOM, Running
from brickyard.service import attachments as attachment_service
from brickyard.service import grouping, moves, quotas, reach, work
from brickyard.service import types as type_service
from brickyard.service.site import Caller, Site

LOCALITIES = (topology.HOST, topology.RACK, topology.ZONE)
WAIT_S = 60


@dataclass(frozen=True, slots=True)
class LocalStorage:
    """A new volume that is wanted next to the instance."""

    size_gib: int
    volume_type: str | None = None


@dataclass(frozen=True, slots=True)
class NewInstance:
    """A boot request. Without `local_storage` the flavor's own is taken, if it carries any. `volumes` are ids of
    volumes that exist: the instance goes where they are. `required` False is best effort."""

    name: str
    flavor: str
    image: str | None
    local_storage: tuple[LocalStorage, ...] = ()
    volumes: tuple[str, ...] = ()
    locality: str = topology.HOST
    required: bool = True
    availability_zone: str | None = None


def boot(site: Site, caller: Caller, new: NewInstance) -> Row:
    """Insert the instance and its new volumes, lock the volumes that exist, queue the flow: one transaction."""
    id = str(uuid.uuid4())
    with site.db.begin() as tx:
        flavor, params = _resolve(site, caller, tx, new, id)
        _take_quota(site, caller, tx, params)
        instances.insert(
            tx,
            id=id,
            name=new.name,
            project_id=caller.project_id,
            user_id=caller.user_id,
            status=I.BUILDING,
            root_gib=params["root_gib"],
            vcpus=params["vcpus"],
            memory_mib=params["memory_mib"],
            flavor=flavor.name,
            image_id=params["image"]["id"] if params["image"] else None,
            request={"locality": new.locality, "required": new.required, "availability_zone": new.availability_zone},
        )
        for volume in params["new"]:
            _insert_volume(site, caller, tx, new, volume)
        for volume in params["existing"]:
            _lock_volume(tx, volume["volume_id"], volume["attachment_id"], id)
        work.queue(site, caller, tx, "boot_instance", params, resource_id=id, project_id=caller.project_id)
        return require(tx, caller, id)


def explain(site: Site, caller: Caller, new: NewInstance) -> tuple[placement.Verdict, ...]:
    """Where would this go, and why not elsewhere? Nothing is reserved."""
    with site.db.read() as tx:
        _, params = _resolve(site, caller, tx, new, str(uuid.uuid4()))
    places = site.world.places
    return places.explain(reserving.to_boot(params, unusable=places.unusable()))


def require(tx: Tx, caller: Caller, id: str) -> Row:
    """The instance, if the caller may see it; NotFound otherwise."""
    row = instances.find(tx, id, caller.sees)
    if row is None:
        raise errors.NotFound(f"Instance {id} could not be found.")
    return row


def delete(site: Site, caller: Caller, id: str, *, with_volumes: bool) -> None:
    """Begin to delete; its volumes stay, or go with it where nobody else uses them."""
    with site.db.begin() as tx:
        row = require(tx, caller, id)
        attached = [a.volume_id for a in attachments.of_instance(tx, id)]
        going = attached if with_volumes else []
        for volume_id in going:
            if store.has_snapshots(tx, volume_id):
                raise errors.InvalidState(
                    f"Volume {volume_id} of the instance has snapshots; delete them first, or keep the volumes."
                )
        store.begin(tx, "instance", id, "delete")
        moves.check_still(tx, id)
        params = delete_instance.params(
            instance_id=id,
            host=row.host,
            root_pool=row.root_pool,
            delete_volumes=going,
            far=reach.far_disks(tx, row),
        )
        work.queue(site, caller, tx, "delete_instance", params, resource_id=id, project_id=row.project_id)


def attach(site: Site, caller: Caller, id: str, volume_id: str) -> Row:
    """Plug a volume into an instance, and wait until it is there: one of its own host, or of another one that is as
    near as its locality says. The attachment."""
    attachment_id = str(uuid.uuid4())
    with site.db.begin() as tx:
        row = _running(tx, caller, id)
        volume = volumes.find(tx, volume_id, caller.sees)
        if volume is None:
            raise errors.NotFound(f"Volume {volume_id} could not be found.")
        reach.check(tx, row, volume)
        if any(a.volume_id == volume_id for a in attachments.of_instance(tx, id)):
            raise errors.Conflict(f"Volume {volume_id} is attached to instance {id} already.")
        _lock_volume(tx, volume_id, attachment_id, id)
        params = attach_instance.params(
            instance_id=id,
            host=row.host,
            attachment_id=attachment_id,
            volume_id=volume_id,
            pool=volume.host,
            read_only=bool(volume.readonly),
            shared=bool(volume.multiattach),
        )
        flow = work.queue(site, caller, tx, "attach_instance", params, resource_id=id, project_id=row.project_id)
    _wait(site, flow)
    with site.db.read() as tx:
        done = attachments.find(tx, attachment_id)
    if done is None:
        raise errors.Conflict(f"Volume {volume_id} was detached again meanwhile.")
    return done


def detach(site: Site, caller: Caller, id: str, volume_id: str) -> None:
    """Unplug a volume, and wait until the guest has let it go; nothing to do when it is not attached."""
    with site.db.begin() as tx:
        row = require(tx, caller, id)
        mine = [a for a in attachments.of_instance(tx, id) if a.volume_id == volume_id]
        if not mine:
            raise errors.NotFound(f"Volume {volume_id} is not attached to instance {id}.")
        if row.status not in (I.ACTIVE, I.STOPPED):
            raise errors.InvalidState(
                f"Instance {id} is {row.status}; to detach from it, it must be active or stopped."
            )
        if mine[0].status != A.ATTACHED:
            raise errors.Conflict(f"Volume {volume_id} is {mine[0].status} now; try again when that is done.")
        store.begin(tx, "attachment", mine[0].id, "detach")
        store.settle(tx, volume_id)
        volume = volumes.find(tx, volume_id)
        if volume is not None:
            attachment_service.check_still(volume)
        params = detach_instance.params(
            instance_id=id,
            host=row.host,
            attachment_id=mine[0].id,
            volume_id=volume_id,
            pool=volume.host if volume is not None else None,
        )
        flow = work.queue(site, caller, tx, "detach_instance", params, resource_id=id, project_id=row.project_id)
    _wait(site, flow)


def console(site: Site, caller: Caller, id: str, max_bytes: int = 65536) -> str:
    """The end of what the instance wrote to its serial console."""
    with site.db.read() as tx:
        row = require(tx, caller, id)
    if row.host is None or row.status in (I.BUILDING, I.ERROR):
        raise errors.InvalidState(f"Instance {id} is {row.status} and has no console; it needs to have booted.")
    return site.world.nodes[row.host].console(id, max_bytes)


def observe(db: Database, host: str, guests: Callable[[], Sequence[Running]]) -> list[str]:
    """Mark the active instances of a host whose guests have ended by themselves; their ids. Note why others are held.

    The instances are read before the guests are listed: one that boots in between is not taken for dead.
    """
    with db.read() as tx:
        active = {row.id: row for row in instances.active_on(tx, host)}
    if not active:
        return []
    running = {guest.id: _why_paused(guest) for guest in guests() if guest.status != "stopped"}
    ended = [id for id in active if id not in running]
    paused = [id for id, row in active.items() if row.paused_reason != running.get(id)]
    if ended or paused:
        with db.begin() as tx:
            for id in paused:
                _note_paused(tx, active[id], running.get(id))
            ended = [id for id in ended if store.stopped(tx, id, "Its guest has ended by itself.")]
    return ended


def _why_paused(guest: Running) -> str | None:
    """Why the host holds a guest, in words; None while it does not."""
    pools = [reason for reason in guest.held if reason != NO_ROOM and not reason.startswith(MOVING)]
    if pools:
        return f"{' and '.join(_whose(reason) for reason in pools)} is almost full; it goes on when there is room"
    return "a write found no room in its pool, and is repeated when there is some" if NO_ROOM in guest.held else None


def _whose(reason: str) -> str:
    return f"pool {reason.removeprefix(FAR)} of another host" if reason.startswith(FAR) else f"{reason} of its host"


def _note_paused(tx: Tx, row: Row, why: str | None) -> None:
    """Also for its owner, who else would only see that it does not answer."""
    instances.update(tx, row.id, paused_reason=why)
    if why is not None and row.paused_reason is None:
        text = f"Instance {row.name} is paused: {why}."
        messages.tell(
            tx,
            project_id=row.project_id,
            event="INSTANCE_PAUSED",
            level="WARNING",
            text=text,
            resource=("INSTANCE", row.id),
        )


# looking things up ---------------------------------------------------------------------------------------------------


def _resolve(site: Site, caller: Caller, tx: Tx, new: NewInstance, id: str) -> tuple[Row, dict[str, Any]]:
    """Flavor and flow parameters of a request; every name in it is looked up as the caller sees it."""
    if new.locality not in LOCALITIES:
        raise errors.Invalid(
            f"locality must be one of {', '.join(LOCALITIES)}, not {new.locality!r}.", field="locality"
        )
    flavor = flavors.find(tx, new.flavor)
    if flavor is None:
        raise errors.NotFound(f"Flavor {new.flavor} could not be found.")
    image = _image(caller, tx, new.image)
    storage = new.local_storage
    if not storage and flavor.local_storage_gb:
        storage = (LocalStorage(flavor.local_storage_gb, flavor.local_storage_type),)
    params = boot_instance.params(
        instance_id=id,
        name=new.name,
        vcpus=flavor.vcpus,
        memory_mib=flavor.memory_mib,
        root_gib=_root_gib(flavor, image),
        image=image,
        new=[_new_volume(caller, tx, one) for one in storage],
        existing=[_existing_volume(tx, caller, volume_id) for volume_id in dict.fromkeys(new.volumes)],
        locality=new.locality,
        required=new.required,
        zones=[new.availability_zone] if new.availability_zone else [],
    )
    if image is None and not params["existing"]:
        raise errors.Invalid("An instance needs an image, or a bootable volume.", field="image")
    return flavor, params


def _image(caller: Caller, tx: Tx, name_or_id: str | None) -> dict[str, Any] | None:
    if name_or_id is None:
        return None
    found = images.find(tx, name_or_id, caller.sees)
    if not found:
        raise errors.NotFound(f"Image {name_or_id} could not be found.")
    if len(found) > 1:
        raise errors.Conflict(f"{len(found)} images are called {name_or_id}; use the id of one.")
    image = found[0]
    if image.status != "active":
        raise errors.Invalid(f"Image {image.name} is {image.status}; upload all of its files first.", field="image")
    return {
        "id": image.id,
        "kind": image.kind,
        "files": dict(image.files),
        "cmdline": image.cmdline,
        "min_gib": max(image.min_gib, sizes.bytes_to_gib(image.virtual_size_bytes)),
    }


def _root_gib(flavor: Row, image: dict[str, Any] | None) -> int:
    """The size of the root disk: none for a kernel, else the flavor's, and at least what the image needs."""
    if image is None or image["kind"] == "kernel":
        return 0
    if flavor.root_gib and flavor.root_gib < image["min_gib"]:
        raise errors.Invalid(
            f"The image needs {image['min_gib']} GiB, and flavor {flavor.name} has a root disk of {flavor.root_gib}.",
            field="flavor",
        )
    return max(int(flavor.root_gib), int(image["min_gib"]), 1)


def _new_volume(caller: Caller, tx: Tx, one: LocalStorage) -> dict[str, Any]:
    specs: Mapping[str, Any] = {}
    type_id = type_name = None
    if one.volume_type is not None:
        row = types.find(tx, one.volume_type, caller.sees)
        if row is None:
            raise errors.NotFound(f"Volume type {one.volume_type} could not be found.")
        type_service.check_encryption(tx, row)
        specs, type_id, type_name = dict(row.extra_specs), row.id, row.name
    if not 1 <= one.size_gib <= sizes.MAX_GIB:
        raise errors.Invalid(f"Local storage of {one.size_gib} GiB: it must be at least 1.", field="size_gib")
    return {
        "volume_id": str(uuid.uuid4()),
        "attachment_id": str(uuid.uuid4()),
        "size_gib": one.size_gib,
        "ask": {"extra_specs": specs},
        "type_id": type_id,
        "type_name": type_name,
        "multiattach": specs.get("multiattach") == "<is> True",
    }


def _existing_volume(tx: Tx, caller: Caller, volume_id: str) -> dict[str, Any]:
    row = volumes.find(tx, volume_id, caller.sees)
    if row is None:
        raise errors.NotFound(f"Volume {volume_id} could not be found.")
    if row.host is None or not (row.status == V.AVAILABLE or (row.multiattach and row.status == V.IN_USE)):
        raise errors.InvalidState(f"Volume {volume_id} must be available to boot with it, but is {row.status}.")
    return {
        "volume_id": row.id,
        "attachment_id": str(uuid.uuid4()),
        "pool": row.host,
        "read_only": bool(row.readonly),
        "multiattach": bool(row.multiattach),
    }


def _take_quota(site: Site, caller: Caller, tx: Tx, params: dict[str, Any]) -> None:
    """The new volumes and the root disk, together and once."""
    deltas: dict[str, int] = {"gigabytes": params["root_gib"]} if params["root_gib"] else {}
    for volume in params["new"]:
        quotas.check_size(site, tx, caller.project_id, volume["size_gib"])
        for key, amount in quota_rules.volume_deltas(volume["size_gib"], type_name=volume["type_name"]).items():
            deltas[key] = deltas.get(key, 0) + amount
    quotas.take(site, tx, caller.project_id, deltas)


def _insert_volume(site: Site, caller: Caller, tx: Tx, new: NewInstance, volume: dict[str, Any]) -> None:
    volumes.insert(
        tx,
        id=volume["volume_id"],
        project_id=caller.project_id,
        user_id=caller.user_id,
        name=f"{new.name}-local",
        size_gib=volume["size_gib"],
        status=V.CREATING,
        availability_zone=new.availability_zone or site.settings.availability_zone,
        volume_type_id=volume["type_id"],
        image_metadata={},
        metadata={},
        multiattach=volume["multiattach"],
    )


def _lock_volume(tx: Tx, volume_id: str, attachment_id: str, instance_id: str) -> None:
    """Reserve a volume for an instance: from here nobody else can take or delete it."""
    store.hold(tx, "volume", volume_id)
    row = volumes.find(tx, volume_id)
    if row is not None:
        grouping.check_still(tx, row)
    why = "is reserved or in use by another consumer; detach it there first, or use a multiattach type"
    store.begin(tx, "volume", volume_id, "reserve", where=store.reservable(), why=why)
    attachments.insert(
        tx, id=attachment_id, volume_id=volume_id, instance_uuid=instance_id, status=A.RESERVED, mode="rw"
    )


def _running(tx: Tx, caller: Caller, id: str) -> Row:
    row = require(tx, caller, id)
    if row.status != I.ACTIVE:
        raise errors.InvalidState(f"Instance {id} is {row.status}; to attach to it, it must be active.")
    return row


def _wait(site: Site, flow_id: str) -> None:
    """Wait for a flow; its error, if it failed."""
    status = site.waker.wait(flow_id, WAIT_S)
    if status == "done":
        return
    with site.db.read() as tx:
        row = flows.find(tx, flow_id)
    if status is None:
        raise errors.Unavailable(f"It takes longer than {WAIT_S} s and goes on: watch flow {flow_id}.")
    raise errors.GuestError(row.error if row and row.error else f"Flow {flow_id} failed.")
