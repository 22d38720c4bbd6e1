"""`brickyard node …`: the agent of this host, and how it gets its credentials."""

from __future__ import annotations

from pathlib import Path

import click

from brickyard.daemons.commands import load, told, where


@click.group(invoke_without_command=True)
@where
@click.pass_context
def node(ctx: click.Context, state_dir: Path | None, files: tuple[Path, ...]) -> None:
    """Run the agent of this host: its backends and guests, for a service elsewhere.

    It reads the backends from the same configuration as `brickyard serve`, and needs no database. `brickyard node
    enroll` comes first.
    """
    if ctx.invoked_subcommand is not None:
        return
    with told():
        from brickyard.daemons import node as daemon

        daemon.run(load(state_dir, files), say=click.echo)


@node.command()
@where
@click.argument("url")
@click.argument("token")
def enroll(state_dir: Path | None, files: tuple[Path, ...], url: str, token: str) -> None:
    """Exchange TOKEN, of `brickyard host enroll`, for the credentials of this host, at the API at URL.

    They are kept in the state directory, readable by its owner alone. The token is good once.
    """
    with told():
        from brickyard.daemons import node as daemon

        host = daemon.enroll(load(state_dir, files), url, token)
        click.echo(f"This host is {host} now: start its agent with `brickyard node`.")
