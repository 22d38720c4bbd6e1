"""Tables of the processes that belong to a site: the agents of its hosts, and who shares its database."""

from __future__ import annotations

import sqlalchemy as sa

from brickyard.db.columns import NAME, TIME, key, metadata, times

# Nodes that are processes of their own. A token is for one enrolment: it is gone when it was used.
agents = sa.Table(
    "agents",
    metadata,
    key("host", NAME),
    sa.Column("token_hash", sa.String(64), unique=True),
    sa.Column("token_expires_at", TIME),
    sa.Column("enrolled_at", TIME),  # when it got its credentials last
    *times(),
)

# Processes that share this database, as long as each says now and then that it is there.
processes = sa.Table(
    "processes",
    metadata,
    key(),
    sa.Column("binary", NAME, nullable=False),
    sa.Column("host", NAME, nullable=False),
    sa.Column("heartbeat_at", TIME, nullable=False),
    *times(),
)
