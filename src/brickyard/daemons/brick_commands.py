"""`brickyard brick …`: the storage library on the command line, without a service and without a database.

    brickyard brick --driver raw --path /srv/bricks create --size 10 --project demo

It works on the disks of this host, so it stands with the daemons and not with the commands that speak HTTP. Exit codes:
0 it was done (or was done already), 1 it failed, or an audit found something, 2 the command line is wrong.
"""

from __future__ import annotations

import uuid
from dataclasses import asdict
from typing import Any

import click

from brickyard import brick as library
from brickyard.brick.guard import Guard
from brickyard.cli import tables
from brickyard.cli.tables import Column
from brickyard.core.bricks import Kind, Label, name_of, parse
from brickyard.daemons import brick_bench
from brickyard.daemons.brick_bench import Bench, labelled, shown, size, works

COLUMNS = (
    Column("Name", lambda row: row["name"], whole=True),
    Column("Project", lambda row: row["project"]),
    Column("Size", lambda row: tables.size(row["size_bytes"]), right=True, whole=True),
    Column("Used", lambda row: tables.size(row["used_bytes"]), right=True, whole=True),
    Column("State", lambda row: _state(row), whole=True),
    Column("Parent", lambda row: row["parent"], wide=True, whole=True),
)
DIFFERENCES = (
    Column("Difference", lambda row: row["kind"], whole=True),
    Column("Name", lambda row: row["name"], whole=True),
    Column("What", lambda row: row["message"]),
)


@click.group()
@click.option("--driver", help="raw, qcow2, …; `brickyard brick drivers` lists them.")
@click.option("--path", help="Directory of the pool, where the driver has one. As -o path=DIR.")
@click.option(
    "-o", "--option", "options", multiple=True, metavar="NAME=VALUE", help="Option of the driver. Repeatable."
)
@click.pass_context
def brick(ctx: click.Context, driver: str | None, path: str | None, options: tuple[str, ...]) -> None:
    """The storage library alone: bricks on this host, without a service.

    Do not change a pool in this way while a service has it: the service does not hear of it. `brickyard audit` finds
    what differs then.
    """
    ctx.meta[brick_bench.ASKED] = {"driver": driver, "path": path, "options": options}


@brick.command()
@click.option("-f", "form", type=click.Choice(["table", "json"]), help="Form of the output.")
@click.pass_context
def drivers(ctx: click.Context, form: str | None) -> None:
    """List the drivers and their options."""
    from brickyard import options

    rows = [
        {"driver": name, "option": option, "help": text}
        for name in library.DRIVERS
        for option, text in options.DRIVERS.get(name, ())
    ]
    columns = (
        Column("Driver", lambda row: row["driver"], whole=True),
        Column("Option", lambda row: row["option"], whole=True),
        Column("What", lambda row: row["help"]),
    )
    tables.rows(form or ctx.find_root().obj["form"], rows, columns, "There are no drivers.")


@brick.command("list")
@works
def list_(bench: Bench) -> None:
    """List the bricks, with and without a label."""
    tables.rows(bench.form, [shown(found) for found in bench.driver.list()], COLUMNS, "There are no bricks.")


@brick.command()
@click.argument("name")
@works
def show(bench: Bench, name: str) -> None:
    """Show a brick."""
    found = shown(bench.find(name))
    tables.one(bench.form, found, [(key, value) for key, value in found.items()])


@brick.command()
@click.option("--size", "size_bytes", type=size, required=True, help="10 or 10G for GiB; 512M, 1T.")
@labelled
@works
def create(bench: Bench, size_bytes: int, label: Label) -> None:
    """Make an empty volume, or an empty root disk."""
    with bench.progress("creating") as progress:
        did = bench.driver.create(label, size_bytes, progress)
    bench.tell(did, label.name, "created")


