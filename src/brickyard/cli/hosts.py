"""`brickyard host …`"""

from __future__ import annotations

from typing import Any

import click

from brickyard.cli import drains, losses, session, steps, tables
from brickyard.cli.tables import Column


def state(row: dict[str, Any]) -> str:
    """One word for what decides whether anything new goes there; of a host, or of a pool."""
    if row.get("lost_at"):
        return "lost"
    if not row["up"]:
        return "down"
    return "up" if row["enabled"] else "disabled"


COLUMNS = (
    Column("Name", lambda row: row["name"]),
    Column("State", state, whole=True),
    Column("Labels", lambda row: tables.labels(row["labels"])),
    Column("vCPUs used", lambda row: f"{row['vcpus_claimed']} of {row['vcpus_total']}", right=True),
    Column(
        "Memory used",
        lambda row: f"{tables.mib(row['memory_mib_claimed'])} of {tables.mib(row['memory_mib_total'])}",
        right=True,
    ),
    Column("Hypervisor", lambda row: row["hypervisor"], wide=True),
    Column("Exports at", lambda row: row.get("export_address"), wide=True),  # which an older service does not say
    Column("Last report", lambda row: tables.moment(row["heartbeat_at"]), wide=True, whole=True),
)


DEVICES = (
    Column("Device", lambda row: row["path"], whole=True),
    Column("Serial", lambda row: row["serial"]),
    Column("Size", lambda row: tables.size(row["size_bytes"]), right=True, whole=True),
    Column("Kind", lambda row: "turning" if row["rotational"] else "solid", wide=True),
    Column("Model", lambda row: row["model"], wide=True),
    Column("Pool", lambda row: row["backend"]),
    Column("On it", lambda row: "; ".join(row["found"]) or "nothing"),
)


@click.group()
def host() -> None:
    """Hosts: list, show, devices, set, enroll, dismiss, drain, lost, back."""


@host.command("list")
@session.talks
def list_(talk: session.Session) -> None:
    """List the hosts."""
    tables.rows(talk.form, talk.get("/v1/hosts")["hosts"], COLUMNS, "There are no hosts.")


@host.command()
@click.argument("host")
@session.talks
def show(talk: session.Session, host: str) -> None:
    """Show a host, by name or id."""
    _shown(talk, talk.get(f"/v1/hosts/{session.segment(host)}"))


@host.command()
@click.argument("host")
@session.talks
def devices(talk: session.Session, host: str) -> None:
    """List the disks of a host, what is on them, and which pool has them."""
    found = talk.get(f"/v1/hosts/{session.segment(host)}/devices")["devices"]
    tables.rows(talk.form, found, DEVICES, "The host shows no disks.")


@host.command("set")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Set a label; KEY= removes it. Repeatable.")
@click.option("--enable/--disable", "enabled", default=None, help="Let new work go there, or not.")
@click.option("--reason", help="Why it is disabled.")
@click.argument("host")
@session.talks
def set_(talk: session.Session, host: str, labels: tuple[str, ...], enabled: bool | None, reason: str | None) -> None:
    """Change the labels of a host, or whether new work goes there."""
    body: dict[str, Any] = {}
    if labels:
        pairs = [label.partition("=") for label in labels]
        if wrong := [key for key, equals, _ in pairs if not (key and equals)]:
            raise click.BadParameter(f"{wrong[0]!r} is not a label: write KEY=VALUE", param_hint="--label")
        body["labels"] = {key: value or None for key, _, value in pairs}
    if enabled is not None:
        body["enabled"] = enabled
    if reason is not None:
        body["disabled_reason"] = reason
    if not body:
        raise click.UsageError("Say what to change: --label, --enable or --disable.")
    _shown(talk, talk.call("PATCH", f"/v1/hosts/{session.segment(host)}", body).json())


@host.command()
@click.argument("host")
@session.talks
def enroll(talk: session.Session, host: str) -> None:
    """Let a host have an agent, and print the token with which it gets its credentials, once."""
    made = talk.call("POST", "/v1/agents", {"host": host}).json()
    facts = (("Host", made["host"]), ("Token", made["token"]), ("Good until", tables.moment(made["expires_at"])))
    tables.one(talk.form, made, facts)
    if talk.form == "table":
        click.echo(f"On {host}: brickyard node enroll {talk.url} {made['token']}")


