"""What a group says of a volume that is to be one of it."""

from __future__ import annotations

from brickyard.core import errors
from brickyard.core.states import G
from brickyard.db import groups, store, types
from brickyard.db.database import Row, Tx
from brickyard.service.site import Caller


def held(tx: Tx, caller: Caller, id: str) -> Row:
    """The group, if the caller may see it, held until the transaction ends; NotFound otherwise."""
    store.hold(tx, "group", id)
    row = groups.find(tx, id, caller.sees)
    if row is None:
        raise errors.NotFound(f"Group {id} could not be found.")
    return row


def zone_of_new_member(tx: Tx, caller: Caller, group_id: str | None, volume_type: str | None) -> str | None:
    """The availability zone of a group that a new volume of this type may be created in; without a group there is
    none. The type must be said, and be one of the group's."""
    if group_id is None:
        return None
    group = held(tx, caller, group_id)
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
