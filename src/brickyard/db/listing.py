"""Lists: filters, sorting and pages, the same for every table.

A page is found by its key and not by counting: the marker's row gives the values that the next rows must come after,
so the cost of a page does not grow with what lies before it. Unknown filters and sort keys never reach SQL.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from brickyard.core import errors
from brickyard.db.database import Row, Tx

MAX_LIMIT = 1000
COMPARE = {
    "gt": lambda c, v: c > v,
    "gte": lambda c, v: c >= v,
    "eq": lambda c, v: c == v,
    "neq": lambda c, v: c != v,
    "lt": lambda c, v: c < v,
    "lte": lambda c, v: c <= v,
}


@dataclass(frozen=True, slots=True)
class Like:
    """Matches when the text contains this."""

    text: str


@dataclass(frozen=True, slots=True)
class Times:
    """Matches when all comparisons (gt gte eq neq lt lte, with a time) hold."""

    comparisons: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Query:
    """What to list. A filter's value is a scalar, a list (any of), a Mapping (contained in a JSON column), Like, Times.

    `project_id` None means every project. `sort` holds (column, 'asc' | 'desc'); the id is appended as the last key.
    """

    project_id: str | None
    filters: Mapping[str, Any] = field(default_factory=dict)
    sort: Sequence[tuple[str, str]] = (("created_at", "desc"),)
    limit: int = MAX_LIMIT
    offset: int = 0
    marker: str | None = None


def page(tx: Tx, statement: sa.Select[Any], table: sa.Table, query: Query) -> list[Row]:
    """The rows of one page of `statement`, which selects from `table` (and may join others)."""
    statement = narrowed(statement, table, query)
    keys = _keys(table, query)
    if query.marker is not None:
        statement = statement.where(_after(tx, table, keys, query))
    for column, direction in keys:
        statement = statement.order_by(*_sorted(tx, column, direction))
    if query.limit == 0:
        return []
    with _reading:
        return list(tx.execute(statement.limit(query.limit).offset(query.offset or None)))


def _sorted(tx: Tx, column: sa.Column[Any], direction: str) -> list[sa.UnaryExpression[Any]]:
    """Nulls are the smallest, as `_after` has it; PostgreSQL has to be told."""
    if tx.dialect.name == "postgresql" and column.nullable:
        return [column.desc().nulls_last() if direction == "desc" else column.asc().nulls_first()]
    return [column.desc() if direction == "desc" else column.asc()]


# SQLite lets go of the interpreter's lock at every row. Threads that read lists at the same time hand it to each other
# row by row, which takes several times as long as one list after the other; in parallel they never run anyhow.
_reading = threading.Lock()


def count(tx: Tx, table: sa.Table, query: Query, *columns: sa.ColumnElement[Any]) -> Row:
    """The number of all rows that match, and further aggregates."""
    statement = narrowed(sa.select(sa.func.count().label("total"), *columns).select_from(table), table, query)
    return tx.execute(statement).one()


def narrowed(statement: sa.Select[Any], table: sa.Table, query: Query) -> sa.Select[Any]:
    if query.project_id is not None:
        statement = statement.where(table.c.project_id == query.project_id)
    for name, value in query.filters.items():
        if name not in table.c:
            return statement.where(sa.false())
        statement = statement.where(_matches(table.c[name], value))
    return statement


def _matches(column: sa.Column[Any], value: Any) -> sa.ColumnElement[bool]:
    if isinstance(value, sa.Select):
        return column.in_(value)
    if isinstance(value, Like):
        return column.contains(value.text, autoescape=True)
    if isinstance(value, Times):
        return sa.and_(*(COMPARE[op](column, moment) for op, moment in value.comparisons))
    if isinstance(value, Mapping):
        if any('"' in str(key) for key in value):  # no key has one, and the path into the column would break
            return sa.false()
        return sa.and_(sa.true(), *(column[str(k)].as_string() == str(v) for k, v in value.items()))
    if isinstance(value, (list, tuple, set, frozenset)):
        return column.in_(list(value))
    return column.is_(None) if value is None else column == value


def _keys(table: sa.Table, query: Query) -> list[tuple[sa.Column[Any], str]]:
    keys = []
    for name, direction in query.sort:
        if name not in table.c:
            names = ", ".join(table.c.keys())
            raise errors.Invalid(f"Sort key {name!r} is not valid; use one of: {names}.", field="sort")
        keys.append((table.c[name], direction))
    if not any(column.name == "id" for column, _ in keys):
        keys.append((table.c.id, keys[-1][1] if keys else "desc"))
    return keys


def _after(tx: Tx, table: sa.Table, keys: list[tuple[sa.Column[Any], str]], query: Query) -> sa.ColumnElement[bool]:
    """The condition for what comes after the marker. Nulls come first ascending, last descending, as SQLite sorts."""
    statement = sa.select(*(column for column, _ in keys)).where(table.c.id == query.marker)
    if query.project_id is not None:
        statement = statement.where(table.c.project_id == query.project_id)
    last = tx.execute(statement).one_or_none()
    if last is None:
        raise errors.NotFound(f"Marker {query.marker} could not be found.")
    choices = []
    for n, (column, direction) in enumerate(keys):
        same = [c.is_(None) if v is None else c == v for (c, _), v in zip(keys[:n], last[:n], strict=True)]
        value = last[n]
        if direction == "desc":
            beyond = sa.false() if value is None else sa.or_(column < value, column.is_(None))
        else:
            beyond = column.is_not(None) if value is None else column > value
        choices.append(sa.and_(*same, beyond))
    return sa.or_(*choices)
