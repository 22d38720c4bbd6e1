"""The volume type that a project's requests get when they name none, where an administrator has chosen one for it."""

from __future__ import annotations

from brickyard.core import errors
from brickyard.db import default_types, quotas, types
from brickyard.db.database import Row
from brickyard.service.site import Site


def put(site: Site, project_id: str, name_or_id: str) -> Row:
    """Choose a type that the project sees."""
    with site.db.begin() as tx:
        quotas.lock(tx, project_id)
        row = types.find(tx, name_or_id, project_id)
        if row is None:
            raise errors.Invalid(
                f"Volume type {name_or_id} could not be found, or project {project_id} has no access to it.",
                field="volume_type",
            )
        default_types.put(tx, project_id, row.id)
        found = default_types.find(tx, project_id)
        assert found is not None  # it was written in this transaction
        return found


def require(site: Site, project_id: str) -> Row:
    with site.db.read() as tx:
        row = default_types.find(tx, project_id)
    if row is None:
        raise errors.NotFound(f"Default type for project {project_id} not found.")
    return row


def list_(site: Site) -> list[Row]:
    with site.db.read() as tx:
        return default_types.list_(tx)


def delete(site: Site, project_id: str) -> None:
    """Back to the default of the service; without one of its own that is where the project is."""
    with site.db.begin() as tx:
        default_types.delete(tx, project_id)
