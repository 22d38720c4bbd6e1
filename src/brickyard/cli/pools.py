"""`brickyard pool …`"""

from __future__ import annotations

from typing import Any

import click

from brickyard.cli import session, tables
from brickyard.cli.hosts import state
from brickyard.cli.tables import Column

COLUMNS = (
    Column("Name", lambda row: row["name"]),
    Column("State", state, whole=True),
    Column("Driver", lambda row: row["driver"]),
    Column("Claimed", lambda row: tables.gib(row["claimed_gib"]), right=True, whole=True),
    Column("Limit", lambda row: tables.gib(row["limit_gib"]), right=True, whole=True),
    Column("Free", lambda row: tables.gib(row["free_gib"]), right=True, whole=True),
    Column("Volumes", lambda row: row["volumes"], right=True),
    Column("Zone", lambda row: row["availability_zone"], wide=True),
    Column("Path", lambda row: row["path"], wide=True),
)


@click.group()
def pool() -> None:
    """Pools, the storage on hosts: list, show, create, delete, set."""


@pool.command("list")
@session.talks
def list_(talk: session.Session) -> None:
    """List the pools, and the backends that do not work."""
    found = talk.get("/v1/pools")["pools"]
    tables.rows(talk.form, found, COLUMNS, "There are no pools; make one with: brickyard pool create")
    if talk.form == "table":
        for row in found:
            if row["why_down"]:
                tables.error(f"{row['name']}: {row['why_down']}")


@pool.command()
@click.argument("pool")
@session.talks
def show(talk: session.Session, pool: str) -> None:
    """Show a pool, by name (host@backend#pool), host@backend or id."""
    _shown(talk, talk.get(f"/v1/pools/{session.segment(pool)}"))


@pool.command()
@click.option("--host", required=True, help="The host whose directory it is.")
@click.option("--driver", required=True, help="How volumes lie there: raw, qcow2, vdi, …")
@click.option("--path", help="Absolute path of the directory on the host.")
@click.option("--zone", help="Availability zone of the pool.")
@click.option("--backend-name", help="volume_backend_name, to which volume types refer. Default: NAME.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the driver. Repeatable.")
@click.argument("name")
@session.talks
def create(talk: session.Session, name: str, options: tuple[str, ...], **given: str | None) -> None:
    """Make a directory of a host the pool NAME. Repeating it is fine."""
    pairs = [option.partition("=") for option in options]
    if wrong := [key for key, equals, _ in pairs if not (key and equals)]:
        raise click.BadParameter(f"{wrong[0]!r} is not an option: write KEY=VALUE", param_hint="--option")
    body: dict[str, Any] = {"name": name, "options": {key: value for key, _, value in pairs}}
    names = {"host": "host", "driver": "driver", "path": "path", "zone": "availability_zone"}
    names["backend_name"] = "volume_backend_name"
    body |= {names[key]: value for key, value in given.items() if value is not None}
    _shown(talk, talk.call("POST", "/v1/pools", body).json())


@pool.command()
@click.argument("pools", nargs=-1, required=True, metavar="POOL...")
@session.talks
def delete(talk: session.Session, pools: tuple[str, ...]) -> None:
    """Forget empty pools that were made with `pool create`. Their directories stay."""
    for name in pools:
        talk.call("DELETE", f"/v1/pools/{session.segment(name)}")
        tables.say(talk.form, f"pool {name} deleted", {"name": name})


@pool.command("set")
@click.option("--enable/--disable", "enabled", required=True, default=None, help="Let new volumes go there, or not.")
@click.option("--reason", help="Why it is disabled.")
@click.argument("pool")
@session.talks
def set_(talk: session.Session, pool: str, enabled: bool, reason: str | None) -> None:
    """Let new volumes go to a pool, or not. Those that are there stay."""
    body = {"enabled": enabled, **({"disabled_reason": reason} if reason else {})}
    _shown(talk, talk.call("PATCH", f"/v1/pools/{session.segment(pool)}", body).json())


def _shown(talk: session.Session, found: dict[str, Any]) -> None:
    tables.one(
        talk.form,
        found,
        (
            ("Name", found["name"]),
            ("ID", found["id"]),
            ("State", state(found)),
            *((("Why", found["why_down"]),) if found["why_down"] else ()),
            ("Driver", f"{found['driver']} ({'thin' if found['thin'] else 'thick'})"),
            ("Path", found["path"]),
            ("Zone", found["availability_zone"]),
            ("Backend name", found["volume_backend_name"]),
            ("Claimed", f"{tables.gib(found['claimed_gib'])} of {tables.gib(found['limit_gib'])}"),
            ("Really free", f"{tables.gib(found['free_gib'])} of {tables.gib(found['total_gib'])}"),
            ("Volumes", str(found["volumes"])),
            ("Made", "through the API" if found["from_api"] else "by the configuration of the host"),
        ),
    )
