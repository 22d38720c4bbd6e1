"""How far the step of a flow is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("flows", sa.Column("progress", sa.JSON(), nullable=True))
