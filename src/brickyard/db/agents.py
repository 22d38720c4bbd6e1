"""Agents: hosts whose node is a process of its own, and the token with which each gets its credentials, once."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa

from brickyard.core import clock
from brickyard.db import schema
from brickyard.db.database import Row, Tx

agents = schema.agents


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def invite(tx: Tx, host: str, token: str, ttl_s: float) -> str:
    """The host may enroll with this token, and with no earlier one; until when."""
    until, now = clock.stamp(ttl_s), clock.stamp()
    values = {"token_hash": _digest(token), "token_expires_at": until}
    if not tx.execute(sa.update(agents).where(agents.c.host == host).values(updated_at=now, **values)).rowcount:
        tx.execute(sa.insert(agents).values(host=host, created_at=now, **values))
    return until


def take(tx: Tx, token: str) -> str | None:
    """Use a token up: the host that it is for, or None when it is not good (any more)."""
    good = sa.and_(agents.c.token_hash == _digest(token), agents.c.token_expires_at > clock.stamp())
    host = tx.scalar(sa.select(agents.c.host).where(good))
    values = {"token_hash": None, "token_expires_at": None, "enrolled_at": clock.stamp(), "updated_at": clock.stamp()}
    used = tx.execute(sa.update(agents).where(good).values(**values)).rowcount
    return str(host) if used == 1 else None


def give_back(tx: Tx, host: str, token: str, ttl_s: float) -> None:
    """The token that was taken led to nothing: it is good again, unless there is a newer one."""
    values = {"token_hash": _digest(token), "token_expires_at": clock.stamp(ttl_s)}
    tx.execute(sa.update(agents).where(agents.c.host == host, agents.c.token_hash.is_(None)).values(**values))


def find(tx: Tx, host: str) -> Row | None:
    return tx.execute(sa.select(agents).where(agents.c.host == host)).one_or_none()


def list_(tx: Tx) -> list[Row]:
    return list(tx.execute(sa.select(agents).order_by(agents.c.host)))


def delete(tx: Tx, host: str) -> bool:
    return tx.execute(sa.delete(agents).where(agents.c.host == host)).rowcount == 1
