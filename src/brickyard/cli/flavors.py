"""`brickyard flavor …`"""

from __future__ import annotations

from typing import Any

import click

from brickyard.cli import session, tables
from brickyard.cli.tables import Column


def _storage(row: dict[str, Any]) -> str:
    kind = f" of {row['local_storage_type']}" if row["local_storage_type"] else ""
    return f"{tables.gib(row['local_storage_gb'])}{kind}" if row["local_storage_gb"] else ""


COLUMNS = (
    Column("Name", lambda row: row["name"]),
    Column("vCPUs", lambda row: row["vcpus"], right=True),
    Column("Memory", lambda row: tables.mib(row["memory_mib"]), right=True),
    Column("Root disk", lambda row: tables.gib(row["root_gib"]) if row["root_gib"] else "as the image", right=True),
    Column("Local storage", _storage, right=True),
    Column("ID", lambda row: row["id"], wide=True, whole=True),
)


@click.group()
def flavor() -> None:
    """Flavors: list, show, create, delete."""


@flavor.command("list")
@session.talks
def list_(talk: session.Session) -> None:
    """List the flavors, the smallest first."""
    found = talk.get("/v1/flavors")["flavors"]
    tables.rows(talk.form, found, COLUMNS, "There are no flavors; make one with: brickyard flavor create")


@flavor.command()
@click.argument("flavor")
@session.talks
def show(talk: session.Session, flavor: str) -> None:
    """Show a flavor, by name or id."""
    _shown(talk, talk.get(f"/v1/flavors/{session.segment(flavor)}"))


@flavor.command()
@click.option("--vcpus", type=click.IntRange(1), required=True, help="Processors.")
@click.option("--memory", "memory_mib", type=click.IntRange(16), required=True, help="Memory in MiB.")
@click.option("--root", "root_gib", type=click.IntRange(0), default=0, help="Root disk in GiB; 0: as the image needs.")
@click.option("--local-storage", "local_storage_gb", type=click.IntRange(0), default=0, help="Local storage in GiB.")
@click.option("--local-storage-type", help="Volume type of the local storage.")
@click.argument("name")
@session.talks
def create(talk: session.Session, **given: Any) -> None:
    """Create the flavor NAME. With --local-storage, each of its instances gets such a volume."""
    _shown(talk, talk.call("POST", "/v1/flavors", {k: v for k, v in given.items() if v is not None}).json())


@flavor.command()
@click.argument("flavors", nargs=-1, required=True, metavar="FLAVOR...")
@session.talks
def delete(talk: session.Session, flavors: tuple[str, ...]) -> None:
    """Delete flavors. Their instances stay as they are."""
    for name in flavors:
        talk.call("DELETE", f"/v1/flavors/{session.segment(name)}")
        tables.say(talk.form, f"flavor {name} deleted", {"name": name})


def _shown(talk: session.Session, found: dict[str, Any]) -> None:
    facts = [(column.heading, column.cell(found)) for column in COLUMNS]
    tables.one(talk.form, found, facts)
