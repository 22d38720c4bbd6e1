"""`brickyard receipt …`"""

from __future__ import annotations

import click

from brickyard.cli import session, tables
from brickyard.cli.tables import Column

COLUMNS = (
    Column("ID", lambda row: row["id"], whole=True),
    Column("Brick", lambda row: row["name"], whole=True),
    Column("Size", lambda row: tables.size(row["size_bytes"]), right=True, whole=True),
    Column("Method", lambda row: row["method"], whole=True),
    Column("Finished", lambda row: tables.short(row["finished_at"]), whole=True),
    Column("Project", lambda row: row["project_id"], wide=True),
    Column("Pool", lambda row: row["pool"], wide=True),
)


@click.group()
def receipt() -> None:
    """Receipts of deleted volumes, snapshots and root disks: list, show."""


@receipt.command("list")
@click.option("--pool", help="Of this pool, by name or id.")
@click.option("--brick", help="Of this volume, snapshot or instance, by id.")
@click.option("--project", help="Of this project.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, help="How many. Default: 100.")
@session.talks
def list_(talk: session.Session, pool: str | None, brick: str | None, project: str | None, limit: int) -> None:
    """List what was made unreadable, the newest first."""
    found = talk.get("/v1/receipts", pool=pool, brick_id=brick, project=project, limit=limit)["receipts"]
    tables.rows(talk.form, found, COLUMNS, "Nothing was deleted.")


@receipt.command()
@click.argument("receipt")
@session.talks
def show(talk: session.Session, receipt: str) -> None:
    """Show a receipt: what, how, how that was verified, and when."""
    found = talk.get(f"/v1/receipts/{session.segment(receipt)}")
    facts = (
        ("ID", found["id"]),
        ("Brick", found["name"]),
        ("Project", found["project_id"]),
        ("Pool", found["pool"]),
        ("Size", tables.size(found["size_bytes"])),
        ("Method", found["method"]),
        ("Verified", found["verified"]),
        ("Started", tables.moment(found["started_at"])),
        ("Finished", tables.moment(found["finished_at"])),
        ("Flow", found["flow_id"]),
    )
    tables.one(talk.form, found, facts)
