"""Volume types: kinds of storage that an administrator describes by extra specs and gives to all or some projects."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from brickyard.core import errors
from brickyard.db import audit, default_types, encryptions, quotas, types
from brickyard.db.database import Row, Tx
from brickyard.service.site import Caller, Site

# What projects may know of a type. The other extra specs tell how the operator has built the storage.
VISIBLE_SPECS = frozenset({"RESKEY:availability_zones", "multiattach", "replication_enabled"})
YES = "<is> True"


def create(site: Site, *, name: str, description: str | None, is_public: bool, extra_specs: Mapping[str, Any]) -> Row:
    _check_specs(extra_specs)
    id = str(uuid.uuid4())
    with site.db.begin() as tx:
        name = _free_name(tx, name)
        types.insert(tx, id=id, name=name, description=description, is_public=is_public, extra_specs=dict(extra_specs))
        return _known(tx, id)


def require(tx: Tx, caller: Caller, id: str) -> Row:
    """The type with this id, if the caller may see it; NotFound otherwise."""
    row = types.find(tx, id, caller.sees)
    if row is None or row.id != id:
        raise errors.NotFound(f"Volume type {id} could not be found.")
    return row


def default(site: Site, tx: Tx, caller: Caller) -> Row:
    """The type of requests that name none."""
    name = default_name(site, tx, caller)
    row = types.find(tx, name, caller.sees) if name else None
    if row is None:
        missing = f"Default volume type {name} could not be found." if name else "No default volume type is configured."
        raise errors.NotFound(missing)
    return row


def default_name(site: Site, tx: Tx, caller: Caller) -> str | None:
    """Name or id of the default type: that of the caller's project, or else that of the service, if it has one."""
    own = default_types.find(tx, caller.project_id)
    return own.volume_type_id if own is not None else site.settings.default_volume_type


def for_volume(site: Site, tx: Tx, caller: Caller, asked: str | None, *, hold: bool = True) -> Row | None:
    """The type of a new volume: as asked, by name or id, or else the default one; None where there is none at all.

    NotFound if the caller sees no such type, Invalid if nothing here can keep what it promises. `hold`: the
    transaction makes one, and until it ends the type promises nothing else.
    """
    wanted = asked or default_name(site, tx, caller)
    if wanted is None:
        return None
    row = types.find(tx, wanted, caller.sees)
    if row is None:
        raise errors.NotFound(f"Volume type {wanted} could not be found.")
    check_encryption(tx, row, hold=hold)
    return row


def check_encryption(tx: Tx, row: Row, *, hold: bool = True) -> None:
    """Raise Invalid if volumes of the type must be encrypted, which no backend here does; `hold` as above."""
    wants = encryptions.of_type(tx, row.id, hold=hold)
    if wants is not None:
        raise errors.Invalid(
            f"Volume type {row.name} asks for encryption ({wants.provider}, {wants.control_location}), and no backend "
            "here encrypts; choose a type without it.",
            field="volume_type",
        )


def update(site: Site, caller: Caller, id: str, values: Mapping[str, Any]) -> Row:
    """Change name, description or is_public; the limits of a type carry its name and follow a new one."""
    with site.db.begin() as tx:
        row = require(tx, caller, id)
        changed = dict(values)
        if changed.get("name") is not None:
            changed["name"] = _free_name(tx, changed["name"], id)
            if changed["name"] != row.name:
                quotas.rename_type(tx, row.name, changed["name"])
        types.update(tx, id, **changed)
        return _known(tx, id)


def delete(site: Site, caller: Caller, id: str) -> None:
    """Remove a type that no volume has and that is not the default. The last one may go: volumes need no type here."""
    with site.db.begin() as tx:
        row = require(tx, caller, id)
        if site.settings.default_volume_type in (row.id, row.name):
            raise errors.Invalid(f"Volume type {row.name} is the default of this service and cannot be deleted.")
        if projects := default_types.projects_of(tx, id):
            some = ", ".join(projects[:5])
            raise errors.Invalid(f"Volume type {row.name} is the default of {len(projects)} projects, such as {some}.")
        _check_unused(tx, row)
        types.delete(tx, id)
        quotas.forget_type(tx, row.name)


# extra specs ---------------------------------------------------------------------------------------------------------


def set_specs(site: Site, caller: Caller, id: str, specs: Mapping[str, Any]) -> None:
    """Add these to the extra specs of a type, in place of older ones of the same key."""
    with site.db.begin() as tx:
        row = require(tx, caller, id)
        _check_unused(tx, row)
        merged = {**row.extra_specs, **specs}
        _check_specs(merged)
        types.update(tx, id, extra_specs=merged)


def delete_spec(site: Site, caller: Caller, id: str, key: str) -> None:
    with site.db.begin() as tx:
        row = require(tx, caller, id)
        _check_unused(tx, row)
        if key not in row.extra_specs:
            raise errors.NotFound(f"Volume type {id} has no extra spec {key}.")
        types.update(tx, id, extra_specs={k: v for k, v in row.extra_specs.items() if k != key})


def visible_specs(site: Site, caller: Caller, row: Row) -> dict[str, Any]:
    """The extra specs that this caller may know."""
    if site.policy.allows("volume_extension:types_extra_specs:read_sensitive", caller):
        return dict(row.extra_specs)
    return {key: value for key, value in row.extra_specs.items() if key in VISIBLE_SPECS}


# access --------------------------------------------------------------------------------------------------------------


def grant(site: Site, caller: Caller, id: str, project_id: str) -> None:
    with site.db.begin() as tx:
        _check_private(require(tx, caller, id))
        if project_id in types.projects(tx, id):
            raise errors.Conflict(f"Project {project_id} has access to volume type {id} already.")
        types.grant(tx, id, project_id)


def revoke(site: Site, caller: Caller, id: str, project_id: str) -> None:
    with site.db.begin() as tx:
        _check_private(require(tx, caller, id))
        if not types.revoke(tx, id, project_id):
            raise errors.NotFound(f"Project {project_id} has no access to volume type {id}.")


def projects(site: Site, caller: Caller, id: str) -> list[str]:
    with site.db.read() as tx:
        if require(tx, caller, id).is_public:
            raise errors.NotFound(f"Volume type {id} is public: it has no list of projects.")
        return types.projects(tx, id)


# rules ---------------------------------------------------------------------------------------------------------------


def _known(tx: Tx, id: str) -> Row:
    row = types.find(tx, id)
    assert row is not None  # it was written in this transaction
    return row


def _free_name(tx: Tx, name: str, own_id: str | None = None) -> str:
    name = name.strip()
    if not name:
        raise errors.Invalid("The name of a volume type must not be blank.", field="name")
    holder = types.find(tx, name)
    if holder is not None and holder.id != own_id:
        raise errors.Conflict(f"Volume type {name} already exists.")
    return name


def _check_unused(tx: Tx, row: Row) -> None:
    if types.in_use(tx, row.id):
        raise errors.InvalidState(f"Volume type {row.name} is in use: volumes have it.")
    if flow := audit.working_on(tx, [row.id]):
        raise errors.InvalidState(f"Volume type {row.name} is in use: flow {flow} gives it to a volume.")


def _check_private(row: Row) -> None:
    if row.is_public:
        raise errors.Invalid(f"Volume type {row.name} is public: every project has access to it.")


def _check_specs(specs: Mapping[str, Any]) -> None:
    if specs.get("multiattach") == YES and specs.get("cacheable") == YES:
        raise errors.Invalid("A volume type cannot be both multiattach and cacheable.", field="extra_specs")
