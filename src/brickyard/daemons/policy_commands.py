"""`brickyard policy …`: who may do what, by the defaults and the operator's file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from brickyard.cli import tables
from brickyard.daemons.commands import load, told, where


@click.group()
def policy() -> None:
    """Who may do what: the rules of this service, with those of the configured policy file."""


@policy.command("list")
@where
@click.option("--changed", is_flag=True, help="Only the rules that the file says.")
@click.pass_obj
def list_(obj: dict[str, Any], state_dir: Path | None, files: tuple[Path, ...], changed: bool) -> None:
    """Show every rule as it counts. A file with a mistake in it is refused, as at the start of the service."""
    with told():
        from brickyard.service import policy as rules

        read = rules.Policy(load(state_dir, files).service.policy_file)
    for warning in read.warnings:
        click.echo(f"warning: {warning}", err=True)
    found = [
        {"rule": name, "check": read.overrides.get(name, rules.RULES.get(name)), "default": rules.RULES.get(name)}
        for name in dict.fromkeys((*rules.RULES, *read.overrides))
        if name in read.overrides or not changed
    ]
    columns = [
        tables.Column("rule", lambda row: row["rule"]),
        tables.Column("check", lambda row: str(row["check"])),
        tables.Column(
            "default", lambda row: "" if row["check"] == row["default"] else row["default"] or "none", wide=True
        ),
    ]
    tables.rows(obj["form"], found, columns, "The configuration has no policy_file: the defaults count.")
