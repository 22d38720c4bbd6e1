"""Flavors: what an instance may use. Instances keep the figures of theirs, so that a flavor may go at any time."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass

from brickyard.core import errors
from brickyard.db import flavors, types
from brickyard.db.database import Row, Tx
from brickyard.service.site import Site


@dataclass(frozen=True, slots=True)
class NewFlavor:
    name: str
    vcpus: int
    memory_mib: int
    root_gib: int = 0
    local_storage_gb: int = 0
    local_storage_type: str | None = None


def require(tx: Tx, name_or_id: str) -> Row:
    row = flavors.find(tx, name_or_id)
    if row is None:
        known = ", ".join(other.name for other in flavors.list_(tx)[:20])
        raise errors.NotFound(f"Flavor {name_or_id} could not be found; there are: {known or 'none'}.")
    return row


def list_(site: Site) -> list[Row]:
    with site.db.read() as tx:
        return flavors.list_(tx)


def create(site: Site, new: NewFlavor) -> Row:
    id = str(uuid.uuid4())
    with site.db.begin() as tx:
        if flavors.find(tx, new.name) is not None:
            raise errors.Conflict(f"Flavor {new.name} exists already; delete it first, or choose another name.")
        if new.local_storage_type is not None:
            if not new.local_storage_gb:
                raise errors.Invalid("local_storage_type needs local_storage_gb as well.", field="local_storage_gb")
            if types.find(tx, new.local_storage_type) is None:
                raise errors.Invalid(
                    f"Volume type {new.local_storage_type} could not be found; create it first.",
                    field="local_storage_type",
                )
        flavors.insert(tx, id=id, **asdict(new))
        return require(tx, id)


def delete(site: Site, name_or_id: str) -> None:
    with site.db.begin() as tx:
        flavors.delete(tx, require(tx, name_or_id).id)
