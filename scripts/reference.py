"""Write docs/reference and the samples in deploy/ from the tables in the code: what can be generated is never
remembered."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import block_storage
import click
import dashboard
import sample

from brickyard import options
from brickyard.api import own, routes, versions
from brickyard.cli.main import main as main_group
from brickyard.core import errors, states
from brickyard.service import policy

ROOT = Path(__file__).parent.parent
GENERATED = "<!-- Written by scripts/docs. Change {source} instead. -->"

INTRODUCTION = """\
No file is needed. `brickyard serve --config-file FILE` reads one (the option may be given again; what a later file says
wins); otherwise `$BRICKYARD_CONFIG`, `brickyard.conf` in the state directory, or `/etc/brickyard/brickyard.conf` is
read, the first that is there. A `$name` in a value stands for another option, and `$$` for a dollar sign.

Three ways name the backends. Usual: `enabled_backends` in `[DEFAULT]`, and a section for each. Older:
`multi_backend_support = True` with `multi_backend_configs`. One backend only: `volume_driver` in `[DEFAULT]`, with the
options of that backend beside it; it is named `default`. Options in `[backend_defaults]` count for every section that
does not say otherwise, where the driver has them.

An option of another service that means nothing here is a warning in the log; a misspelt one of a backend is an error,
because what it meant would be lost silently."""


def configuration() -> str:
    """docs/reference/configuration.md, from brickyard/options.py."""
    lines = [
        "# Configuration",
        "",
        GENERATED.format(source="src/brickyard/options.py"),
        "",
        *INTRODUCTION.splitlines(),
    ]
    for section in dict.fromkeys(option.section for option in options.TABLE):
        title = "Each backend's section" if section == options.BACKEND else f"[{section}]"
        lines += ["", f"## {title}", "", "| option | default | allowed | |", "|---|---|---|---|"]
        lines += [row(option) for option in options.TABLE if option.section == section]
    lines += ["", "## Options of the drivers", ""]
    lines += ["They stand in the backend's section too.", "", "| driver | option | |", "|---|---|---|"]
    lines += [
        f"| `{driver}` | `{name}` | {cell(text)} |" for driver, known in options.DRIVERS.items() for name, text in known
    ]
    return "\n".join(lines) + "\n"


def row(option: options.Option) -> str:
    default = f"`{cell(option.default)}`" if option.default is not None else ""
    return f"| `{option.name}` | {default} | {cell(option.allowed)} | {cell(option.help)} |"


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def commands() -> str:
    """docs/reference/commands.md, from the commands themselves."""
    lines = ["# Commands", "", GENERATED.format(source="src/brickyard/cli and src/brickyard/daemons/commands.py"), ""]
    lines += ["`brickyard COMMAND --help` says the same."]
    for name, command in walk(main_group, ()):
        lines += ["", f"## `brickyard {name}`", "", first(command.help)]
        if isinstance(command, click.Group):
            continue
        context = click.Context(command, info_name=f"brickyard {name}")
        lines += ["", f"    {' '.join(command.get_usage(context).removeprefix('Usage: ').split())}"]
        options_ = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
        if options_:
            lines += ["", "| option | |", "|---|---|"]
            lines += [f"| `{', '.join((*p.opts, *p.secondary_opts))}` | {cell(p.help or '')} |" for p in options_]
    return "\n".join(lines) + "\n"


def walk(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    """Every command below a group, by its full name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        yield " ".join((*path, name)), command
        if isinstance(command, click.Group):
            yield from walk(command, (*path, name))


def first(text: str | None) -> str:
    """A help text as one paragraph of a document."""
    return " ".join((text or "").replace("\b", "").split())


def statuses() -> str:
    """docs/reference/states.md, from core/states.py."""
    lines = ["# Statuses", "", GENERATED.format(source="src/brickyard/core/states.py"), ""]
    lines += [
        "What may be done in which status, and where it leads. `where it was` is the status that the action found;"
    ]
    lines += [
        "`by attachments` is `in-use`, `attaching`, `detaching`, `reserved` or `available`, as the attachments say."
    ]
    for noun in ("VOLUME", "SNAPSHOT", "ATTACHMENT", "INSTANCE"):
        rows = getattr(states, noun).values()
        lines += [
            "",
            f"## {noun.capitalize()}",
            "",
            "| action | from | meanwhile | done | failed |",
            "|---|---|---|---|---|",
        ]
        for row in rows:
            start = ", ".join(sorted(str(status) for status in row.start if status)) or "nothing"
            lines.append(f"| {row.action} | {start} | {row.during} | {resting(row.done)} | {resting(row.failed)} |")
        lines += ["", "```mermaid", "stateDiagram-v2"]
        arrows = dict.fromkeys(arrow for row in rows for arrow in transitions(row))
        lines += [f"    {arrow}" for arrow in arrows] + ["```"]
    return "\n".join(lines) + "\n"


