"""What every command of `brickyard brick` works with: a pool, names, sizes, labels and the form of its output."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from brickyard import brick as library
from brickyard.brick.guard import Guard
from brickyard.cli import tables
from brickyard.core import errors, sizes
from brickyard.core.bricks import PREFIX, UUID, Did, Found, Kind, Label, name_of, parse

F = TypeVar("F", bound=Callable[..., Any])
KINDS = click.Choice(["volume", "root"])
ASKED = "brickyard.brick"  # where a command finds the options of its group
UNITS = {"B": 1, "K": sizes.KIB, "M": sizes.MIB, "G": sizes.GIB, "T": 1024 * sizes.GIB}


class Failed(click.ClickException):
    """A verb of the library raised."""

    exit_code = 1

    def show(self, file: Any = None) -> None:
        tables.error(self.message)


def size(text: str) -> int:
    """10 (GiB), 10G, 512M, 1T, 4096B; in bytes."""
    match = re.fullmatch(r"([0-9]{1,15})([BKMGT]?)(?:iB)?", text)
    if match is None or int(match[1]) == 0:
        raise click.BadParameter(f"{text!r} is not a size: write 10 or 10G for GiB, 512M, 1T, or 4096B for bytes")
    return int(match[1]) * UNITS[match[2] or "G"]


@dataclass(frozen=True, slots=True)
class Bench:
    """The pool that a command works on, and the form of its output."""

    driver: Guard
    form: str

    def name(self, text: str) -> str:
        """The name of a brick, also when only its id was given."""
        if parse(text) or not re.fullmatch(UUID, text):
            return library.checked(text)
        names = [name_of(kind, text) for kind in PREFIX]
        found = [name for name in names if self.driver.find(name) is not None]
        if len(found) > 1:
            raise errors.Invalid(f"{' and '.join(found)} have this id: give the name of one", field="name")
        return found[0] if found else names[0]

    def find(self, text: str) -> Found:
        name = self.name(text)
        found = self.driver.find(name)
        if found is None:
            raise errors.NotFound(f"There is no brick {name} in this pool; `list` shows what there is.")
        return found

    def label_of(self, text: str) -> Label:
        """The label of a brick that another one is made of."""
        found = self.find(text)
        if found.label is None:
            raise errors.BrickMismatch(f"{found.name} has no label: nothing says whose it is; adopt it first.")
        return found.label

    def tell(self, did: Did, name: str, what: str) -> None:
        text = f"{name} {what}" if did is Did.CHANGED else f"{name}: nothing was left to do"
        found = self.driver.find(name)
        tables.say(self.form, text, {"did": str(did), "name": name, "brick": shown(found) if found else None})

    @contextlib.contextmanager
    def progress(self, what: str) -> Iterator[library.Progress | None]:
        """A bar in a terminal, and nothing elsewhere."""
        if not sys.stderr.isatty():
            yield None
            return
        from rich import progress

        bar = progress.Progress(*progress.Progress.get_default_columns(), console=tables.out(sys.stderr))
        with bar:
            task = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)


def works(command: F) -> F:
    """Give a command its pool, and the option -f; tell errors in a line."""

    @click.option("-f", "form", type=click.Choice(["table", "json"]), help="Form of the output.")
    @click.pass_context
    @functools.wraps(command)
    def wrapped(ctx: click.Context, /, *args: Any, form: str | None = None, **given: Any) -> Any:
        asked = ctx.meta[ASKED]
        with _told():
            bench = Bench(_load(asked), form or ctx.find_root().obj["form"])
            return ctx.invoke(command, bench, *args, **given)

    return wrapped  # type: ignore[return-value]


def labelled(command: F) -> F:
    """The options that make the label of a new volume or root disk, and `label` for the command."""

    @functools.wraps(command)
    def wrapped(*args: Any, kind: str, id: str | None, project: str, generation: int, **given: Any) -> Any:
        label = Label(Kind(kind), id or str(uuid.uuid4()), project, generation)
        return command(*args, label=label, **given)

    made: Any = wrapped
    for option in (
        click.option("--generation", type=click.IntRange(1), default=1, show_default=True, help="Of its label."),
        click.option("--project", default="local", show_default=True, help="Whose it is."),
        click.option("--id", "id", help="A uuid, so that the command may be repeated. Default: a new one."),
        click.option("--kind", type=KINDS, default="volume", show_default=True, help="What it is."),
    ):
        made = option(made)
    return made  # type: ignore[no-any-return]


def shown(found: Found) -> dict[str, Any]:
    label, now = found.label, parse(found.name)
    return {
        "name": found.name,
        "kind": str(now[0]) if now else None,
        "id": now[1] if now else None,
        "project": label.project if label else None,
        "generation": label.generation if label else None,
        "parent": label.parent if label else None,
        "size_bytes": found.size_bytes,
        "used_bytes": found.used_bytes,
        "labelled": label is not None,
        "wiping": found.wiping,
    }


def _load(asked: dict[str, Any]) -> Guard:
    """The driver of the command line; whatever is wrong with it is a mistake on that line."""
    if asked["driver"] is None:
        raise click.UsageError("--driver is missing: brickyard brick --driver raw --path DIR …")
    pairs = [option.partition("=") for option in asked["options"]]
    if wrong := [key or option for option, (key, equals, _) in zip(asked["options"], pairs, strict=True) if not equals]:
        raise click.UsageError(f"-o {wrong[0]} is not an option: write NAME=VALUE")
    options = {key: value for key, _, value in pairs}
    if asked["path"] is not None:
        options["path"] = os.path.abspath(asked["path"])
    try:
        return library.load(asked["driver"], options)
    except errors.Invalid as error:
        raise click.UsageError(error.message) from error


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except errors.BrickyardError as error:
        raise Failed(error.message) from error
