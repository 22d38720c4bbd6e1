"""`brickyard audit`"""

from __future__ import annotations

import re
import time
from typing import Any

import click

from brickyard.cli import session, tables
from brickyard.cli.tables import Column
from brickyard.core import clock

COLUMNS = (
    Column("Where", lambda row: row["where"]),
    Column("Difference", lambda row: row["kind"], whole=True),
    Column("What", lambda row: row["message"]),
    Column("First seen", lambda row: tables.short(row["first_seen_at"]), wide=True, whole=True),
    Column("Repair", lambda row: _repair(row)),
)
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
LOOK_S, WAIT_S = 0.2, 3600.0
OVER = ("done", "failed")


def seconds(text: str) -> int:
    """A time such as 90s, 15m, 24h, 7d; in seconds."""
    match = re.fullmatch(r"([0-9]{1,7})([smhdw]?)", text)
    if match is None:
        raise click.BadParameter(f"{text!r} is not a time: write 90s, 15m, 24h, 7d or 2w")
    return int(match[1]) * SECONDS[match[2] or "s"]


@click.command()
@click.option("--repair", is_flag=True, help="Adopt or remove what can be, and wait until that is done.")
@click.option("--dry-run", is_flag=True, help="Say what --repair would do, and do nothing.")
@click.option("--grace", type=seconds, help="Remove only what was first seen so long ago. Default: 24h.")
@click.option(
    "--orphans",
    type=click.Choice(["adopt", "remove", "recover"]),
    default="adopt",
    show_default=True,
    help="Bricks of ours that no row knows: give volumes and snapshots their rows back, or remove all of them; recover "
    "makes those that were given up with a lost host available to `manage`, besides.",
)
@session.talks
def audit(talk: session.Session, repair: bool, dry_run: bool, grace: int | None, orphans: str) -> None:
    """Compare records, pools and guests in both directions.

    Exit code 0 when nothing differs (any more), 1 when something does.
    """
    if repair or dry_run:
        body: dict[str, Any] = {"dry_run": dry_run, "orphans": orphans}
        if grace is not None:
            body["grace_s"] = grace
        found = talk.call("POST", "/v1/audit", body).json()["differences"]
        _finish(talk, found)
    else:
        found = talk.get("/v1/audit")["differences"]
    tables.rows(talk.form, found, COLUMNS, "Records, pools and guests agree.")
    if any(row.get("result") != "done" for row in found):
        raise click.exceptions.Exit(1)


def _finish(talk: session.Session, found: list[dict[str, Any]]) -> None:
    """Wait for the flows, and put down what came of each: `result`, and `error` where one failed."""
    flows: dict[str, dict[str, Any]] = {}
    deadline = clock.monotonic() + WAIT_S
    for row in found:
        id = row["flow_id"]
        while id and flows.get(id, {}).get("status") not in OVER and clock.monotonic() < deadline:
            flows[id] = talk.get(f"/v1/flows/{id}")
            if flows[id]["status"] not in OVER:
                time.sleep(LOOK_S)
        row["result"] = flows[id]["status"] if id else None
        row["error"] = flows[id]["error"] if id else None


def _repair(row: dict[str, Any]) -> str:
    """What was done, would be done, or could be."""
    if row.get("result"):
        return f"{row['action']}: {row['error'] or row['result']}"
    if row["why_not"]:
        due = f" (until {tables.moment(row['due_at'])})" if row["due_at"] else ""
        return f"{row['action'] or 'none'}: {row['why_not']}{due}"
    return str(row["action"] or row["repair"] or "by hand")
