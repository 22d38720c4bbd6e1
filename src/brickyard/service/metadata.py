"""Metadata of volumes, snapshots and the images that volumes came from: one change, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from brickyard.core import errors
from brickyard.core.states import V
from brickyard.db import snapshots, store, volumes
from brickyard.db.database import Row, Tx
from brickyard.service.site import Caller, Site

Change = Callable[[dict[str, Any]], dict[str, Any]]  # gets what is there and returns what shall be there
TABLES: Mapping[str, Any] = {"volume": volumes, "snapshot": snapshots}


def find(tx: Tx, caller: Caller, noun: str, id: str) -> Row:
    """The volume or snapshot, if the caller may see it; NotFound otherwise."""
    row: Row | None = TABLES[noun].find(tx, id, caller.sees)
    if row is None:
        raise errors.NotFound(f"{noun.capitalize()} {id} could not be found.")
    return row


def show(site: Site, caller: Caller, noun: str, id: str, policy: str, column: str = "metadata") -> dict[str, Any]:
    with site.db.read() as tx:
        row = find(tx, caller, noun, id)
    site.policy.check(policy, caller, row.project_id)
    return dict(row._mapping[column])


def change(
    site: Site, caller: Caller, noun: str, id: str, policy: str, change: Change, column: str = "metadata"
) -> dict[str, Any]:
    """Apply `change` to what is there; what is there then."""
    with site.db.begin() as tx:
        store.hold(tx, noun, id)
        row = find(tx, caller, noun, id)
        site.policy.check(policy, caller, row.project_id)
        if row.status == V.MAINTENANCE:
            raise errors.InvalidState(f"Volume {id} is in maintenance; change its metadata after that.", field="status")
        after = change(dict(row._mapping[column]))
        TABLES[noun].update(tx, id, **{column: after})
        return after


def merged(more: Mapping[str, Any]) -> Change:
    return lambda before: {**before, **more}


def without(key: str) -> Change:
    """Remove one key; NotFound if it is not there."""

    def remove(before: dict[str, Any]) -> dict[str, Any]:
        require(before, key)
        return {name: value for name, value in before.items() if name != key}

    return remove


def require(metadata: Mapping[str, Any], key: str) -> Any:
    """The value of a key; NotFound if it is not there."""
    if key not in metadata:
        raise errors.NotFound(f"Metadata item {key} was not found.")
    return metadata[key]
