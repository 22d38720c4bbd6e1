"""`brickyard pool …`"""

from __future__ import annotations

from typing import Any

import click

from brickyard.cli import session, steps, tables
from brickyard.cli.hosts import state
from brickyard.cli.tables import Column

COLUMNS = (
    Column("Name", lambda row: row["name"]),
    Column("State", lambda row: _state(row), whole=True),
    Column("Driver", lambda row: row["driver"]),
    Column("Claimed", lambda row: tables.gib(row["claimed_gib"]), right=True, whole=True),
    Column("Limit", lambda row: tables.gib(row["limit_gib"]), right=True, whole=True),
    Column("Wiping", lambda row: tables.gib(row["wiping_gib"]), wide=True, right=True, whole=True),
    Column("Free", lambda row: tables.gib(row["free_gib"]), right=True, whole=True),
    Column("Full", lambda row: _full(row), wide=True, right=True, whole=True),
    Column("Volumes", lambda row: row["volumes"], right=True),
    Column("Zone", lambda row: row["availability_zone"], wide=True),
    Column("On", lambda row: _place(row), wide=True),
)


def _state(row: dict[str, Any]) -> str:
    """As of a host; or the stage in which a thin pool takes nothing new."""
    return row["stage"] if state(row) == "up" and row["stage"] in ("frozen", "paused") else state(row)


def _full(row: dict[str, Any]) -> str:
    """How full a thin pool really is, its data first."""
    named = (("data_percent", ""), ("metadata_percent", " metadata"))
    return ", ".join(f"{row[key]:.1f} %{name}" for key, name in named if row[key] is not None)


def _place(row: dict[str, Any]) -> str:
    """What the pool lies on, in short."""
    devices = " ".join(device.removeprefix("/dev/disk/by-id/") for device in row["devices"])
    return row["path"] or " on ".join(part for part in (row["volume_group"], devices) if part)


@click.group()
def pool() -> None:
    """Pools, the storage on hosts: list, show, create, extend, drain, remove-device, delete, set."""


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
            elif row["stage_reason"]:
                tables.error(f"{row['name']}: {row['stage']}: {row['stage_reason']}")


@pool.command()
@click.argument("pool")
@session.talks
def show(talk: session.Session, pool: str) -> None:
    """Show a pool, by name (host@backend#pool), host@backend or id."""
    _shown(talk, talk.get(f"/v1/pools/{session.segment(pool)}"))


@pool.command()
@click.option("--host", required=True, help="The host whose storage it is.")
@click.option("--driver", required=True, help="How volumes lie there: raw, qcow2, vdi, lvm, lvm-thin, …")
@click.option("--path", help="Absolute path of a directory on the host.")
@click.option("--device", "devices", multiple=True, help="A disk of the host, such as /dev/vdb. Repeatable.")
@click.option("--wipe", multiple=True, metavar="SERIAL", help="Serial of a disk that may lose its content. Repeatable.")
@click.option("--raid1", is_flag=True, help="Keep everything twice, on different devices.")
@click.option("--volume-group", help="Take over this volume group of the host, as it is.")
@click.option("--thin-pool", help="The thin pool in that volume group. Default: <volume group>-pool.")
@click.option("--zone", help="Availability zone of the pool.")
@click.option("--backend-name", help="volume_backend_name, to which volume types refer. Default: NAME.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the driver. Repeatable.")
@click.argument("name")
@session.talks
def create(talk: session.Session, name: str, options: tuple[str, ...], **given: Any) -> None:
    """Make the pool NAME of a directory, of disks, or of a volume group of a host. Repeating it is fine."""
    pairs = [option.partition("=") for option in options]
    if wrong := [key for key, equals, _ in pairs if not (key and equals)]:
        raise click.BadParameter(f"{wrong[0]!r} is not an option: write KEY=VALUE", param_hint="--option")
    body: dict[str, Any] = {"name": name, "options": {key: value for key, _, value in pairs}}
    names = {"zone": "availability_zone", "backend_name": "volume_backend_name"}
    body |= {names.get(key, key): value for key, value in given.items() if value}
    _shown(talk, talk.call("POST", "/v1/pools", body).json())


