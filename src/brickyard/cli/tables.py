"""What the commands print: tables for people, JSON for programs, sizes with their units."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click
from rich import box, console, markup, table

WIDE = 110  # columns from which on a table shows what is nice to have
UNBOUNDED = 10_000  # a file or a pipe has no width: nothing is cut
COLOURS = {
    "active": "green", "available": "green", "in-use": "green", "done": "green", "up": "green", "yes": "green",
    "building": "yellow", "running": "yellow", "unwinding": "yellow", "queued": "yellow", "deleting": "yellow",
    "creating": "yellow", "starting": "yellow", "stopping": "yellow", "stopped": "yellow", "disabled": "yellow",
    "error": "red", "failed": "red", "down": "red", "error_deleting": "red",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """A heading and how its cell is made of a row. `wide`: only where there is room; `right`: a number."""

    heading: str
    cell: Callable[[Any], Any]
    wide: bool = False
    right: bool = False
    whole: bool = False  # never cut or folded: an id is for copying


def out(file: Any = None) -> console.Console:
    """A console on standard output, or on `file`."""
    found = console.Console(file=file, highlight=False, soft_wrap=False)
    return found if found.is_terminal else console.Console(file=file, highlight=False, width=UNBOUNDED)


def rows(form: str, found: Sequence[Mapping[str, Any]], columns: Sequence[Column], none: str) -> None:
    """A list: JSON as it came, or a table; `none` is said when it is empty."""
    if form == "json":
        click.echo(json.dumps(found, indent=2))
        return
    screen = out()
    if not found:
        screen.print(none, style="dim")
        return
    screen.print(_table(found, columns, screen.width))


def _table(found: Iterable[Any], columns: Sequence[Column], width: int) -> table.Table:
    shown = [column for column in columns if width >= WIDE or not column.wide]
    made = table.Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", show_edge=False)
    for column in shown:
        justify: Any = "right" if column.right else "left"
        made.add_column(column.heading, justify=justify, no_wrap=column.whole, overflow="fold")
    for row in found:
        made.add_row(*(cell(column.cell(row)) for column in shown))
    return made


def one(form: str, found: Mapping[str, Any], facts: Sequence[tuple[str, Any]]) -> None:
    """One thing: JSON as it came, or its facts one below the other."""
    if form == "json":
        click.echo(json.dumps(found, indent=2))
        return
    made = table.Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in facts:
        for line, text in enumerate(value if isinstance(value, list) and value else [value]):
            made.add_row("" if line else name, cell(text))
    out().print(made)


def say(form: str, text: str, found: Any = None) -> None:
    """A sentence for people; for programs the object that it is about."""
    if form == "json":
        click.echo(json.dumps(found if found is not None else {}, indent=2))
    else:
        click.echo(text)


def error(message: str, refusals: Sequence[Mapping[str, Any]] = ()) -> None:
    """One sentence on standard error, and below it the table of what refused each host and pool."""
    screen = out(sys.stderr)
    screen.print(f"[red bold]error:[/] {markup.escape(message)}", soft_wrap=True)
    if refusals:
        screen.print(refusal_table(refusals, screen.width))


def refusal_table(refusals: Sequence[Mapping[str, Any]], width: int) -> table.Table:
    columns = (
        Column("Where", lambda row: row["name"]),
        Column("Rule", lambda row: row["rule"]),
        Column("Why it is refused", lambda row: row["message"]),
    )
    return _table(refusals, columns, width)


def cell(value: Any) -> str:
    """A value as a cell: nothing is a dash, a status has its colour."""
    if value is None or value in ("", [], {}):
        return "[dim]–[/]"
    if isinstance(value, bool):
        value = "yes" if value else "no"
    text = markup.escape(str(value))
    colour = COLOURS.get(str(value))
    return f"[{colour}]{text}[/]" if colour else text


def labels(found: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in sorted(found.items()))


def gib(size: int | None) -> str:
    """GiB as people read them."""
    if size is None:
        return ""
    return f"{size} GiB" if size < 10 * 1024 else f"{size / 1024:.1f} TiB"


def mib(size: int) -> str:
    return f"{size} MiB" if size < 10 * 1024 else f"{size / 1024:.0f} GiB"


def size(count: int) -> str:
    """Bytes as people read them."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def moment(text: str | None) -> str:
    """A time to the second, in UTC as everywhere."""
    return text[:19].replace("T", " ") if text else ""


def short(text: str | None) -> str:
    """A time without its year, for lists of what is recent."""
    return moment(text)[5:]
