"""What goes with a host that is lost, as a table: `brickyard host lost` and `back`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from brickyard.cli import session, tables
from brickyard.cli.tables import Column

Thing = tuple[str, dict[str, Any]]
COLUMNS = (
    Column("What", lambda row: row[0], whole=True),
    Column("ID", lambda row: row[1]["id"], whole=True),
    Column("Name", lambda row: row[1].get("name")),
    Column("Project", lambda row: row[1].get("project_id"), wide=True),
    Column("Status", lambda row: row[1]["status"], whole=True),
    Column("Note", lambda row: NOTES[row[0]](row[1])),
)
NOTES: dict[str, Callable[[dict[str, Any]], str]] = {
    "volume": lambda row: _of_volume(row),
    "snapshot": lambda row: f"of {row['volume_id']}",
    "instance": lambda row: "has no disk there: boots elsewhere" if row["boots_elsewhere"] else "its disks are there",
    "attachment": lambda row: f"of {row['volume_id']}",
    "flow": lambda row: row["error"] or "",
}


def told(talk: session.Session, loss: dict[str, Any]) -> None:
    """A line for each thing; as JSON the answer itself."""
    things = list(_things(loss))
    rows: Any = loss if talk.form == "json" else things
    tables.rows(talk.form, rows, COLUMNS, f"Nothing is only on {loss['host']['name']}.")


def _things(loss: dict[str, Any]) -> Iterator[Thing]:
    for noun in NOTES:
        for row in loss[f"{noun}s"]:
            yield noun, row


def _of_volume(row: dict[str, Any]) -> str:
    kept = len(row["backups"])
    backups = f"{kept} backup{'s' if kept != 1 else ''} elsewhere" if kept else "no backup elsewhere"
    return f"{tables.size(row['size_gib'] * 2**30)} on {row['pool']}, {backups}"