@host.command()
@click.argument("host")
@session.talks
def dismiss(talk: session.Session, host: str) -> None:
    """Take its account in the message broker from the agent of a host. What lies there stays, and is down."""
    talk.call("DELETE", f"/v1/agents/{session.segment(host)}")
    click.echo(f"The agent of {host} is dismissed.")


@host.command()
@click.option("--dry-run", is_flag=True, help="Say what is affected, and do nothing.")
@click.option("--data-lost", is_flag=True, help="Its disks are gone, too: give up what lies there, for good.")
@click.option("--confirm", metavar="NAME", help="The name once more: for --data-lost, and for a host that is up.")
@click.argument("host")
@session.talks
def lost(talk: session.Session, host: str, dry_run: bool, data_lost: bool, confirm: str | None) -> None:
    """Declare a host lost: nobody asks it for anything, and what waits for it ends.

    What lies there is in error until the host is back, or for good with --data-lost. Instances that have no disk there
    are booted again elsewhere.
    """
    path = f"/v1/hosts/{session.segment(host)}"
    if dry_run:
        losses.told(talk, talk.get(f"{path}/loss"))
        return
    body = {"data_lost": data_lost, **({"confirm": confirm} if confirm is not None else {})}
    steps.follow(talk, talk.call("POST", f"{path}/lost", body).json()["flow_id"])
    losses.told(talk, talk.get(f"{path}/loss"))


@host.command()
@click.argument("host")
@session.talks
def back(talk: session.Session, host: str) -> None:
    """Look again at a host that was lost and is enrolled anew: what is there as it was is available again."""
    path = f"/v1/hosts/{session.segment(host)}"
    steps.follow(talk, talk.call("POST", f"{path}/back").json()["flow_id"])
    losses.told(talk, talk.get(f"{path}/loss"))


@host.command()
@click.option("--dry-run", is_flag=True, help="Say what would go where and what would stay, and do nothing.")
@click.option("--parallel", type=click.IntRange(1, 32), default=2, show_default=True, help="Move so many at a time.")
@click.option("--cancel", is_flag=True, help="Begin no more moves. Those that have begun go on to their end.")
@click.option("--wait/--no-wait", default=True, help="Show how far it is until it is over, the default, or not.")
@click.argument("host")
@session.talks
def drain(talk: session.Session, host: str, dry_run: bool, parallel: int, cancel: bool, wait: bool) -> None:
    """Move the volumes of a host to other hosts, also while instances have them, and let nothing new go there.

    What cannot move is named, with the reason, and stays; so do instances. Repeating it goes on with what is left.
    """
    path = f"/v1/hosts/{session.segment(host)}/drain"
    if dry_run:
        drains.told(talk, talk.get(path))
        return
    begun = talk.call("DELETE", path) if cancel else talk.call("POST", path, {"parallel": parallel})
    if wait:
        drains.follow(talk, path)
    else:
        tables.say(talk.form, f"see how far it is: brickyard host drain {host} --dry-run", begun.json())


def _shown(talk: session.Session, found: dict[str, Any]) -> None:
    reason = f" ({found['disabled_reason']})" if found["disabled_reason"] else ""
    tables.one(
        talk.form,
        found,
        (
            ("Name", found["name"]),
            ("ID", found["id"]),
            ("State", f"{state(found)}{reason}"),
            ("Labels", [f"{key}={value}" for key, value in sorted(found["labels"].items())]),
            ("vCPUs", f"{found['vcpus_claimed']} of {found['vcpus_total']} used"),
            ("Memory", f"{tables.mib(found['memory_mib_claimed'])} of {tables.mib(found['memory_mib_total'])} used"),
            ("Hypervisor", found["hypervisor"]),
            ("Exports at", found.get("export_address")),
            ("Last report", tables.moment(found["heartbeat_at"])),
            *((("Lost since", tables.moment(found["lost_at"])),) if found["lost_at"] else ()),
        ),
    )
