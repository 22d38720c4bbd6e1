"""A site with many projects, and how the database finds what one of them asks for."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from brickyard.core import clock
from brickyard.db import schema
from brickyard.db.database import MARIADB, Database

GROWING = ("volumes", "snapshots", "attachments", "messages", "flows", "flow_log", "claims", "instances", "transfers")
CHUNK = 1000


def fill(db: Database, projects: Sequence[str], volumes_each: int) -> None:
    """Volumes of each project, on no pool; every fifth has a snapshot, every tenth is attached, all have a flow."""
    rows: dict[str, list[dict[str, Any]]] = {
        "volumes": [],
        "snapshots": [],
        "attachments": [],
        "flows": [],
        "messages": [],
    }
    for project in projects:
        for number in range(volumes_each):
            id, now = str(uuid.uuid4()), clock.stamp(-number)
            whose = {"project_id": project, "user_id": "somebody", "created_at": now}
            about = {"name": f"volume {number}", "size_gib": 1, "metadata": {"of": project}}
            attached = number % 10 == 0
            status = "in-use" if attached else "available"
            rows["volumes"].append({"id": id, **whose, **about, "status": status, "image_metadata": {}})
            if number % 5 == 0:
                snapshot = {"id": str(uuid.uuid4()), **whose, **about, "status": "available", "volume_id": id}
                rows["snapshots"].append(snapshot)
            if attached:
                attachment = {"id": str(uuid.uuid4()), "volume_id": id, "instance_uuid": str(uuid.uuid4())}
                rows["attachments"].append({**attachment, "status": "attached", "created_at": now})
            flow = {"id": str(uuid.uuid4()), "name": "create_volume", "params": {}, "status": "done", "resource_id": id}
            rows["flows"].append(
                {**flow, "project_id": project, "not_before": now, "finished_at": now, "created_at": now}
            )
            message = {"id": str(uuid.uuid4()), "project_id": project, "event_id": "1", "user_message": "-"}
            rows["messages"].append(
                {**message, "level": "ERROR", "guaranteed_until": clock.stamp(86400), "created_at": now}
            )
    with db.begin() as tx:
        for name, values in rows.items():
            for start in range(0, len(values), CHUNK):
                tx.execute(sa.insert(schema.metadata.tables[name]), values[start : start + CHUNK])
    with db.begin() as tx:  # the planner of a server knows sizes by what it has counted
        for name in rows:
            if db.dialect != "sqlite":
                tx.exec_driver_sql(f"ANALYZE {'TABLE ' if db.dialect in MARIADB else ''}{name}")


@contextlib.contextmanager
def statements(db: Database) -> Iterator[list[tuple[str, Any]]]:
    """The statements that run while the block does, with what they are given."""
    found: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        found.append((statement, parameters))

    sa.event.listen(db.engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        sa.event.remove(db.engine, "before_cursor_execute", note)


def scans(db: Database, captured: Sequence[tuple[str, Any]]) -> list[str]:
    """Of these statements, those that must look at every row of a table that grows: the table, and the statement."""
    found = []
    for statement, parameters in captured:
        if not statement.lstrip().upper().startswith(("SELECT", "WITH")) or "FROM pragma" in statement:
            continue
        with db.read() as tx:
            if db.dialect == "postgresql":  # it reads a small table rather than its index, if it is not told otherwise
                tx.exec_driver_sql("SET LOCAL enable_seqscan = off")
            explain = "EXPLAIN QUERY PLAN " if db.dialect == "sqlite" else "EXPLAIN "
            plan = list(tx.exec_driver_sql(explain + statement, parameters))
        for table in GROWING:
            if any(_reads_all(db.dialect, tuple(row), table) for row in plan):
                found.append(f"{table}: {' '.join(statement.split())[:300]}")
    return found


def _reads_all(dialect: str, row: tuple[Any, ...], table: str) -> bool:
    if dialect == "sqlite":
        return str(row[3]).split()[:2] == ["SCAN", table]
    if dialect == "postgresql":
        return f"Seq Scan on {table} " in str(row[0])
    return row[2] == table and row[3] in ("ALL", "index")  # id, select_type, table, type
