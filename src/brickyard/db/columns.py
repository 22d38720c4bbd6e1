"""What the columns of schema.py are made of."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

UUID = sa.String(36)
NAME = sa.String(255)
TIME = sa.String(26)
STATUS = sa.String(32)


def key(name: str = "id", type_: sa.types.TypeEngine[str] = UUID) -> sa.Column[str]:
    return sa.Column(name, type_, primary_key=True)


def times() -> tuple[sa.Column[str], sa.Column[str]]:
    return sa.Column("created_at", TIME, nullable=False), sa.Column("updated_at", TIME)


def count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def flag(name: str, default: str = "0") -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False, server_default=sa.true() if default == "1" else sa.false())


def status_in(enum: type) -> sa.CheckConstraint:
    """The statuses of a table, as core/states.py lists them."""
    allowed = ", ".join(f"'{s}'" for s in enum)  # type: ignore[attr-defined]
    return sa.CheckConstraint(f"status IN ({allowed})", name="status")
