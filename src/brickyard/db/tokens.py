"""Static tokens: kept as SHA-256, so that the database does not hold what opens the door."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import sqlalchemy as sa

from brickyard.core import clock
from brickyard.db import schema
from brickyard.db.database import Row, Tx

tokens = schema.tokens


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def insert(
    tx: Tx,
    token: str,
    *,
    user_id: str,
    project_id: str,
    roles: Sequence[str],
    description: str | None = None,
    expires_at: str | None = None,
) -> None:
    tx.execute(
        sa.insert(tokens).values(
            hash=digest(token),
            user_id=user_id,
            project_id=project_id,
            roles=list(roles),
            description=description,
            expires_at=expires_at,
            created_at=clock.stamp(),
        )
    )


def find(tx: Tx, token: str) -> Row | None:
    """Its row, unless it has expired."""
    valid = sa.or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > clock.stamp())
    return tx.execute(sa.select(tokens).where(tokens.c.hash == digest(token), valid)).one_or_none()


def list_(tx: Tx) -> list[Row]:
    return list(tx.execute(sa.select(tokens).order_by(tokens.c.created_at)))


def delete(tx: Tx, prefix: str) -> int:
    """Revoke the token whose hash begins so; the number that were removed."""
    return tx.execute(sa.delete(tokens).where(tokens.c.hash.startswith(prefix, autoescape=True))).rowcount
