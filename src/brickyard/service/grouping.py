"""What a group says of those who ask for it, and of a volume that is to be one of it.

A consistency group is a group of the reserved type. Who asks for the one under the name of the other gets neither: what
is kept of a consistency group is of one moment, and of another group it need not be.
"""

from __future__ import annotations

from brickyard.core import errors
from brickyard.core.states import G
from brickyard.db import group_types, groups, snapshots, store, types
from brickyard.db.database import Row, Tx
from brickyard.service.site import Caller


def asked_for(tx: Tx, row: Row | None, id: str, noun: str, *, consistent: bool) -> Row:
    """The group or group snapshot with this id, if it was found and is of the kind that was asked for.

    NotFound without one; Invalid for what belongs to a consistency group, which has requests of its own.
    """
    called = f"Consistency {noun}" if consistent else noun.capitalize()
    if row is None:
        raise errors.NotFound(f"{called} {id} could not be found.")
    if group_types.is_reserved(tx, row.group_type_id) == consistent:
        return row
    if consistent:
        raise errors.NotFound(f"{called} {id} could not be found.")
    raise errors.Invalid(f"{called} {id} belongs to a consistency group: use /consistencygroups and /cgsnapshots.")


def found(tx: Tx, caller: Caller, id: str, *, consistent: bool = False) -> Row:
    """The group, if the caller may see it; NotFound otherwise."""
    return asked_for(tx, groups.find(tx, id, caller.sees), id, "group", consistent=consistent)


def held(tx: Tx, caller: Caller, id: str, *, consistent: bool = False) -> Row:
    """`found`, held until the transaction ends."""
    store.hold(tx, "group", id)
    return found(tx, caller, id, consistent=consistent)


def check_still(tx: Tx, volume: Row) -> None:
    """Raise InvalidState while a snapshot of the volume's consistency group is being taken: who wrote to it now would
    do so between its own snapshot and those of the others. The volume is held."""
    if volume.consistencygroup_id is not None and snapshots.is_being_kept(tx, volume.id):
        raise errors.InvalidState(
            f"Volume {volume.id} is in consistency group {volume.consistencygroup_id}, of which a snapshot is being "
            "taken; repeat this when that is available.",
            field="status",
        )


def zone_of_new_member(
    tx: Tx, caller: Caller, group_id: str | None, volume_type: str | None, *, consistent: bool
) -> str | None:
    """The availability zone of a group that a new volume of this type may be created in; without a group there is
    none. The type must be said, and be one of the group's."""
    if group_id is None:
        return None
    group = held(tx, caller, group_id, consistent=consistent)
    if group.project_id != caller.project_id:
        raise errors.Invalid(f"Group {group_id} is of another project.", field="group_id")
    if group.status not in (G.AVAILABLE, G.CREATING):
        raise errors.InvalidState(f"Group {group_id} must be available, but is {group.status}.", field="group_id")
    if volume_type is None:
        raise errors.Invalid("A volume in a group needs a volume type: name one.", field="volume_type")
    found = types.find(tx, volume_type, caller.sees)
    if found is not None and found.id not in group.volume_type_ids:
        raise errors.Invalid(f"Volume type {found.name} is none of those of group {group_id}.", field="volume_type")
    return str(group.availability_zone) if group.availability_zone is not None else None