RESTING = {states.BEFORE: "where it was", states.COUNT: "by attachments", states.GONE: "gone"}


def resting(status: str) -> str:
    return RESTING.get(status, str(status))


def transitions(row: states.Row) -> Iterator[str]:
    """Arrows of a diagram; a status of the wire may have a dash, which the diagram's language does not allow."""
    during = row.during.replace("-", "_")
    for status in sorted(row.start, key=str):
        yield f"{status.replace('-', '_') if status else '[*]'} --> {during}: {row.action}"
    for status, outcome in ((row.done, "done"), (row.failed, "failed")):
        if status == states.GONE:
            yield f"{during} --> [*]: {outcome}"
        elif status not in RESTING:
            yield f"{during} --> {status.replace('-', '_')}: {outcome}"


def microversions() -> str:
    """docs/reference/versions.md, from api/versions.py."""
    lines = ["# Microversions", "", GENERATED.format(source="src/brickyard/api/versions.py"), ""]
    lines += ["Of Block Storage v3, as served. What a version between two lines adds has no effect here.", ""]
    lines += ["| since | what |", "|---|---|"]
    lines += [f"| {version} | {cell(what)} |" for version, what in versions.HISTORY.items()]
    return "\n".join(lines) + "\n"


def faults() -> str:
    """docs/reference/errors.md, from core/errors.py."""
    lines = ["# Errors", "", GENERATED.format(source="src/brickyard/core/errors.py"), ""]
    lines += ["| error | status | message, unless it says more |", "|---|---|---|"]
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.BrickyardError)
    ]
    lines += [f"| {kind.__name__} | {kind.status} | {cell(first(kind.__doc__))} |" for kind in kinds]
    return "\n".join(lines) + "\n"


def block_storage_v3() -> str:
    """docs/reference/block-storage-v3.md, from the tables of the API."""
    return block_storage.page(GENERATED.format(source="src/brickyard/api/operations.py and schemas"))


POLICY = """\
Each request asks a rule. A file in YAML, `policy_file` in `[oslo_policy]`, may say otherwise, in the language of
oslo.policy: `role:`, `rule:`, `project_id:%(project_id)s`, `project_id:ID`, `user_id:ID`, `is_admin:True`,
`system_scope:all`, `@` (always) and `!` (never), joined by `and`, `or`, `not` and parentheses. It may have rules of its
own for others to name. It is read at the start, and refused if it has a mistake; `brickyard policy list` shows what
counts. Whatever it says, a project finds nothing of another one's; who passes `context_is_admin` finds everything."""


def policies() -> str:
    """docs/reference/policy.md, from service/policy.py and the tables of routes."""
    asked: dict[str, list[str]] = {}
    for prefix, table in (("/v3", routes.ROUTES), ("", own.ROUTES)):
        for route in table:
            name = f"{route.method} {prefix}{route.path}"
            if route.policy:
                asked.setdefault(route.policy, []).append(f"`{name}`")
            for word, action in getattr(route.handler, "actions", {}).items():
                asked.setdefault(action.policy or "", []).append(f"`{name}` `{word}`")
    lines = ["# Policy", "", GENERATED.format(source="src/brickyard/service/policy.py"), "", *POLICY.splitlines(), ""]
    lines += ["| rule | default | requests |", "|---|---|---|"]
    lines += [
        f"| `{name}` | `{cell(check)}` | {', '.join(asked.get(name, ()))} |" for name, check in policy.RULES.items()
    ]
    return (
        "\n".join([*lines, "", "Where no request stands, a rule decides of a part of an answer or of a request."])
        + "\n"
    )


PAGES = {
    "docs/reference/policy.md": policies,
    "docs/reference/configuration.md": configuration,
    "docs/reference/commands.md": commands,
    "docs/reference/states.md": statuses,
    "docs/reference/versions.md": microversions,
    "docs/reference/errors.md": faults,
    "docs/reference/block-storage-v3.md": block_storage_v3,
    "deploy/brickyard.conf": sample.sample,
    "deploy/grafana/brickyard.json": dashboard.dashboard,
}


def main() -> int:
    stale = []
    for name, write in PAGES.items():
        page, text = ROOT / name, write()
        if page.exists() and page.read_text() == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(text)
            print(f"docs: wrote {name}")
    if stale and "--check" in sys.argv:
        print(f"docs: not as the code says: {', '.join(stale)}; run scripts/docs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
