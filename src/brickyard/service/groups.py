"""Groups of volumes: each request in one transaction. What a group waits for are the flows of its volumes, and the last
of them ends it (db/groups.settle)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from brickyard.core import errors, states
from brickyard.core.states import G, V
from brickyard.db import group_snapshots, group_types, groups, snapshots, store, types, volumes
from brickyard.db.database import Row, Tx
from brickyard.service import grouping, quotas, zones
from brickyard.service import volumes as volume_service
from brickyard.service.site import Caller, Site

# what no backend here does for several volumes at once
UNSERVED_SPECS = (
    "consistent_group_snapshot_enabled",
    "group_replication_enabled",
    "consistent_group_replication_enabled",
)
MAY_JOIN = (V.AVAILABLE, V.IN_USE)
MAY_LEAVE = (V.AVAILABLE, V.IN_USE, V.ERROR, V.ERROR_DELETING)


@dataclass(frozen=True, slots=True)
class NewGroup:
    """A create request; types are given by name or id. Without a group type it is a consistency group."""

    group_type: str | None
    volume_types: Sequence[str]
    name: str | None = None
    description: str | None = None
    availability_zone: str | None = None


def create(site: Site, caller: Caller, new: NewGroup) -> Row:
    """Insert an empty group. It lies nowhere until it has a volume, so there is nothing to wait for."""
    id = str(uuid.uuid4())
    with site.db.begin() as tx:
        kind = group_types.reserved(tx) if new.group_type is None else _kind(tx, caller, new.group_type)
        zone = new.availability_zone
        if zone is not None and not zones.known(site, tx).get(zone):
            raise errors.Invalid(f"Availability zone {zone} is not there, or not available.", field="availability_zone")
        types_of_volumes = [_type(tx, caller, name) for name in new.volume_types]
        quotas.take(site, tx, caller.project_id, {"groups": 1})
        _insert(
            tx,
            caller,
            id,
            name=new.name,
            description=new.description,
            availability_zone=zone or zones.of_group(site, (one.extra_specs for one in types_of_volumes)),
            group_type_id=kind.id,
            volume_type_ids=[one.id for one in types_of_volumes],
        )
        groups.settle(tx, id)
        return grouping.found(tx, caller, id, consistent=new.group_type is None)


def _kind(tx: Tx, caller: Caller, name: str) -> Row:
    """The group type with this name or id, if groups may be made of it."""
    kind = group_types.find(tx, name, private=caller.is_admin)
    if kind is None:
        raise errors.NotFound(f"Group type {name} could not be found.")
    if kind.name == group_types.RESERVED:
        raise errors.Invalid(
            f"Group type {kind.name} is reserved for /consistencygroups: use another one.", field="group_type"
        )
    for spec in UNSERVED_SPECS:
        if kind.group_specs.get(spec) == "<is> True":
            raise errors.Invalid(
                f"No backend here offers what group type {kind.name} asks for: {spec}.", field="group_type"
            )
    return kind


def create_from_group(
    site: Site, caller: Caller, source_id: str, *, name: str | None, description: str | None, consistent: bool = False
) -> Row:
    """Insert a group with a copy of each volume of another one, all of them `creating`."""
    with site.db.begin() as tx:
        source = grouping.held(tx, caller, source_id, consistent=consistent)
        if source.status != G.AVAILABLE:
            raise errors.InvalidState(f"Group {source_id} must be available, but is {source.status}.", field="status")
        members = volumes.of_group(tx, source_id)
        origins = {row.id: ("source_volid", row.id) for row in members}
        return _copied(site, caller, tx, source, members, origins, name, description, {"source_group_id": source_id})


def create_from_snapshot(
    site: Site, caller: Caller, snapshot_id: str, *, name: str | None, description: str | None, consistent: bool = False
) -> Row:
    """Insert a group with a volume for each snapshot of a group snapshot, all of them `creating`."""
    with site.db.begin() as tx:
        store.hold(tx, "group_snapshot", snapshot_id)
        row = group_snapshots.find(tx, snapshot_id, caller.sees)
        kept = grouping.asked_for(tx, row, snapshot_id, "group snapshot", consistent=consistent)
        if kept.status != G.AVAILABLE:
            raise errors.InvalidState(
                f"Group snapshot {snapshot_id} must be available, but is {kept.status}.", field="status"
            )
        source = grouping.held(tx, caller, kept.group_id, consistent=consistent)
        origins, members = {}, []
        for row in snapshots.of_group_snapshot(tx, snapshot_id):
            volume = volumes.find(tx, row.volume_id)
            assert volume is not None  # a foreign key says so
            members.append(volume)
            origins[volume.id] = ("snapshot_id", row.id)
        return _copied(
            site, caller, tx, source, members, origins, name, description, {"group_snapshot_id": snapshot_id}
        )


def _copied(
    site: Site,
    caller: Caller,
    tx: Tx,
    source: Row,
    members: Sequence[Row],
    origins: Mapping[str, tuple[str, str]],
    name: str | None,
    description: str | None,
    made_from: Mapping[str, str],
) -> Row:
    """`origins`: volume → what of NewVolume says what its copy is made from."""
    if not members:
        raise errors.Invalid("There are no volumes in what the group is to be made from.")
    id = str(uuid.uuid4())
    quotas.take(site, tx, caller.project_id, {"groups": 1})
    _insert(
        tx,
        caller,
        id,
        name=name,
        description=description,
        availability_zone=source.availability_zone,
        group_type_id=source.group_type_id,
        volume_type_ids=source.volume_type_ids,
        **made_from,
    )
    for row in sorted(members, key=lambda one: (str(one.created_at), str(one.id))):
        origin, origin_id = origins[row.id]
        new = volume_service.NewVolume(
            name=row.name,
            description=row.description,
            volume_type=row.volume_type_id,
            metadata=row.metadata,
            group_id=id,
            group_is_consistent=group_types.is_reserved(tx, source.group_type_id),
            **{origin: origin_id},  # type: ignore[arg-type]
        )
        volume_service.create_in(site, caller, tx, new)
    made = groups.find(tx, id)
    assert made is not None  # it was written in this transaction
    return made


def _insert(tx: Tx, caller: Caller, id: str, **values: Any) -> None:
    groups.insert(
        tx, id=id, project_id=caller.project_id, user_id=caller.user_id, status=states.GROUP["create"].during, **values
    )


def update(
    site: Site,
    caller: Caller,
    id: str,
    values: Mapping[str, Any],
    *,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    consistent: bool = False,
) -> None:
    """Change name or description; let volumes into the group and out of it, all or none."""
    with site.db.begin() as tx:
        row = grouping.held(tx, caller, id, consistent=consistent)
        site.policy.check("group:update", caller, row.project_id)
        if both := set(add) & set(remove):
            raise errors.Invalid(f"Volume {min(both)} is both in add_volumes and in remove_volumes.")
        if add or remove:
            store.begin(tx, "group", id, "update")
        for volume_id in sorted(remove):
            _leave(tx, row, volume_id)
        for volume_id in sorted(add):
            _join(tx, row, volume_id)
        if values:
            groups.update(tx, id, **values)
        if add or remove:
            store.end(tx, "group", id, "update", ok=True)


def _leave(tx: Tx, group: Row, volume_id: str) -> None:
    store.hold(tx, "volume", volume_id)
    row = volumes.find(tx, volume_id, group.project_id)
    if row is None or row.group_id != group.id:
        raise errors.Invalid(f"Volume {volume_id} is not in group {group.id}.", field="remove_volumes")
    if row.status not in MAY_LEAVE:
        raise errors.InvalidState(
            f"Volume {volume_id} must be {' or '.join(MAY_LEAVE)} to leave its group, but is {row.status}.",
            field="remove_volumes",
        )
    volumes.update(tx, volume_id, group_id=None)


def _join(tx: Tx, group: Row, volume_id: str) -> None:
    store.hold(tx, "volume", volume_id)
    row = volumes.find(tx, volume_id, group.project_id)
    if row is None:
        raise errors.Invalid(f"Volume {volume_id} is not there, or of another project.", field="add_volumes")
    pool = groups.pool_of(tx, group.id, but=volume_id)
    wrong = None
    if row.group_id is not None:
        wrong = f"it is in group {row.group_id} already"
    elif row.volume_type_id not in group.volume_type_ids:
        wrong = "its volume type is none of those of the group"
    elif row.status not in MAY_JOIN:
        wrong = f"it must be {' or '.join(MAY_JOIN)}, but is {row.status}"
    elif pool is not None and row.host != pool:
        wrong = f"it lies on {row.host}, and the group on {pool}"
    if wrong is not None:
        raise errors.Invalid(f"Volume {volume_id} cannot be added to group {group.id}: {wrong}.", field="add_volumes")
    volumes.update(tx, volume_id, group_id=group.id)


def delete(site: Site, caller: Caller, id: str, *, with_volumes: bool, consistent: bool = False) -> None:
    """Remove an empty group, or begin to delete it with all its volumes."""
    with site.db.begin() as tx:
        row = grouping.held(tx, caller, id, consistent=consistent)
        site.policy.check("group:delete", caller, row.project_id)
        if groups.has_snapshots(tx, id):
            raise errors.InvalidState(f"Group {id} has group snapshots; delete them first.")
        members = volumes.of_group(tx, id)
        if members and not with_volumes:
            raise errors.InvalidState(f"Group {id} has {len(members)} volumes; remove them, or delete them with it.")
        if with_volumes:
            store.force(tx, "group", id, G.ERROR)  # from whatever status it is in
        store.begin(tx, "group", id, "delete")
        for member in sorted(members, key=lambda one: str(one.id)):
            store.hold(tx, "volume", member.id)
            if store.attachment_statuses(tx, member.id):
                raise errors.InvalidState(f"Volume {member.id} of the group is attached; detach it first.")
            if store.has_snapshots(tx, member.id):
                raise errors.InvalidState(f"Volume {member.id} of the group has snapshots; delete them first.")
            volume_service.begin_delete(site, caller, tx, member)
        groups.settle(tx, id)


def reset(site: Site, caller: Caller, id: str, status: str) -> None:
    """What an administrator sets by hand."""
    with site.db.begin() as tx:
        row = grouping.held(tx, caller, id)
        site.policy.check("group:reset_status", caller, row.project_id)
        if status.lower() not in states.RESETTABLE_GROUP:
            allowed = ", ".join(sorted(states.RESETTABLE_GROUP))
            raise errors.Invalid(f"Status {status} may not be set; use: {allowed}.", field="status")
        store.force(tx, "group", id, status.lower())


def refuse_replication(site: Site, caller: Caller, id: str) -> None:
    """No group is replicated here."""
    with site.db.read() as tx:
        row = grouping.found(tx, caller, id)
        kind = group_types.find(tx, row.group_type_id, private=True)
    raise errors.Invalid(f"Group {id} is not replicated: group type {kind.name if kind else '?'} does not ask for it.")


def _type(tx: Tx, caller: Caller, name: str) -> Row:
    row = types.find(tx, name, caller.sees)
    if row is None:
        raise errors.NotFound(f"Volume type {name} could not be found.")
    return row
