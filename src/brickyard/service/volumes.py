"""Volumes: what a caller may ask for, each in one transaction: policy, quota, state, rows, flow."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from brickyard import glance
from brickyard.core import errors, pools, sizes
from brickyard.core import quotas as quota_rules
from brickyard.core.states import B, S, V
from brickyard.db import backups, hosts, images, instances, snapshots, store, types, volumes
from brickyard.db.database import Row, Tx
from brickyard.flows import create_volume, delete_volume, extend_volume, revert_volume
from brickyard.service import abilities, backup_services, cloud_images, grouping, quotas, reach, work, zones
from brickyard.service import types as type_service
from brickyard.service.site import Caller, Site

COPIED = "is the source of a volume that is being created; delete it when that one is available"
BEING_COPIED = "is the source of a volume or snapshot that is being created; extend it when that one is available"
# what a source needs of a driver
NEEDS = {"snapshot": ["clones"], "volume": ["clones"], "image": ["imports"], "backup": []}
SOURCES = ("snapshot_id", "source_volid", "image_id", "backup_id")


@dataclass(frozen=True, slots=True)
class NewVolume:
    """A create request. At most one of the sources; `hints` are the scheduler hints of the wire."""

    size_gib: int | None = None
    name: str | None = None
    description: str | None = None
    availability_zone: str | None = None
    volume_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    snapshot_id: str | None = None
    source_volid: str | None = None
    image_id: str | None = None
    hints: Mapping[str, Any] = field(default_factory=dict)
    group_id: str | None = None
    group_is_consistent: bool = False  # it is said to be a consistency group
    backup_id: str | None = None
    image: glance.Image | None = None  # what the cloud's image service says of image_id
    restores: bool = False  # the backup is being restored to it, which it was not asked to be if it is only named


@dataclass(frozen=True, slots=True)
class Origin:
    """What a volume is made from, looked up: the smallest size, what is inherited, and where it must be."""

    source: dict[str, Any] | None = None
    min_gib: int = 1
    volume_type_id: str | None = None
    zone: str | None = None
    pinned: tuple[str, ...] = ()
    bootable: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    image_metadata: Mapping[str, Any] = field(default_factory=dict)
    image_type: str | None = None


def create(site: Site, caller: Caller, new: NewVolume) -> Row:
    """Insert the volume, `creating`, with its flow."""
    if image := cloud_images.look(site, caller, new.image_id):
        new = replace(new, image_id=image.id, image=image)
    with site.db.begin() as tx:
        return create_in(site, caller, tx, new)


def create_in(site: Site, caller: Caller, tx: Tx, new: NewVolume) -> Row:
    """`create` in a transaction that does more."""
    given = [name for name in SOURCES if getattr(new, name)]
    if len(given) > 1:
        raise errors.Invalid(f"At most one of {', '.join(SOURCES)} may be given, and not {' and '.join(given)}.")
    if new.image_id:
        site.policy.check("volume:create_from_image", caller)
    id = str(uuid.uuid4())
    own_zone = grouping.zone_of_new_member(
        tx, caller, new.group_id, new.volume_type, consistent=new.group_is_consistent
    )
    zone = own_zone or new.availability_zone
    origin = _origin(site, caller, tx, new)
    size_gib = new.size_gib if new.size_gib is not None else (origin.min_gib if origin.source else None)
    if size_gib is None:
        raise errors.Invalid("Size must be given when there is no source.", field="size")
    if size_gib < origin.min_gib:
        raise errors.Invalid(
            f"Volume size {size_gib} GiB is smaller than its source, {origin.min_gib} GiB.", field="size"
        )
    type_ = _type(site, caller, tx, new, origin)
    check_type(type_, size_gib)
    specs = dict(type_.extra_specs) if type_ else {}
    ask = {
        "extra_specs": specs,
        "zones": zones.choose(site, tx, zone, origin.zone, specs),
        "pinned": list(origin.pinned),
        "needs": NEEDS[origin.source["kind"]] if origin.source else [],
        **hints(caller, tx, new.hints),
    }
    deltas = quota_rules.volume_deltas(size_gib, type_name=type_.name if type_ else None)
    quotas.take(site, tx, caller.project_id, deltas, size_gib=size_gib)
    volumes.insert(
        tx,
        id=id,
        project_id=caller.project_id,
        user_id=caller.user_id,
        name=new.name,
        description=new.description,
        size_gib=size_gib,
        status=V.CREATING,
        availability_zone=ask["zones"][0] if len(ask["zones"]) == 1 else site.settings.availability_zone,
        volume_type_id=type_.id if type_ else None,
        group_id=new.group_id,
        snapshot_id=new.snapshot_id,
        source_volid=new.source_volid,
        image_id=new.image_id,
        backup_id=new.backup_id,
        image_metadata=dict(origin.image_metadata),
        metadata={**origin.metadata, **new.metadata},
        bootable=origin.bootable,
        multiattach=is_multiattach(specs),
    )
    params = create_volume.params(volume_id=id, size_gib=size_gib, source=origin.source, ask=ask, group_id=new.group_id)
    work.queue(site, caller, tx, "create_volume", params, resource_id=id, project_id=caller.project_id)
    return require(tx, caller, id)


def require(tx: Tx, caller: Caller, id: str) -> Row:
    """The volume, if the caller may see it; NotFound otherwise."""
    row = volumes.find(tx, id, caller.sees)
    if row is None:
        raise errors.NotFound(f"Volume {id} could not be found.")
    return row


def update(site: Site, caller: Caller, id: str, values: Mapping[str, Any]) -> Row:
    """Change name, description or (all of the) metadata."""
    with site.db.begin() as tx:
        row = require(tx, caller, id)
        site.policy.check("volume:update", caller, row.project_id)
        _not_in(row, V.MAINTENANCE)
        volumes.update(tx, id, **values)
        return require(tx, caller, id)


def set_readonly(site: Site, caller: Caller, id: str, readonly: bool) -> None:
    """How the volume may be attached from now on; only while nobody has it."""
    with site.db.begin() as tx:
        store.hold(tx, "volume", id)
        row = require(tx, caller, id)
        site.policy.check("volume:update_readonly_flag", caller, row.project_id)
        if row.status != V.AVAILABLE:
            raise errors.InvalidState(
                f"Volume {id} must be available to change how it is attached, but is {row.status}.", field="status"
            )
        volumes.update(tx, id, readonly=readonly)


def delete(site: Site, caller: Caller, id: str, *, cascade: bool = False, force: bool = False) -> None:
    """Begin to delete: not while it is attached, has snapshots (unless `cascade`), or is being copied.

    `force` deletes from any status in which nothing runs on it; the caller has been checked for that.
    """
    with site.db.begin() as tx:
        store.hold(tx, "volume", id)
        row = require(tx, caller, id)
        site.policy.check("volume:force_delete" if force else "volume:delete", caller, row.project_id)
        if store.attachment_statuses(tx, id):
            raise errors.InvalidState(f"Volume {id} is attached or reserved; detach it first.", field="status")
        if row.group_id is not None:
            raise errors.InvalidState(f"Volume {id} is in group {row.group_id}; remove it from that first.")
        own = snapshots.of_volume(tx, id)
        others = [snapshot for snapshot in own if snapshot.project_id != row.project_id]
        if others and not (cascade and caller.is_admin):
            raise errors.InvalidState(
                f"Volume {id} has {len(others)} snapshots of the project that it came from; they are deleted there, "
                "or by an administrator with cascade."
            )
        if own and not cascade:
            raise errors.InvalidState(f"Volume {id} has {len(own)} snapshots; delete them first, or use cascade.")
        if force:
            store.force(tx, "volume", id, V.ERROR)
        begin_delete(site, caller, tx, row, own)


def begin_delete(site: Site, caller: Caller, tx: Tx, row: Row, own: Sequence[Row] = ()) -> None:
    """Begin to delete a volume that is held and may go, with these snapshots of it."""
    hosts.check_thawed(tx, row.pool_id)
    for snapshot in own:
        store.begin(tx, "snapshot", snapshot.id, "delete")
    idle = volumes.not_a_source(row.id, [s.id for s in own])
    store.begin(tx, "volume", row.id, "delete", where=idle, why=COPIED)
    params = delete_volume.params(
        volume_id=row.id,
        pool=row.host,
        pool_id=row.pool_id,
        gib=row.size_gib + sum(snapshot.size_gib for snapshot in own),
        snapshots=[s.id for s in own],
        group_id=row.group_id,
    )
    work.queue(site, caller, tx, "delete_volume", params, resource_id=row.id, project_id=row.project_id)


def extend(site: Site, caller: Caller, id: str, new_gib: int, *, attached: bool) -> None:
    """Begin to extend; `attached` allows it for a volume in use."""
    with site.db.begin() as tx:
        store.hold(tx, "volume", id)
        row = require(tx, caller, id)
        site.policy.check("volume:extend", caller, row.project_id)
        hosts.check_thawed(tx, row.pool_id)
        if row.status == V.IN_USE:
            if not attached:
                raise errors.InvalidState(f"Volume {id} is in-use; to extend it here it must be available.")
            site.policy.check("volume:extend_attached_volume", caller, row.project_id)
        guest = reach.check_growth(tx, row) if row.status == V.IN_USE else None
        if new_gib <= row.size_gib:
            raise errors.Invalid(
                f"New size for extend must be greater than current size. "
                f"(current: {row.size_gib}, extended: {new_gib})",
                field="new_size",
            )
        check_type(row, new_gib)
        quotas.check_size(site, tx, row.project_id, new_gib)
        grown = quota_rules.volume_deltas(new_gib - row.size_gib, type_name=row.volume_type, volumes=0)
        quotas.take(site, tx, row.project_id, grown)
        # A copy that is made after this would have the new size, and more than was claimed for it.
        alone = volumes.not_being_copied(id)
        store.begin(tx, "volume", id, "extend", where=alone, why=BEING_COPIED, target_gib=new_gib)
        params = extend_volume.params(
            volume_id=id, pool=row.host, pool_id=row.pool_id, old_gib=row.size_gib, new_gib=new_gib, guest=guest
        )
        work.queue(site, caller, tx, "extend_volume", params, resource_id=id, project_id=row.project_id)


def revert(site: Site, caller: Caller, id: str, snapshot_id: str) -> None:
    """Begin to revert to the latest snapshot, which must have the volume's size."""
    with site.db.begin() as tx:
        store.hold(tx, "volume", id)
        row = require(tx, caller, id)
        site.policy.check("volume:revert_to_snapshot", caller, row.project_id)
        hosts.check_thawed(tx, row.pool_id)
        own = snapshots.of_volume(tx, id)
        if snapshots.find(tx, snapshot_id, caller.sees) is None:
            raise errors.NotFound(f"Snapshot {snapshot_id} could not be found.")
        if not own or own[0].id != snapshot_id:
            raise errors.Invalid(f"Snapshot {snapshot_id} is not the latest of volume {id}.", field="snapshot_id")
        if own[0].size_gib != row.size_gib:
            raise errors.Invalid(
                f"Volume {id} has {row.size_gib} GiB and its snapshot {own[0].size_gib}; it cannot be reverted.",
                field="snapshot_id",
            )
        if row.status != V.AVAILABLE or own[0].status != S.AVAILABLE:
            raise errors.Conflict(f"Volume and snapshot must be available; they are {row.status}, {own[0].status}.")
        abilities.require(tx, row.pool_id, "revert", field="snapshot_id")
        store.begin(tx, "volume", id, "revert")
        store.begin(tx, "snapshot", snapshot_id, "revert")
        params = revert_volume.params(volume_id=id, snapshot_id=snapshot_id, pool=row.host)
        work.queue(site, caller, tx, "revert_volume", params, resource_id=id, project_id=row.project_id)


