"""`brickyard boot` and `brickyard explain`: the same request, done and only considered."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

from brickyard.cli import instances, session, steps, tables

F = TypeVar("F", bound=Callable[..., Any])
LOCALITY = click.Choice(["host", "rack", "zone"])


class Storage(click.ParamType[Any]):
    """SIZE or SIZE:TYPE, in GiB."""

    name = "GIB[:TYPE]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        size, colon, type_ = str(value).partition(":")
        if not size.isascii() or not size.isdigit() or int(size) < 1 or (colon and not type_):
            self.fail(f"{value!r} is not a size: write GIB or GIB:TYPE, such as 1 or 20:fast", param, ctx)
        return {"size_gib": int(size), **({"volume_type": type_} if colon else {})}


def wanted(flavor_required: bool) -> Callable[[F], F]:
    """The options of a boot request."""
    options = (
        click.option("--flavor", required=flavor_required, help="Flavor, by name or id."),
        click.option("--image", help="Image, by name or id."),
        click.option("--local-storage", type=Storage(), multiple=True, help="A new volume beside it. Repeatable."),
        click.option("--volume", "volumes", multiple=True, help="A volume that exists, by name or id. Repeatable."),
        click.option("--locality", type=LOCALITY, default="host", show_default=True, help="How near volumes must be."),
        click.option("--best-effort", is_flag=True, help="Locality is a wish and not a condition."),
        click.option("--zone", help="Availability zone."),
    )

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@click.command()
@wanted(flavor_required=True)
@click.option("--wait/--no-wait", default=True, help="Show the steps until it runs. Default: --wait.")
@click.argument("name")
@session.talks
def boot(talk: session.Session, name: str, wait: bool, **given: Any) -> None:
    """Boot an instance called NAME together with its local storage."""
    made = talk.call("POST", "/v1/instances", {"name": name, **_request(talk, given)}).json()
    if not wait:
        tables.say(talk.form, f"{name} is being built; see: brickyard flow watch {made['flow_id']}", made)
        return
    steps.follow(talk, made["flow_id"])
    instances.shown(talk, talk.get(f"/v1/instances/{made['id']}"))


@click.command()
@click.option("--volume-only", type=Storage(), help="Explain one new volume, and no instance.")
@wanted(flavor_required=False)
@session.talks
def explain(talk: session.Session, volume_only: dict[str, Any] | None, zone: str | None, **given: Any) -> None:
    """Where would this go, and why not elsewhere? Options as for boot; nothing is reserved."""
    if volume_only is not None:
        if given["flavor"] or given["local_storage"] or given["volumes"]:
            raise click.UsageError("--volume-only explains a volume alone: leave out what belongs to an instance.")
        body = {"volume": {**volume_only, **({"availability_zone": zone} if zone else {})}}
    elif given["flavor"]:
        body = _request(talk, {**given, "zone": zone})
    else:
        raise click.UsageError("Say what is to be placed: --flavor with --image, or --volume-only GIB.")
    found = talk.call("POST", "/v1/explain", body).json()
    if talk.form == "json":
        click.echo(json.dumps(found, indent=2))
        return
    columns = (
        tables.Column("Host / pool", lambda row: row["name"]),
        tables.Column("Rank", lambda row: row["rank"], right=True),
        tables.Column("Why", _why),
    )
    flat = []
    for host in found["hosts"]:
        flat.append(host)
        flat += [{**pool, "name": f"  {pool['name']}"} for pool in host["pools"]]
    tables.rows(talk.form, flat, columns, "There are no hosts.")
    if all(host["rank"] is None for host in found["hosts"]):
        raise session.Refused("no host can take it.")


def _request(talk: session.Session, given: dict[str, Any]) -> dict[str, Any]:
    """The body of boot and explain from the options."""
    return {
        "flavor": given["flavor"],
        "image": given["image"],
        "local_storage": list(given["local_storage"]),
        "volumes": [session.volume_id(talk, one) for one in given["volumes"]],
        "locality": given["locality"],
        "required": not given["best_effort"],
        "availability_zone": given["zone"],
    }


def _why(row: dict[str, Any]) -> str:
    if row["refusal"]:
        return f"{row['refusal']['rule']}: {row['refusal']['message']}"
    return ", ".join(f"{name} {value:g}" for name, value in row["weights"].items() if value) or "fits"
