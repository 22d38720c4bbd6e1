"""`brickyard image …`"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click
import httpx
from rich import progress

from brickyard.cli import session, tables
from brickyard.cli.tables import Column

CHUNK_BYTES = 256 * 1024
UPLOAD_S = 600.0  # without a byte moving, and for the service to look at what it got
FORMATS = ("raw", "qcow2", "vdi", "vmdk")
FILE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)

COLUMNS = (
    Column("Name", lambda row: row["name"]),
    Column("Status", lambda row: row["status"], whole=True),
    Column("Kind", lambda row: row["format"] or row["kind"]),
    Column("Size", lambda row: tables.size(row["size_bytes"]), right=True, whole=True),
    Column("Needs", lambda row: tables.gib(row["min_gib"]) if row["min_gib"] else "", right=True, whole=True),
    Column("Public", lambda row: row["is_public"], wide=True),
    Column("ID", lambda row: row["id"], whole=True),
)


@click.group()
def image() -> None:
    """Images: list, show, create, delete."""


@image.command("list")
@session.talks
def list_(talk: session.Session) -> None:
    """List the images of the project and the public ones."""
    found = talk.get("/v1/images")["images"]
    tables.rows(talk.form, found, COLUMNS, "There are no images; make one with: brickyard image create")


@image.command()
@click.argument("image")
@session.talks
def show(talk: session.Session, image: str) -> None:
    """Show an image, by name or id."""
    _shown(talk, talk.get(f"/v1/images/{session.segment(image)}"))


@image.command()
@click.option("--disk", type=FILE, help="File of a disk image.")
@click.option("--format", "disk_format", type=click.Choice(FORMATS), help="What the disk image is.")
@click.option("--kernel", type=FILE, help="File of a kernel, to boot that instead of a disk.")
@click.option("--initrd", type=FILE, help="File of its initial RAM disk.")
@click.option("--cmdline", help="Command line of the kernel.")
@click.option("--min-gib", type=click.IntRange(0), default=0, help="Smallest root disk or volume in GiB.")
@click.option("--public", is_flag=True, help="For all projects; for administrators.")
@click.argument("name")
@session.talks
def create(
    talk: session.Session,
    name: str,
    disk: Path | None,
    disk_format: str | None,
    kernel: Path | None,
    initrd: Path | None,
    cmdline: str | None,
    min_gib: int,
    public: bool,
) -> None:
    """Upload the image NAME: --disk with --format, or --kernel with --initrd and --cmdline."""
    if (disk is None) == (kernel is None):
        raise click.UsageError("Give either --disk with --format, or --kernel.")
    if disk is not None and (disk_format is None or initrd is not None or cmdline is not None):
        raise click.UsageError("A disk needs --format, and has neither --initrd nor --cmdline.")
    if disk is None and disk_format is not None:
        raise click.UsageError("A kernel has no --format.")
    kind = "disk" if disk is not None else "kernel"
    body: dict[str, Any] = {"name": name, "kind": kind, "is_public": public, "min_gib": min_gib}
    body |= {key: value for key, value in (("format", disk_format), ("cmdline", cmdline)) if value is not None}
    made = talk.call("POST", "/v1/images", body).json()
    # The kernel last: with it the image is active, and instances may boot from it.
    files = {"disk": disk, "initrd": initrd, "kernel": kernel}
    try:
        for role, path in ((role, path) for role, path in files.items() if path is not None):
            made = _upload(talk, made["id"], role, path)
    except BaseException:
        with contextlib.suppress(session.Refused):
            talk.call("DELETE", f"/v1/images/{made['id']}")
        raise
    _shown(talk, made)


@image.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@session.talks
def delete(talk: session.Session, images: tuple[str, ...]) -> None:
    """Delete images, by name or id."""
    for name in images:
        talk.call("DELETE", f"/v1/images/{session.segment(name)}")
        tables.say(talk.form, f"image {name} deleted", {"name": name})


def _upload(talk: session.Session, id: str, role: str, path: Path) -> dict[str, Any]:
    """Send one file, with a progress bar where somebody watches."""
    length = path.stat().st_size
    columns = (
        progress.TextColumn(f"{role:<7}"),
        progress.BarColumn(),
        progress.DownloadColumn(binary_units=True),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    screen = tables.out(sys.stderr)
    with path.open("rb") as file, progress.Progress(*columns, console=screen, disable=not screen.is_terminal) as bar:
        task = bar.add_task(role, total=length)
        answer = talk.call(
            "PUT",
            f"/v1/images/{id}/files/{role}",
            content=_chunks(file, length, lambda sent: bar.advance(task, sent)),
            headers={"Content-Length": str(length), "Content-Type": "application/octet-stream"},
            timeout=httpx.Timeout(UPLOAD_S, connect=session.CONNECT_S),
        )
    found: dict[str, Any] = answer.json()
    return found


def _chunks(file: BinaryIO, length: int, sent: Any) -> Iterator[bytes]:
    left = length  # as many bytes as were promised, if the file grows meanwhile
    while left and (chunk := file.read(min(CHUNK_BYTES, left))):
        left -= len(chunk)
        sent(len(chunk))
        yield chunk


def _shown(talk: session.Session, found: dict[str, Any]) -> None:
    tables.one(
        talk.form,
        found,
        (
            ("Name", found["name"]),
            ("ID", found["id"]),
            ("Status", found["status"]),
            ("Kind", f"{found['kind']} {found['format'] or ''}".strip()),
            *((("Command line", found["cmdline"]),) if found["cmdline"] else ()),
            ("Size", tables.size(found["size_bytes"])),
            *((("Needs", tables.gib(found["min_gib"])),) if found["min_gib"] else ()),
            ("Public", found["is_public"]),
            ("Files", [f"{role} sha256:{sha256}" for role, sha256 in sorted(found["files"].items())]),
        ),
    )
