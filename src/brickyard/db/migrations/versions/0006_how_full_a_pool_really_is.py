"""How full a pool really is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.add_column(sa.Column("paused_reason", sa.Text(), nullable=True))

    with op.batch_alter_table("pools", schema=None) as batch_op:
        batch_op.add_column(sa.Column("data_percent", sa.Float(), nullable=True))
        batch_op.add_column(sa.Column("metadata_percent", sa.Float(), nullable=True))
        batch_op.add_column(sa.Column("stage", sa.String(length=16), server_default="ok", nullable=False))
        batch_op.add_column(sa.Column("stage_reason", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("stage_since", sa.String(length=26), nullable=True))