# looking things up ---------------------------------------------------------------------------------------------------


def _origin(site: Site, caller: Caller, tx: Tx, new: NewVolume) -> Origin:
    if new.snapshot_id:
        store.hold(tx, "snapshot", new.snapshot_id)
        snapshot = snapshots.find(tx, new.snapshot_id, caller.sees)
        if snapshot is None:
            raise errors.NotFound(f"Snapshot {new.snapshot_id} could not be found.")
        if snapshot.status != S.AVAILABLE:
            raise errors.InvalidState(f"Snapshot {snapshot.id} must be available, but is {snapshot.status}.")
        abilities.require(tx, snapshot.pool_id, "clones", field="snapshot_id")
        parent = volumes.find(tx, snapshot.volume_id)
        assert parent is not None  # a foreign key says so
        source = {"kind": "snapshot", "id": snapshot.id}
        return _from_volume(parent, source, snapshot.size_gib, snapshot.host)
    if new.source_volid:
        store.hold(tx, "volume", new.source_volid)
        row = require(tx, caller, new.source_volid)
        if row.status not in (V.AVAILABLE, V.IN_USE):
            raise errors.InvalidState(f"Source volume {row.id} must be available or in-use, but is {row.status}.")
        abilities.require(tx, row.pool_id, "clones", field="source_volid")
        return _from_volume(row, {"kind": "volume", "id": row.id}, row.size_gib, row.host)
    if new.image:
        return Origin(**cloud_images.made_of(new.image, new.size_gib))
    if new.image_id:
        return from_image(caller, tx, new.image_id)
    if new.backup_id:
        return _from_backup(site, caller, tx, new)
    return Origin()


