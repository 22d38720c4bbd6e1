"""Group types: kinds of groups that an administrator offers."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from brickyard.core import errors
from brickyard.db import group_types
from brickyard.db.database import Row, Tx
from brickyard.service.site import Caller, Site


def create(site: Site, *, name: str, description: str | None, is_public: bool, group_specs: Mapping[str, Any]) -> Row:
    id = str(uuid.uuid4())
    with site.db.begin() as tx:
        name = _free_name(tx, name)
        group_types.insert(
            tx, id=id, name=name, description=description, is_public=is_public, group_specs=dict(group_specs)
        )
        return _known(tx, id)


def require(tx: Tx, caller: Caller, id: str) -> Row:
    """The group type with this id, if the caller may see it; NotFound otherwise. Only administrators see private ones.

    `default` is no id: there is no default group type here.
    """
    row = group_types.find(tx, id, private=caller.is_admin)
    if row is None or row.id != id:
        raise errors.NotFound(f"Group type {id} could not be found.")
    return row


def update(site: Site, caller: Caller, id: str, values: Mapping[str, Any]) -> Row:
    """Change name, description or is_public."""
    with site.db.begin() as tx:
        _changeable(tx, caller, id)
        changed = dict(values)
        if changed.get("name") is not None:
            changed["name"] = _free_name(tx, changed["name"], id)
        group_types.update(tx, id, **changed)
        return _known(tx, id)


def delete(site: Site, caller: Caller, id: str) -> None:
    with site.db.begin() as tx:
        row = _changeable(tx, caller, id)
        if group_types.in_use(tx, id):
            raise errors.InvalidState(f"Group type {row.name} is in use: groups have it.")
        group_types.delete(tx, id)


def set_specs(site: Site, caller: Caller, id: str, specs: Mapping[str, Any]) -> None:
    """Add these to the specs of a group type, in place of older ones of the same key."""
    with site.db.begin() as tx:
        row = _changeable(tx, caller, id)
        group_types.update(tx, id, group_specs={**row.group_specs, **specs})


def delete_spec(site: Site, caller: Caller, id: str, key: str) -> None:
    with site.db.begin() as tx:
        row = _changeable(tx, caller, id)
        if key not in row.group_specs:
            raise errors.NotFound(f"Group type {id} has no group spec {key}.")
        group_types.update(tx, id, group_specs={k: v for k, v in row.group_specs.items() if k != key})


def _changeable(tx: Tx, caller: Caller, id: str) -> Row:
    row = require(tx, caller, id)
    if row.name == group_types.RESERVED:
        raise errors.Invalid(f"Group type {row.name} belongs to the consistency groups, and is not changed.")
    return row


def _known(tx: Tx, id: str) -> Row:
    row = group_types.find(tx, id, private=True)
    assert row is not None  # it was written in this transaction
    return row


def _free_name(tx: Tx, name: str, own_id: str | None = None) -> str:
    name = name.strip()
    if not name:
        raise errors.Invalid("The name of a group type must not be blank.", field="name")
    if name == group_types.RESERVED:
        raise errors.Invalid(f"The name {name} is reserved for the type of consistency groups.", field="name")
    holder = group_types.find(tx, name, private=True)
    if holder is not None and holder.id != own_id:
        raise errors.Conflict(f"Group type {name} already exists.")
    return name
