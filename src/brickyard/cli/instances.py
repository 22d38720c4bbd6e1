"""`brickyard instance …`"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import click

from brickyard.cli import session, steps, tables
from brickyard.cli.tables import Column

FOLLOW_S = 0.5
CONSOLE_BYTES = 1024 * 1024
ANCHOR = 4096  # characters of the end by which what is new is found
ENDED = ("stopped", "deleting", "error", "error_deleting")

COLUMNS = (
    Column("Name", lambda row: row["name"]),
    Column("Status", lambda row: _status(row), whole=True),
    Column("Host", lambda row: row["host"]),
    Column("Flavor", lambda row: row["flavor"], wide=True),
    Column("Volumes", lambda row: ", ".join(tables.gib(volume["size_gib"]) for volume in row["volumes"])),
    Column("Created", lambda row: tables.moment(row["created_at"]), wide=True, whole=True),
    Column("ID", lambda row: row["id"], whole=True),
)


@click.group()
def instance() -> None:
    """Instances: list, show, start, stop, delete, console, attach, detach."""


@instance.command("list")
@click.option("--all-projects", is_flag=True, help="Of all projects; for administrators.")
@session.talks
def list_(talk: session.Session, all_projects: bool) -> None:
    """List the instances, the newest first."""
    found = talk.get("/v1/instances", all_projects="true" if all_projects else None)["instances"]
    tables.rows(talk.form, found, COLUMNS, "There are no instances; boot one with: brickyard boot")


@instance.command()
@click.argument("instance")
@session.talks
def show(talk: session.Session, instance: str) -> None:
    """Show an instance, by name or id, with its volumes."""
    shown(talk, talk.get(f"/v1/instances/{session.instance_id(talk, instance)}"))


@instance.command()
@click.option("--wait/--no-wait", default=True, help="Wait until it runs. Default: --wait.")
@click.argument("instances", nargs=-1, required=True, metavar="INSTANCE...")
@session.talks
def start(talk: session.Session, instances: tuple[str, ...], wait: bool) -> None:
    """Start stopped instances again, by name or id, with the volumes that they have."""
    _switch(talk, instances, "start", "started" if wait else "starting", wait=wait)


@instance.command()
@click.option("--wait/--no-wait", default=True, help="Wait until it is off. Default: --wait.")
@click.argument("instances", nargs=-1, required=True, metavar="INSTANCE...")
@session.talks
def stop(talk: session.Session, instances: tuple[str, ...], wait: bool) -> None:
    """Shut instances down, by name or id; one that does not react is switched off after half a minute."""
    _switch(talk, instances, "stop", "stopped" if wait else "stopping", wait=wait)


def _switch(talk: session.Session, names: Sequence[str], action: str, done: str, *, wait: bool) -> None:
    """Start or stop instances one after the other, and say of each when it is done."""
    told = []
    for name in names:
        id = session.instance_id(talk, name)
        found = talk.call("POST", f"/v1/instances/{id}/{action}").json()
        if wait:
            flow = steps.quietly(talk, found["flow_id"])
            if flow["status"] != "done":
                raise session.Refused(f"{name} could not be {done}: {flow['error']}")
            found = talk.get(f"/v1/instances/{id}")
        told.append(found)
        if talk.form == "table":
            click.echo(f"{found['name']} {done if wait else f'is {done}'}")
    if talk.form == "json":
        tables.say(talk.form, "", told)


@instance.command()
@click.option("--volumes", is_flag=True, help="Delete its volumes as well; they are kept otherwise.")
@click.option("--wait/--no-wait", default=True, help="Wait until it is gone. Default: --wait.")
@click.argument("instances", nargs=-1, required=True, metavar="INSTANCE...")
@session.talks
def delete(talk: session.Session, instances: tuple[str, ...], volumes: bool, wait: bool) -> None:
    """Delete instances, by name or id, and keep their volumes."""
    gone = []
    for name in instances:
        id = session.instance_id(talk, name)
        before = talk.get(f"/v1/instances/{id}")
        choice = "delete" if volumes else "keep"
        done = talk.call("DELETE", f"/v1/instances/{id}", params={"volumes": choice}).json()
        if wait:
            flow = steps.quietly(talk, done["flow_id"])
            if flow["status"] != "done":
                raise session.Refused(f"{name} could not be deleted: {flow['error']}")
        kept = ", ".join(volume["volume_id"] for volume in before["volumes"]) if not volumes else ""
        gone.append({**done, "name": before["name"], "kept_volumes": kept.split(", ") if kept else []})
        if talk.form == "table":
            done_so_far = "deleted" if wait else "is being deleted"
            click.echo(f"{before['name']} {done_so_far}" + (f"; kept: {kept}" if kept else ""))
    if talk.form == "json":
        tables.say(talk.form, "", gone)


@instance.command()
@click.option("--follow", is_flag=True, help="Go on as it writes, until it ends or Ctrl-C.")
@click.argument("instance")
@session.talks
def console(talk: session.Session, instance: str, follow: bool) -> None:
    """Print what an instance wrote to its serial console."""
    id = session.instance_id(talk, instance)
    if not follow:
        click.echo(_console(talk, id), nl=False)
        return
    try:
        for text in _following(talk, id):
            click.echo(text, nl=False)
    except KeyboardInterrupt:
        click.echo()


@instance.command()
@click.argument("instance")
@click.argument("volume")
@session.talks
def attach(talk: session.Session, instance: str, volume: str) -> None:
    """Plug VOLUME into the running INSTANCE; both by name or id."""
    id, volume_id = session.instance_id(talk, instance), session.volume_id(talk, volume)
    done = talk.call("POST", f"/v1/instances/{id}/volumes", {"volume_id": volume_id}).json()
    tables.say(talk.form, f"{volume} is attached to {instance} as {done['mountpoint']}", done)


@instance.command()
@click.argument("instance")
@click.argument("volume")
@session.talks
def detach(talk: session.Session, instance: str, volume: str) -> None:
    """Unplug VOLUME from INSTANCE; both by name or id."""
    id, volume_id = session.instance_id(talk, instance), session.volume_id(talk, volume)
    talk.call("DELETE", f"/v1/instances/{id}/volumes/{volume_id}")
    tables.say(talk.form, f"{volume} is detached from {instance}", {"instance_id": id, "volume_id": volume_id})


def shown(talk: session.Session, found: dict[str, Any]) -> None:
    """An instance with its volumes."""
    tables.one(
        talk.form,
        found,
        (
            ("Name", found["name"]),
            ("ID", found["id"]),
            ("Status", _status(found)),
            *((("Paused", found["paused_reason"]),) if found["paused_reason"] else ()),
            *((("Fault", found["fault"]),) if found["fault"] else ()),
            ("Host", found["host"]),
            ("Flavor", f"{found['flavor']} ({found['vcpus']} vCPU, {tables.mib(found['memory_mib'])})"),
            ("Root disk", f"{tables.gib(found['root_gib'])} on {found['root_pool']}" if found["root_gib"] else None),
            ("Volumes", [_volume(volume) for volume in found["volumes"]]),
            ("Created", tables.moment(found["created_at"])),
            ("Flow", found["flow_id"]),
        ),
    )


def _status(row: dict[str, Any]) -> str:
    return f"{row['status']}, paused" if row["paused_reason"] else str(row["status"])


def _volume(volume: dict[str, Any]) -> str:
    return f"{volume['volume_id']} {tables.gib(volume['size_gib'])} {volume['status']} on {volume['pool']}"


def _console(talk: session.Session, id: str) -> str:
    return talk.call("GET", f"/v1/instances/{id}/console", params={"max_bytes": CONSOLE_BYTES}).text


def _following(talk: session.Session, id: str) -> Iterator[str]:
    """What is there, then what is new, until the instance has ended."""
    before = _console(talk, id)
    yield before
    while True:
        try:
            ended = talk.get(f"/v1/instances/{id}")["status"] in ENDED
            now = _console(talk, id)
        except session.Unreachable:
            raise
        except session.Refused:  # it was deleted meanwhile, and its console with it
            return
        yield new_part(before, now)
        before = now
        if ended:
            return
        time.sleep(FOLLOW_S)


def new_part(before: str, now: str) -> str:
    """What `now`, the end of a growing text, has more than `before`, an earlier end of it."""
    if now.startswith(before):
        return now[len(before) :]
    anchor = before[-ANCHOR:]
    if (at := now.rfind(anchor)) >= 0:
        return now[at + len(anchor) :]
    for start in (at + 1 for at, sign in enumerate(anchor) if sign == "\n"):
        if start < len(anchor) and now.startswith(anchor[start:]):
            return now[len(anchor) - start :]
    return now