def _from_backup(site: Site, caller: Caller, tx: Tx, new: NewVolume) -> Origin:
    """It can be made on the hosts that reach the backup."""
    store.hold(tx, "backup", str(new.backup_id))
    row = backups.find(tx, str(new.backup_id), caller.sees)
    if row is None:
        raise errors.NotFound(f"Backup {new.backup_id} could not be found.")
    if row.status != B.AVAILABLE:
        raise errors.InvalidState(f"Backup {row.id} must be available, but is {row.status}.", field="backup_id")
    reaching = {service.host for service in backup_services.reaching(site, tx, row.place)}
    names = [pool.name for pool in hosts.list_pools(tx)]
    return Origin(
        source={"kind": "backup", "id": row.id, "container": row.container, "restoring": new.restores},
        min_gib=row.size_gib,
        pinned=tuple(name for name in names if pools.parse(name).host in reaching),
        **row.of_volume,
    )


def _from_volume(row: Row, source: dict[str, str], min_gib: int, pool: str) -> Origin:
    return Origin(
        source=source,
        min_gib=min_gib,
        volume_type_id=row.volume_type_id,
        zone=row.availability_zone,
        pinned=(pool,),
        bootable=bool(row.bootable),
        image_metadata=row.image_metadata,
    )


def from_image(caller: Caller, tx: Tx, name_or_id: str) -> Origin:
    """What an image makes of a volume. Invalid when it is no disk image that is ready."""
    found = images.find(tx, name_or_id, caller.sees)
    if not found:
        raise errors.Invalid(f"Image {name_or_id} could not be found.", field="imageRef")
    if len(found) > 1:
        raise errors.Conflict(f"{len(found)} images are called {name_or_id}; use the id of one.")
    image = found[0]
    if image.status != "active" or image.kind != "disk":
        raise errors.Invalid(
            f"Image {image.id} is no active disk image (it is {image.status}, {image.kind}).", field="imageRef"
        )
    facts = {
        **(image.properties or {}),
        "image_id": image.id,
        "image_name": image.name,
        "disk_format": image.format,
        "size": str(image.size_bytes),
    }
    return Origin(
        source={"kind": "image", "id": image.id},
        min_gib=max(1, image.min_gib, sizes.bytes_to_gib(image.virtual_size_bytes)),
        bootable=True,
        image_metadata=facts,
    )


