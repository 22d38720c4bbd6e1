"""What is generated is what the code says, and what people must know is written down."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import click

from brickyard import options
from brickyard.api import operations, routes
from brickyard.api.schemas import answers, backup_answers, operator_answers
from brickyard.cli.main import main

ROOT = Path(__file__).parent.parent.parent


def test_generated_documents_are_as_the_code_says() -> None:
    script = ROOT / "scripts" / "reference.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_option_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "configuration.md").read_text()
    names = {option.name for option in options.TABLE} | {n for d in options.DRIVERS for n in options.of_driver(d)}
    assert not [name for name in names if f"`{name}`" not in page]


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        found.append((" ".join((*path, name)), command))
        if isinstance(command, click.Group):
            found += commands(command, (*path, name))
    return found


def test_every_command_and_each_of_its_options_says_what_it_does() -> None:
    silent = []
    for name, command in commands(main):
        if not command.help:
            silent.append(name)
        silent += [
            f"{name} {parameter.opts[0]}"
            for parameter in command.params
            if isinstance(parameter, click.Option) and not parameter.help
        ]
    assert not silent


def test_every_command_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "commands.md").read_text()
    assert not [name for name, _ in commands(main) if f"`brickyard {name}`" not in page]


def test_every_route_and_action_of_v3_is_described_and_nothing_else() -> None:
    there = set()
    for route in routes.ROUTES:
        actions = getattr(route.handler, "actions", None)
        names = [f"#{action}" for action in actions] if actions else [""]
        there |= {f"{route.method} {route.path}{name}" for name in names}
    assert there == set(operations.TABLE), "see src/brickyard/api/operations.py"


def test_every_answer_that_is_described_has_a_schema_and_every_schema_is_used() -> None:
    schemas = {**answers.ANSWERS, **backup_answers.ANSWERS, **operator_answers.ANSWERS}
    used = {said.answer for said in operations.TABLE.values()} | {"Fault"}
    used |= set(re.findall(r"#/components/schemas/(\w+)", json.dumps(schemas)))
    assert used - {None} == set(schemas)
