"""Encryption of volume types. It is kept for clients that read and write it; no backend here encrypts, so no volume of
such a type is made: it would hold in plain text what its owner believes to be encrypted."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from brickyard.core import errors
from brickyard.db import encryptions
from brickyard.db import types as type_rows
from brickyard.db.database import Row, Tx
from brickyard.service import types
from brickyard.service.site import Caller, Site


def find(site: Site, caller: Caller, type_id: str) -> Row | None:
    """The encryption of a type, if it asks for one."""
    with site.db.read() as tx:
        types.require(tx, caller, type_id)
        return encryptions.of_type(tx, type_id)


def create(site: Site, caller: Caller, type_id: str, values: Mapping[str, Any]) -> Row:
    with site.db.begin() as tx:
        _unused(tx, caller, type_id)
        if encryptions.of_type(tx, type_id) is not None:
            raise errors.Invalid(f"Volume type {type_id} has an encryption already: change that, or delete it.")
        encryptions.insert(tx, id=str(uuid.uuid4()), volume_type_id=type_id, **values)
        row = encryptions.of_type(tx, type_id)
        assert row is not None  # it was written in this transaction
        return row


def update(site: Site, caller: Caller, type_id: str, id: str, values: Mapping[str, Any]) -> None:
    with site.db.begin() as tx:
        _unused(tx, caller, type_id)
        encryptions.update(tx, _require(tx, type_id, id).id, **values)


def delete(site: Site, caller: Caller, type_id: str, id: str) -> None:
    with site.db.begin() as tx:
        _unused(tx, caller, type_id)
        encryptions.delete(tx, _require(tx, type_id, id).id)


def _unused(tx: Tx, caller: Caller, type_id: str) -> None:
    encryptions.hold_type(tx, type_id)
    row = types.require(tx, caller, type_id)
    if type_rows.in_use(tx, type_id):
        raise errors.InvalidState(
            f"Volume type {row.name} is in use: volumes have it, and its encryption stays as it is."
        )


def _require(tx: Tx, type_id: str, id: str) -> Row:
    """The encryption of a type, under its id, or under the word `provider`, as python-cinderclient calls it."""
    row = encryptions.of_type(tx, type_id)
    if row is None or id not in (row.id, "provider"):
        raise errors.NotFound(f"Volume type {type_id} has no encryption {id}.")
    return row