def _type(site: Site, caller: Caller, tx: Tx, new: NewVolume, origin: Origin) -> Row | None:
    """The type: as asked, else the source's, else the default one. None where there is none at all."""
    row = type_service.for_volume(site, tx, caller, new.volume_type or origin.volume_type_id or origin.image_type)
    if row is not None and origin.volume_type_id and row.id != origin.volume_type_id:
        before = types.find(tx, origin.volume_type_id)
        old = (before.extra_specs if before else {}).get("volume_backend_name")
        if row.extra_specs.get("volume_backend_name") != old:
            raise errors.Invalid(
                f"Type {row.name} is served by other backends than the type of the source.", field="volume_type"
            )
    return row


def check_type(row: Row | None, size_gib: int) -> None:
    """The bounds that a type sets to the size of its volumes; `row` is a type, or a volume with its type's specs."""
    specs = (row.extra_specs if row else None) or {}
    for key, wrong in (("provisioning:min_vol_size", int.__lt__), ("provisioning:max_vol_size", int.__gt__)):
        bound = specs.get(key)
        if bound is not None and str(bound).isdigit() and wrong(size_gib, int(bound)):
            raise errors.Invalid(f"The volume type requires {key} = {bound} GiB; {size_gib} was asked.", field="size")


def is_multiattach(specs: Mapping[str, Any]) -> bool:
    """Whether several may attach the volumes of a type with these extra specs."""
    return bool(specs.get("multiattach") == "<is> True")


def hints(caller: Caller, tx: Tx, given: Mapping[str, Any]) -> dict[str, Any]:
    """The scheduler hints as placement.Ask takes them: volumes become the backends that hold them."""
    asked: dict[str, Any] = {}
    for name in ("same_host", "different_host"):
        if ids := given.get(name):
            ids = [ids] if isinstance(ids, str) else list(ids)
            holders = volumes.hosts_of(tx, ids, caller.sees)
            asked[name] = sorted({host.partition("#")[0] for host in holders.values()})
    if query := given.get("query"):
        asked["query"] = query
    if near := given.get("local_to_instance"):
        instance = instances.find(tx, near, caller.sees)
        if instance is None or instance.host is None:
            raise errors.Invalid(f"Instance {near} of hint local_to_instance runs nowhere.", field="local_to_instance")
        names = [pool.name for pool in hosts.list_pools(tx)]
        asked["pinned"] = [name for name in names if pools.parse(name).host == instance.host]
    return asked


def _not_in(row: Row, *statuses: str) -> None:
    if row.status in statuses:
        raise errors.InvalidState(f"Volume {row.id} is in status {row.status}; try again later.", field="status")
