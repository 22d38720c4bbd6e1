"""Tables of backups, and of the services that make them."""

from __future__ import annotations

import sqlalchemy as sa

from brickyard.core import states
from brickyard.db.columns import NAME, STATUS, TIME, UUID, count, flag, key, metadata, status_in, times

# A backup outlives its volume and the host that made it: no foreign keys lead there.
backups = sa.Table(
    "backups",
    metadata,
    key(),
    sa.Column("project_id", NAME, nullable=False),
    sa.Column("user_id", NAME, nullable=False),
    sa.Column("name", NAME),
    sa.Column("description", NAME),
    sa.Column("volume_id", UUID, nullable=False, index=True),
    sa.Column("snapshot_id", UUID),
    sa.Column("parent_id", UUID, index=True),  # of an incremental one: what it was compared with
    sa.Column("size_gib", sa.Integer, nullable=False),
    sa.Column("before", STATUS),
    sa.Column("status", STATUS, nullable=False),
    sa.Column("container", NAME, nullable=False),
    sa.Column("place", NAME, nullable=False),  # whoever reaches it can restore and delete the backup
    sa.Column("host", NAME, nullable=False),  # whose service made it
    sa.Column("availability_zone", NAME),
    count("object_count"),
    count("stored_bytes"),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("of_volume", sa.JSON, nullable=False),  # what comes back with the content, see db/backups.py
    sa.Column("fault", sa.Text),
    sa.Column("data_timestamp", TIME, nullable=False),  # the moment of the content
    flag("cancelled"),  # an administrator wants it gone, although it is being made
    *times(),
    status_in(states.B),
    sa.Index("ix_backups_project_id_created_at", "project_id", "created_at", "id"),
)

backup_services = sa.Table(
    "backup_services",
    metadata,
    sa.Column("host_id", UUID, sa.ForeignKey("hosts.id"), primary_key=True),
    sa.Column("driver", NAME, nullable=False),
    sa.Column("container", NAME, nullable=False),  # of requests that name none
    sa.Column("place", NAME),  # null: it has never been reached
    flag("up"),
    sa.Column("why_down", sa.Text),
    flag("enabled", "1"),
    sa.Column("disabled_reason", NAME),
    *times(),
)
