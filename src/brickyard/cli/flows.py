"""`brickyard flow …`"""

from __future__ import annotations

from typing import Any

import click

from brickyard.cli import bars, session, steps, tables
from brickyard.cli.tables import Column

COLUMNS = (
    Column("ID", lambda row: row["id"], whole=True),
    Column("Flow", lambda row: row["name"], whole=True),
    Column("Status", lambda row: row["status"], whole=True),
    Column("Done", lambda row: _done(row), right=True, wide=True, whole=True),
    Column("Begun", lambda row: tables.short(row["created_at"]), whole=True),
    Column("Resource", lambda row: row["resource_id"], wide=True, whole=True),
)
LOG = (
    Column("Time", lambda row: row["at"][11:23], whole=True),
    Column("Attempt", lambda row: row["attempt"], right=True),
    Column("Step", lambda row: row["step"]),
    Column("Event", lambda row: row["event"]),
    Column("What", lambda row: _what(row["data"])),
)


@click.group()
def flow() -> None:
    """Work in progress and done: list, show, watch."""


@flow.command("list")
@click.option("--open", "open_", is_flag=True, help="Only those that run.")
@click.option("--all-projects", is_flag=True, help="Of all projects; for administrators.")
@click.option("--resource", metavar="ID", help="Only those of this volume, snapshot, instance, ….")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@session.talks
def list_(talk: session.Session, open_: bool, all_projects: bool, resource: str | None, limit: int) -> None:
    """List flows, the newest first."""
    given = {"open": "true" if open_ else None, "all_projects": "true" if all_projects else None, "limit": limit}
    given["resource_id"] = resource
    tables.rows(talk.form, talk.get("/v1/flows", **given)["flows"], COLUMNS, "There are no flows.")


@flow.command()
@click.argument("flow")
@session.talks
def show(talk: session.Session, flow: str) -> None:
    """Show a flow with its log, and the refusals if it found no place."""
    found = talk.get(f"/v1/flows/{session.segment(flow)}")
    facts = [(column.heading, column.cell(found)) for column in COLUMNS if column.heading != "Done"]
    facts += [("Done", bars.amount(found["progress"]))] if found["progress"] else []
    facts += [("Finished", tables.short(found["finished_at"])), ("Request", found["request_id"])]
    facts += [("Error", found["error"])] if found["error"] else []
    tables.one(talk.form, found, facts)
    if talk.form == "table":
        if found["progress"]:
            bars.still(tables.out(), found["progress"])
        tables.rows(talk.form, found["log"], LOG, "It has not begun.")
        if found["refusals"]:
            screen = tables.out()
            screen.print(tables.refusal_table(found["refusals"], screen.width))


@flow.command()
@click.argument("flow")
@session.talks
def watch(talk: session.Session, flow: str) -> None:
    """Show the steps of a flow as they happen, until it is over; exit code 1 if it failed."""
    found = steps.follow(talk, session.segment(flow))
    tables.say(talk.form, f"{found['name']} is done", found)


def _done(row: dict[str, Any]) -> str:
    """How far the step of a flow is that runs now."""
    return f"{row['progress']['percent']} %" if row["progress"] else ""


def _what(data: dict[str, Any] | None) -> str:
    """The parts of an entry's data that say something to people."""
    if not data:
        return ""
    if "message" in data:
        return str(data["message"])
    plain = {key: value for key, value in data.items() if isinstance(value, str | int) and not key.endswith("id")}
    if "reserved" in data:
        plain["reserved"] = ", ".join(held["host"] for held in data["reserved"])
    return " ".join(f"{key}={value}" for key, value in plain.items())
