"""Since when an audit has seen a difference."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "audit_findings",
        sa.Column("key", sa.String(length=512), nullable=False),
        sa.Column("first_seen_at", sa.String(length=26), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_audit_findings")),
    )
