"""`brickyard reservation …`"""

from __future__ import annotations

from typing import Any

import click

from brickyard.cli import session, tables
from brickyard.cli.tables import Column

COLUMNS = (
    Column("ID", lambda row: row["id"], whole=True),
    Column("Host", lambda row: row["host"]),
    Column("vCPUs", lambda row: row["vcpus"], right=True),
    Column("Memory", lambda row: tables.mib(row["memory_mib"]), right=True, whole=True),
    Column("Storage", lambda row: tables.gib(row["gib"]), right=True, whole=True),
    Column("Expires", lambda row: tables.short(row["expires_at"])),
    Column("Rank", lambda row: row["rank"], wide=True, right=True),
    Column("Flow", lambda row: row["flow_id"], wide=True),
)


@click.group()
def reservation() -> None:
    """Reserved capacity: list, show, clear, renew."""


@reservation.command("list")
@click.option("--all-projects", is_flag=True, help="Of all projects; for administrators.")
@session.talks
def list_(talk: session.Session, all_projects: bool) -> None:
    """List what is reserved."""
    found = talk.get("/v1/reservations", all_projects="true" if all_projects else None)["reservations"]
    tables.rows(talk.form, found, COLUMNS, "Nothing is reserved.")


@reservation.command()
@click.argument("reservation")
@session.talks
def show(talk: session.Session, reservation: str) -> None:
    """Show a reservation."""
    _shown(talk, talk.get(f"/v1/reservations/{session.segment(reservation)}"))


@reservation.command()
@click.argument("reservations", nargs=-1, required=True, metavar="RESERVATION...")
@session.talks
def clear(talk: session.Session, reservations: tuple[str, ...]) -> None:
    """Give back what reservations hold."""
    for id in reservations:
        talk.call("DELETE", f"/v1/reservations/{session.segment(id)}")
        tables.say(talk.form, f"reservation {id} cleared", {"id": id})


@reservation.command()
@click.argument("reservation")
@session.talks
def renew(talk: session.Session, reservation: str) -> None:
    """Hold a reservation for the usual time from now."""
    _shown(talk, talk.call("POST", f"/v1/reservations/{session.segment(reservation)}/renew").json())


def _shown(talk: session.Session, found: dict[str, Any]) -> None:
    tables.one(talk.form, found, [(column.heading, column.cell(found)) for column in COLUMNS])