@pool.command()
@click.option("--device", required=True, help="A disk of the pool's host, such as /dev/vdd.")
@click.option("--wipe", multiple=True, metavar="SERIAL", help="Its serial, if it may lose its content.")
@click.option("--grow/--no-grow", default=True, help="Let a thin pool take it, the default, or keep it for a drain.")
@click.argument("pool")
@session.talks
def extend(talk: session.Session, pool: str, device: str, wipe: tuple[str, ...], grow: bool) -> None:
    """Add a disk to a pool that is made of disks. Repeating it is fine."""
    body = {"device": device, **({"wipe": list(wipe)} if wipe else {}), **({} if grow else {"grow": False})}
    _shown(talk, talk.call("POST", f"/v1/pools/{session.segment(pool)}/devices", body).json())


@pool.command()
@click.option("--device", required=True, help="A disk of the pool.")
@click.option("--wait/--no-wait", default=True, help="Follow it to its end, which is the default, or not.")
@click.argument("pool")
@session.talks
def drain(talk: session.Session, pool: str, device: str, wait: bool) -> None:
    """Move everything from a disk of a pool to the others; it may take hours."""
    begun = talk.call("POST", f"/v1/pools/{session.segment(pool)}/drain", {"device": device}).json()
    if not wait:
        tables.say(talk.form, f"draining: brickyard flow watch {begun['flow_id']}", begun)
        return
    steps.follow(talk, begun["flow_id"])
    tables.say(talk.form, f"{device} is drained; take it out with: brickyard pool remove-device {pool}", begun)


@pool.command("remove-device")
@click.option("--device", required=True, help="A drained disk of the pool.")
@click.argument("pool")
@session.talks
def remove_device(talk: session.Session, pool: str, device: str) -> None:
    """Take a drained disk out of a pool. Repeating it is fine."""
    answer = talk.call("DELETE", f"/v1/pools/{session.segment(pool)}/devices", params={"device": device})
    _shown(talk, answer.json())


@pool.command()
@click.argument("pools", nargs=-1, required=True, metavar="POOL...")
@session.talks
def delete(talk: session.Session, pools: tuple[str, ...]) -> None:
    """Forget empty pools that were made with `pool create`. Directories and volume groups that were taken over stay;
    disks are blank afterwards."""
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


def _stage(found: dict[str, Any]) -> str:
    since = f" since {tables.moment(found['stage_since'])}" if found["stage_since"] else ""
    return f"{found['stage']}{since}: {found['stage_reason']}"


def _shown(talk: session.Session, found: dict[str, Any]) -> None:
    tables.one(
        talk.form,
        found,
        (
            ("Name", found["name"]),
            ("ID", found["id"]),
            ("State", _state(found)),
            *((("Why", found["why_down"]),) if found["why_down"] else ()),
            *((("Really full", _full(found)),) if _full(found) else ()),
            *((("Stage", _stage(found)),) if found["stage_reason"] else ()),
            ("Driver", f"{found['driver']} ({'thin' if found['thin'] else 'thick'})"),
            *((("Path", found["path"]),) if found["path"] else ()),
            *((("Volume group", found["volume_group"]),) if found["volume_group"] else ()),
            *((("Devices", found["devices"]),) if found["devices"] else ()),
            ("Zone", found["availability_zone"]),
            ("Backend name", found["volume_backend_name"]),
            ("Claimed", f"{tables.gib(found['claimed_gib'])} of {tables.gib(found['limit_gib'])}"),
            *((("Wiping", tables.gib(found["wiping_gib"])),) if found["wiping_gib"] else ()),
            ("Really free", f"{tables.gib(found['free_gib'])} of {tables.gib(found['total_gib'])}"),
            ("Volumes", str(found["volumes"])),
            ("Made", "through the API" if found["from_api"] else "by the configuration of the host"),
        ),
    )
