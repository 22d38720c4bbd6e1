"""Groups of volumes, and snapshots of all that is in one. A part of schema.py."""

from __future__ import annotations

import sqlalchemy as sa

from brickyard.core import states
from brickyard.db.columns import NAME, UUID, by_project, flag, key, metadata, named, owner, status, status_in, times

group_types = sa.Table(
    "group_types",
    metadata,
    key(),
    sa.Column("name", NAME, nullable=False, unique=True),
    sa.Column("description", NAME),
    flag("is_public", "1"),
    sa.Column("group_specs", sa.JSON, nullable=False),
    *times(),
)

# A group lies on the pool of its volumes, which is one; an empty one lies nowhere yet.
groups = sa.Table(
    "groups",
    metadata,
    key(),
    *owner(),
    *named(),
    *status(),
    sa.Column("availability_zone", NAME),
    sa.Column("group_type_id", UUID, sa.ForeignKey("group_types.id"), nullable=False, index=True),
    sa.Column("volume_type_ids", sa.JSON, nullable=False),  # the types that its volumes may have
    sa.Column("group_snapshot_id", UUID),  # what it was made from
    sa.Column("source_group_id", UUID),
    *times(),
    status_in(states.G),
    by_project("groups"),
)

group_snapshots = sa.Table(
    "group_snapshots",
    metadata,
    key(),
    *owner(),
    sa.Column("group_id", UUID, sa.ForeignKey("groups.id"), nullable=False, index=True),
    sa.Column("group_type_id", UUID, nullable=False),
    *named(),
    *status(),
    *times(),
    status_in(states.G),
    by_project("group_snapshots"),
)