@brick.command()
@click.argument("name")
@click.option("--size", "size_bytes", type=size, required=True, help="The new size, never a smaller one.")
@works
def grow(bench: Bench, name: str, size_bytes: int) -> None:
    """Make a brick larger."""
    found = bench.find(name)
    with bench.progress("growing") as progress:
        did = bench.driver.grow(found.name, size_bytes, progress)
    bench.tell(did, found.name, "grown")


@brick.command()
@click.argument("name")
@click.option("--id", "id", help="A uuid for the snapshot, so that the command may be repeated. Default: a new one.")
@works
def snapshot(bench: Bench, name: str, id: str | None) -> None:
    """Keep the present content of a volume. No guest may write to it meanwhile."""
    source = bench.label_of(name)
    label = Label(Kind.SNAPSHOT, id or str(uuid.uuid4()), source.project, parent=source.id)
    with bench.progress("keeping") as progress:
        did = bench.driver.snapshot(source.name, label, progress)
    bench.tell(did, label.name, f"keeps {source.name}")


@brick.command()
@click.argument("source")
@click.option("--size", "size_bytes", type=size, help="Default: as large as the source.")
@click.option("--id", "id", help="A uuid, so that the command may be repeated. Default: a new one.")
@click.option("--project", help="Whose it is. Default: as the source.")
@works
def clone(bench: Bench, source: str, size_bytes: int | None, id: str | None, project: str | None) -> None:
    """Make a volume with the content of a volume, a snapshot or a root disk."""
    origin = bench.find(source)
    label = Label(Kind.VOLUME, id or str(uuid.uuid4()), project or bench.label_of(source).project)
    with bench.progress("copying") as progress:
        did = bench.driver.clone(origin.name, label, size_bytes or origin.size_bytes, progress)
    bench.tell(did, label.name, f"has the content of {origin.name}")


@brick.command()
@click.argument("name")
@click.argument("snapshot")
@works
def revert(bench: Bench, name: str, snapshot: str) -> None:
    """Make the content of a volume that of its snapshot again."""
    volume, kept = bench.find(name), bench.find(snapshot)
    with bench.progress("reverting") as progress:
        did = bench.driver.revert(volume.name, kept.name, progress)
    bench.tell(did, volume.name, f"has the content of {kept.name}")


@brick.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--format", "format", required=True, help="What the file is: raw, qcow2, vdi or vmdk.")
@click.option("--size", "size_bytes", type=size, help="Default: as large as the image.")
@labelled
@works
def import_(bench: Bench, file: str, format: str, size_bytes: int | None, label: Label) -> None:
    """Make a volume, or a root disk, of an image file."""
    size_bytes = size_bytes or library.inspect(file).virtual_size_bytes
    with bench.progress("importing") as progress:
        did = bench.driver.import_image(label, file, format, size_bytes, progress)
    bench.tell(did, label.name, f"has the content of {file}")


@brick.command("open")
@click.argument("name")
@works
def open_(bench: Bench, name: str) -> None:
    """Make a brick usable, and say where it is and what is inside."""
    found = asdict(bench.driver.open(bench.find(name).name))
    tables.one(bench.form, found, list(found.items()))


@brick.command()
@click.argument("name")
@works
def close(bench: Bench, name: str) -> None:
    """Say that a brick is no longer used."""
    found = bench.find(name)
    bench.tell(bench.driver.close(found.name), found.name, "closed")


@brick.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@works
def delete(bench: Bench, names: tuple[str, ...]) -> None:
    """Delete bricks, wiped before where that is needed. What has no label is refused."""
    for text in names:
        name = bench.name(text)
        if bench.driver.capabilities.wipes and bench.driver.find(name) is not None:
            with bench.progress(f"wiping {name}") as progress:
                bench.driver.wipe(name, progress)
        bench.tell(bench.driver.delete(name), name, "deleted")


