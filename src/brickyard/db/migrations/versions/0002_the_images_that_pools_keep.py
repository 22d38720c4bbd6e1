"""the images that pools keep."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
phase = "expand"


def upgrade() -> None:
    op.create_table(
        "cached_images",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("pool_id", sa.String(length=36), nullable=False),
        sa.Column("image_id", sa.String(length=36), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("size_gib", sa.Integer(), nullable=False),
        sa.Column("last_used_at", sa.String(length=26), nullable=False),
        sa.Column("before", sa.String(length=32), nullable=True),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.String(length=26), nullable=False),
        sa.Column("updated_at", sa.String(length=26), nullable=True),
        sa.CheckConstraint(
            "status IN ('creating', 'available', 'deleting', 'error_deleting')", name=op.f("ck_cached_images_status")
        ),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_cached_images_pool_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cached_images")),
        sa.UniqueConstraint("pool_id", "image_id", "version", name=op.f("uq_cached_images_pool_id_image_id_version")),
        mariadb_charset="utf8mb4",
        mariadb_collate="utf8mb4_bin",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
    op.create_table(
        "cached_image_users",
        sa.Column("volume_id", sa.String(length=36), nullable=False),
        sa.Column("cached_image_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(
            ["cached_image_id"], ["cached_images.id"], name=op.f("fk_cached_image_users_cached_image_id")
        ),
        sa.PrimaryKeyConstraint("volume_id", name=op.f("pk_cached_image_users")),
        mariadb_charset="utf8mb4",
        mariadb_collate="utf8mb4_bin",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
    with op.batch_alter_table("cached_image_users", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_cached_image_users_cached_image_id"), ["cached_image_id"], unique=False)

    with op.batch_alter_table("pools", schema=None) as batch_op:
        batch_op.add_column(sa.Column("image_cache_hits", sa.BigInteger(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("image_cache_misses", sa.BigInteger(), server_default="0", nullable=False))
