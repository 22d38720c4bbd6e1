"""What operators set up for projects: volume types and what belongs to them, and limits. A part of schema.py."""

from __future__ import annotations

import sqlalchemy as sa

from brickyard.db.columns import NAME, UUID, flag, key, metadata, times

volume_types = sa.Table(
    "volume_types",
    metadata,
    key(),
    sa.Column("name", NAME, nullable=False, unique=True),
    sa.Column("description", NAME),
    flag("is_public", "1"),
    sa.Column("extra_specs", sa.JSON, nullable=False),
    sa.Column("qos_specs_id", UUID, sa.ForeignKey("qos_specs.id"), index=True),
    *times(),
)

volume_type_access = sa.Table(
    "volume_type_access",
    metadata,
    sa.Column("volume_type_id", UUID, sa.ForeignKey("volume_types.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("project_id", NAME, primary_key=True),
)

# The type of a project's requests that name none.
default_types = sa.Table(
    "default_types",
    metadata,
    sa.Column("project_id", NAME, primary_key=True),
    sa.Column("volume_type_id", UUID, sa.ForeignKey("volume_types.id", ondelete="CASCADE"), nullable=False),
)

qos_specs = sa.Table(
    "qos_specs",
    metadata,
    key(),
    sa.Column("name", NAME, nullable=False, unique=True),
    sa.Column("consumer", sa.String(16), nullable=False),  # front-end | back-end | both
    sa.Column("specs", sa.JSON, nullable=False),
    *times(),
)

encryptions = sa.Table(
    "encryptions",
    metadata,
    key(),
    sa.Column(
        "volume_type_id", UUID, sa.ForeignKey("volume_types.id", ondelete="CASCADE"), nullable=False, unique=True
    ),
    sa.Column("provider", NAME, nullable=False),
    sa.Column("control_location", sa.String(16), nullable=False),  # front-end | back-end
    sa.Column("cipher", NAME),
    sa.Column("key_size", sa.Integer),
    *times(),
)

quotas = sa.Table(
    "quotas",
    metadata,
    sa.Column("project_id", NAME, primary_key=True),
    sa.Column("resource", NAME, primary_key=True),
    sa.Column("hard_limit", sa.BigInteger, nullable=False),
)

quota_classes = sa.Table(
    "quota_classes",
    metadata,
    sa.Column("class_name", NAME, primary_key=True),
    sa.Column("resource", NAME, primary_key=True),
    sa.Column("hard_limit", sa.BigInteger, nullable=False),
)
