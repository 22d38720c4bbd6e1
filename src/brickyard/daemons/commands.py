"""The commands that work on this host itself, and not through the API: serve, db, token.

`cli/main.py` registers them by name, so that the direction of imports holds and so that `brickyard volume list` does
not pay for what a service needs. Everything heavy is imported when a command runs.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from brickyard.core import errors

if TYPE_CHECKING:
    from brickyard.core.settings import Settings
    from brickyard.db.database import Database

PATH = click.Path(path_type=Path)

F = TypeVar("F", bound=Callable[..., Any])


def where(command: F) -> F:
    """The options that say which service is meant."""
    for option in (
        click.option("--config-file", "files", type=PATH, multiple=True, help="INI file; may be given again."),
        click.option("--state-dir", type=PATH, help="Directory of all data. Also: BRICKYARD_STATE_DIR."),
    ):
        command = option(command)
    return command


@click.command()
@where
@click.option("--listen", help="Address to listen on. Default: osapi_volume_listen, or 127.0.0.1.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port. Default: osapi_volume_listen_port, or 8776.")
@click.option("--broker", envvar="BRICKYARD_BROKER", help="The message broker, for agents. Default: transport_url.")
def serve(
    state_dir: Path | None, files: tuple[Path, ...], listen: str | None, port: int | None, broker: str | None
) -> None:
    """Run the service: API, conductor and node in one process. No configuration is needed."""
    gc.disable()  # until it is ready: nearly all that a start makes stays for as long as the process
    with told():
        from brickyard.daemons import http_server
        from brickyard.daemons import serve as daemon

        daemon.run(load(state_dir, files, listen=listen, port=port, broker=broker), say=click.echo)
        http_server.leave(0)


@click.command()
@where
@click.option("--listen", help="Address to listen on. Default: osapi_volume_listen, or 127.0.0.1.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port. Default: osapi_volume_listen_port, or 8776.")
def api(state_dir: Path | None, files: tuple[Path, ...], listen: str | None, port: int | None) -> None:
    """Answer requests; conductors do the work. Any number of both share a database server and a message broker."""
    gc.disable()
    with told():
        from brickyard.daemons import http_server, roles

        roles.api(load(state_dir, files, listen=listen, port=port), say=click.echo)
        http_server.leave(0)


@click.command()
@where
def conductor(state_dir: Path | None, files: tuple[Path, ...]) -> None:
    """Place and run what APIs have taken: any number of conductors, one that dies is taken over by the others."""
    with told():
        from brickyard.daemons import roles

        roles.conductor(load(state_dir, files), say=click.echo)


@click.group()
def db() -> None:
    """The database: bring it to this release, look at it, copy it, put a copy back, or rebuild it from the disks."""


@db.command()
@where
@click.option("--expand", is_flag=True, help="Only add: the release before works on beside this one.")
def upgrade(state_dir: Path | None, files: tuple[Path, ...], expand: bool) -> None:
    """Bring the database to the schema of this release."""
    from brickyard.db import migrate

    with _database(state_dir, files) as database:
        before, now = migrate.upgrade(database, expand=expand)
        click.echo(f"revision {now}" + (", as before" if before == now else f", was {before or 'empty'}"))


@db.command()
@where
def check(state_dir: Path | None, files: tuple[Path, ...]) -> None:
    """Exit with 0 if this release works on the database as it is, and say what to do otherwise."""
    from brickyard.db import migrate

    with _database(state_dir, files) as database:
        migrate.check(database)
        click.echo(f"revision {migrate.current(database)}")


@db.command()
@where
@click.argument("file", type=PATH)
def backup(state_dir: Path | None, files: tuple[Path, ...], file: Path) -> None:
    """Copy the database to a new FILE, also while the service runs. Of SQLite: servers have tools of their own.

    The copy is one consistent file, of what was committed when it began. It holds the hashes of tokens: keep it safe.
    """
    from brickyard.db import copies

    with _database(state_dir, files) as database:
        revision = copies.backup(database, file)
        click.echo(f"{file}: {file.stat().st_size} bytes, revision {revision}")


@db.command()
@where
@click.argument("file", type=PATH)
def restore(state_dir: Path | None, files: tuple[Path, ...], file: Path) -> None:
    """Put a copy that `db backup` made in the place of the database. The service must not run.

    The database that is there is kept beside it. What happened after the copy was made is on the disks and not in it:
    `brickyard audit` finds that.
    """
    with told():
        from brickyard.daemons import state_dir as directory
        from brickyard.db import copies

        settings = load(state_dir, files)
        directory.prepare(settings.state_dir)
        with directory.held(settings.state_dir), _database(state_dir, files) as database:
            revision, kept = copies.restore(database, file)
    click.echo(f"The database is {file} now, revision {revision}." + (f" The old one is {kept}." if kept else ""))
    click.echo("Start the service where only you reach it, and run `brickyard audit`: it compares with the disks.")


@db.command()
@where
@click.option("--dry-run", is_flag=True, help="Say what would come back, and write nothing.")
@click.pass_context
def rebuild(ctx: click.Context, state_dir: Path | None, files: tuple[Path, ...], dry_run: bool) -> None:
    """Bring volumes and snapshots back from the disks, after the database was lost.

    The service must not run. What is in the database already stays as it is, so this may be repeated. Exit code 1 if
    something that says it is ours could not be taken.
    """
    with told():
        from brickyard.daemons import rebuild as work
        from brickyard.daemons import serve as daemon
        from brickyard.daemons import state_dir as directory
        from brickyard.db import alone, migrate

        settings = load(state_dir, files)
        directory.prepare(settings.state_dir)
        with (
            directory.held(settings.state_dir),
            _database(state_dir, files) as database,
            alone.Alone(database, lost=lambda: os.kill(os.getpid(), signal.SIGTERM)),
        ):
            if migrate.current(database) is None:
                migrate.upgrade(database)
            migrate.check(database)
            outcome = work.run(database, daemon.make_node(settings, database), dry_run=dry_run)
    work.show(outcome, ctx.find_root().obj["form"], dry_run=dry_run)
    ctx.exit(0 if outcome.complete else 1)


@click.group()
def token() -> None:
    """Static tokens, for auth_strategy = token."""


@token.command()
@where
@click.option("--user", required=True, help="Id of the user who gets it.")
@click.option("--project", required=True, help="Id of the project whose resources it opens.")
@click.option("--role", "roles", multiple=True, default=("member",), show_default=True, help="May be given again.")
@click.option("--expires", help="After 15m, 12h, 30d, 2w, or on a date in UTC. Default: never.")
@click.option("--description", help="What it is for.")
def create(
    state_dir: Path | None,
    files: tuple[Path, ...],
    user: str,
    project: str,
    roles: tuple[str, ...],
    expires: str | None,
    description: str | None,
) -> None:
    """Make a token and print it, once: only its hash is kept."""
    from brickyard.daemons import tokens

    with _upgraded(state_dir, files) as database:
        click.echo(
            tokens.create(database, user=user, project=project, roles=roles, expires=expires, description=description)
        )


@token.command("list")
@where
def list_(state_dir: Path | None, files: tuple[Path, ...]) -> None:
    """Show the tokens: the beginning of the hash, whose they are, and until when."""
    from brickyard.daemons import tokens

    with _upgraded(state_dir, files) as database:
        for row in tokens.list_(database):
            until = row.expires_at or "never expires"
            facts = [row.hash[:12], row.user_id, row.project_id, ",".join(row.roles), until, row.description or ""]
            click.echo("  ".join(facts).rstrip())


@token.command()
@where
@click.argument("hash")
def revoke(state_dir: Path | None, files: tuple[Path, ...], hash: str) -> None:
    """Revoke the token whose hash begins with HASH."""
    from brickyard.daemons import tokens

    with _upgraded(state_dir, files) as database:
        tokens.revoke(database, hash)
        click.echo("revoked")


def load(state_dir: Path | None, files: tuple[Path, ...], **more: Any) -> Settings:
    """What the configuration says; `more` as `config.load` takes it."""
    from brickyard import config

    return config.load(state_dir=state_dir, files=files, **more)


@contextlib.contextmanager
def _database(state_dir: Path | None, files: tuple[Path, ...]) -> Iterator[Database]:
    with told():
        from brickyard.daemons import state_dir as directory
        from brickyard.db import database

        settings = load(state_dir, files)
        directory.prepare(settings.state_dir)
        opened = database.Database(settings.database_url)
        try:
            yield opened
        finally:
            opened.close()


@contextlib.contextmanager
def _upgraded(state_dir: Path | None, files: tuple[Path, ...]) -> Iterator[Database]:
    """A database that may be used: a new one is made, an older one is only reported, since a service may run on it."""
    from brickyard.db import migrate

    with _database(state_dir, files) as database:
        if migrate.current(database) is None:
            migrate.upgrade(database)
        migrate.check(database)
        yield database


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Tell our errors, and those of the paths that were given, in a line without a trace."""
    try:
        yield
    except errors.BrickyardError as error:
        raise click.ClickException(error.message) from error
    except OSError as error:
        if error.filename is None:
            raise
        raise click.ClickException(f"{error.filename}: {error.strerror}; give another path") from error