@brick.command()
@click.argument("name")
@works
def tidy(bench: Bench, name: str) -> None:
    """Remove what a verb has left that died, as audit tells it, wiped where that is needed. The brick itself stays."""
    name = bench.name(name)
    bench.tell(bench.driver.tidy(name), name, "tidied up")


@brick.command()
@click.argument("name")
@works
def wipe(bench: Bench, name: str) -> None:
    """Make the content of a brick unreadable before it is deleted, and show the receipt."""
    found = bench.find(name)
    with bench.progress("wiping") as progress:
        receipt = {key: str(value) for key, value in asdict(bench.driver.wipe(found.name, progress)).items()}
    tables.one(bench.form, receipt, list(receipt.items()))


@brick.command()
@click.argument("name")
@click.option("--kind", type=click.Choice([str(kind) for kind in Kind]), help="Default: as the name says, or volume.")
@click.option("--id", "id", help="A uuid. Default: as the name says, or a new one.")
@click.option("--project", default="local", show_default=True, help="Whose it is from now on.")
@click.option("--generation", type=click.IntRange(1), default=1, show_default=True, help="Of its label.")
@click.option("--parent", help="Of a snapshot: the id of its volume.")
@works
def adopt(
    bench: Bench, name: str, kind: str | None, id: str | None, project: str, generation: int, parent: str | None
) -> None:
    """Take over what has no label, NAME in the pool: it gets a label and our name. Nothing is copied."""
    now = parse(name)
    kind = kind or str(now[0] if now else Kind.VOLUME)
    if kind == Kind.SNAPSHOT and not parent:
        raise click.UsageError("a snapshot needs --parent: the id of its volume")
    label = Label(Kind(kind), id or (now[1] if now else str(uuid.uuid4())), project, generation, parent)
    bench.tell(bench.driver.adopt(name, label), label.name, "adopted")


@brick.command()
@works
def usage(bench: Bench) -> None:
    """Show what the pool has, what of it is promised, and what is taken."""
    found = asdict(bench.driver.usage())
    facts = [(key, tables.size(value) if key.endswith("_bytes") else value) for key, value in found.items()]
    tables.one(bench.form, found, facts)


@brick.command()
@works
def check(bench: Bench) -> None:
    """Exit with 0 if tools and pool are usable, and say what to do otherwise."""
    bench.driver.check()
    able = asdict(bench.driver.capabilities)
    words = ", ".join(name for name, yes in able.items() if yes)
    tables.say(bench.form, f"the pool is usable; it can: {words}", {"usable": True, "capabilities": able})


@brick.command()
@works
def audit(bench: Bench) -> None:
    """Tell what is not in order in the pool; exit code 1 if there is anything."""
    found = differences(bench.driver)
    tables.rows(bench.form, found, DIFFERENCES, "Everything in the pool is in order.")
    if found:
        raise click.exceptions.Exit(1)


def differences(driver: Guard) -> list[dict[str, str]]:
    """What the pool itself says that is not in order; nothing is changed."""
    bricks = {found.name: found for found in driver.list()}
    rows = []
    for name, found in bricks.items():
        label = found.label
        if label is None:
            rows.append(("no_label", name, "Nothing says whose it is: adopt it, or move it out of the pool."))
        elif found.wiping:
            rows.append(("wiping", name, "It is deleted and not wiped yet: delete it again."))
        elif label.kind is Kind.SNAPSHOT and name_of(Kind.VOLUME, label.parent or "") not in bricks:
            rows.append(("snapshot_without_parent", name, f"Volume {label.parent} is not here: clone it or delete it."))
    for name, left in driver.leftovers().items():
        rows.append(("leftovers", name, f"{', '.join(left)}: a verb died; repeat it, or tidy up after it."))
    return [{"kind": kind, "name": name, "message": message} for kind, name, message in rows]


def _state(row: dict[str, Any]) -> str:
    if row["wiping"]:
        return "wiping"
    return "ours" if row["labelled"] else "no label"
