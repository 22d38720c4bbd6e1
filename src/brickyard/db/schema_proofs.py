"""Tables of what was seen and must be proven later: receipts of wipes, findings of audits."""

from __future__ import annotations

import sqlalchemy as sa

from brickyard.db.columns import NAME, TIME, UUID, key, metadata, times

# That what was deleted cannot be read any more. Kept for good: who asks for one may ask years later.
receipts = sa.Table(
    "receipts",
    metadata,
    key(),
    sa.Column(
        "brick_id", UUID, nullable=False, index=True
    ),  # the volume, the snapshot, the cached image, or the instance of a root disk
    sa.Column("name", NAME, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),  # volume | snapshot | root | image
    sa.Column("project_id", NAME, nullable=False),
    sa.Column("pool", NAME, nullable=False),  # its name: the pool may go, the receipt stays
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("method", sa.String(32), nullable=False),
    sa.Column("verified", sa.Text, nullable=False),
    sa.Column("started_at", TIME, nullable=False),
    sa.Column("finished_at", TIME, nullable=False),
    sa.Column("flow_id", UUID, nullable=False),  # no reference: a flow is forgotten after a week
    *times(),
    sa.UniqueConstraint("flow_id", "pool", "name", "finished_at"),
    sa.Index("ix_receipts_created_at", "created_at", "id"),
)

# Since when an audit has seen a difference: what is removed is removed only after it has been there for a while.
audit_findings = sa.Table(
    "audit_findings",
    metadata,
    key("key", sa.String(512)),  # kind, place and name of the difference
    sa.Column("first_seen_at", TIME, nullable=False),
)

# Bricks whose data were declared lost, or that nobody knew when their lost host came back: whatever lies under such a
# name is never again what the name says. Kept for good, as the names are. The name of a pool stands for all
# that lies in it without a row: it could not be looked at when its host came back.
lost_bricks = sa.Table(
    "lost_bricks",
    metadata,
    key("name", NAME),
    sa.Column("pool", NAME, nullable=False),  # its name: the pool may go
    sa.Column("lost_at", TIME, nullable=False),
)
