"""Tables of the images that pools keep, to clone volumes from."""

from __future__ import annotations

import sqlalchemy as sa

from brickyard.core import states
from brickyard.db.columns import TIME, UUID, key, metadata, status, status_in, times

cached_images = sa.Table(
    "cached_images",
    metadata,
    key(),
    sa.Column("pool_id", UUID, sa.ForeignKey("pools.id"), nullable=False),
    sa.Column("image_id", UUID, nullable=False),
    sa.Column("version", sa.String(64), nullable=False),  # a digest of what its content depends on
    sa.Column("size_gib", sa.Integer, nullable=False),
    sa.Column("last_used_at", TIME, nullable=False),
    *status(),
    *times(),
    sa.UniqueConstraint("pool_id", "image_id", "version"),
    status_in(states.C),
)

# Volumes that are being made of one, which may not go before that is done.
cached_image_users = sa.Table(
    "cached_image_users",
    metadata,
    key("volume_id"),
    sa.Column("cached_image_id", UUID, sa.ForeignKey("cached_images.id"), nullable=False, index=True),
)
