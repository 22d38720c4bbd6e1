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


def owner() -> tuple[sa.Column[str], sa.Column[str]]:
    """Whose it is: the project, and the user who asked for it."""
    return sa.Column("project_id", NAME, nullable=False), sa.Column("user_id", NAME, nullable=False)


def named() -> tuple[sa.Column[str], sa.Column[str]]:
    """What its owner calls it."""
    return sa.Column("name", NAME), sa.Column("description", NAME)


def status() -> tuple[sa.Column[str], sa.Column[str]]:
    """The status, and the one in which a running action found it."""
    return sa.Column("before", STATUS), sa.Column("status", STATUS, nullable=False)


def by_project(table: str) -> sa.Index:
    """What lists of a project are read by."""
    return sa.Index(f"ix_{table}_project_id_created_at", "project_id", "created_at", "id")
