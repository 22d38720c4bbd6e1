"""The command `brickyard`. Commands are found by name and imported when they run, so that help and errors are quick."""

from __future__ import annotations

import importlib

import click

# name → module and attribute, and what the list of commands says. Those of daemons work on this host itself; they are
# named and not imported, because the command line stands below the daemons.
# fmt: off
COMMANDS = {
    "boot":        ("brickyard.cli.boot:boot",               "Boot an instance together with its storage."),
    "explain":     ("brickyard.cli.boot:explain",            "Where would it go, and why not elsewhere?"),
    "instance":    ("brickyard.cli.instances:instance",      "Instances: list, show, start, stop, delete, …"),
    "host":        ("brickyard.cli.hosts:host",              "Hosts: list, show, their disks, set labels, …"),
    "pool":        ("brickyard.cli.pools:pool",              "Storage on hosts: list, show, create, extend, …"),
    "flavor":      ("brickyard.cli.flavors:flavor",          "Flavors: list, show, create, delete."),
    "image":       ("brickyard.cli.images:image",            "Images: list, show, create (with upload), delete."),
    "reservation": ("brickyard.cli.reservations:reservation", "Reserved capacity: list, show, clear, renew."),
    "flow":        ("brickyard.cli.flows:flow",              "Work in progress and done: list, show, watch."),
    "receipt":     ("brickyard.cli.receipts:receipt",        "Proofs that deleted data is gone: list, show."),
    "audit":       ("brickyard.cli.audit:audit",             "Compare records and disks, and repair what differs."),
    "completion":  ("brickyard.cli.completion:completion",   "Print the completion of a shell."),
    "serve":       ("brickyard.daemons.commands:serve",      "Run the service: API, conductor and node in one."),
    "api":         ("brickyard.daemons.commands:api",        "The API alone: conductors do the work."),
    "conductor":   ("brickyard.daemons.commands:conductor",  "A conductor alone: it does what APIs have taken."),
    "node":        ("brickyard.daemons.node_commands:node",  "The agent of this host, for a service elsewhere."),
    "db":          ("brickyard.daemons.commands:db",         "The database: upgrade, check, back up, restore, …"),
    "brick":       ("brickyard.daemons.brick_commands:brick", "The storage library alone, without a service."),
    "policy":      ("brickyard.daemons.policy_commands:policy", "Who may do what: list the rules that count."),
    "token":       ("brickyard.daemons.commands:token",      "Static tokens: create, list, revoke."),
}
# fmt: on
FORMS = click.Choice(["table", "json"])
DEFAULT_URL = "http://127.0.0.1:8776"


class Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands from the table: no module is imported for it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help) for name, (_, help) in COMMANDS.items()])


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="brickyard")
@click.option("--url", envvar="BRICKYARD_URL", default=DEFAULT_URL, help=f"Where the API is. Default: {DEFAULT_URL}.")
@click.option("--token", envvar="BRICKYARD_TOKEN", help="Token, where the service wants one.")
@click.option("-f", "--format", "form", type=FORMS, default="table", help="Form of the output.")
@click.pass_context
def main(ctx: click.Context, url: str, token: str | None, form: str) -> None:
    """Block storage for disks that sit next to the work."""
    ctx.obj = {"url": url, "token": token, "form": form}
