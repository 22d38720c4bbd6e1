"""`brickyard completion …`"""

from __future__ import annotations

import click
from click import shell_completion

HOW = {
    "bash": 'eval "$(brickyard completion bash)"',
    "zsh": 'eval "$(brickyard completion zsh)"',
    "fish": "brickyard completion fish | source",
}


@click.command(epilog=f"For example, in ~/.bashrc: {HOW['bash']}")
@click.argument("shell", type=click.Choice(list(HOW)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion of a shell, for its start-up file."""
    found = shell_completion.get_completion_class(shell)
    assert found is not None  # click knows these three
    made = found(ctx.find_root().command, {}, "brickyard", "_BRICKYARD_COMPLETE")
    click.echo(made.source_template % made.source_vars())
