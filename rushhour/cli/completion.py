"""`rushhour completion`: what a shell reads to complete commands with the Tab key."""

from typing import Final

import click
from click.shell_completion import get_completion_class

from rushhour.cli.options import Exit
from rushhour.errors import UsageError

PROGRAM: Final = "rushhour"
VARIABLE: Final = "_RUSHHOUR_COMPLETE"  # by which click knows that a shell asks
SHELLS: Final = ("bash", "zsh", "fish")


@click.command(short_help="Print a script that completes commands with the Tab key.")
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> int:
    """Print a script for a shell that completes commands, options and scenarios with the Tab key.

    \b
    bash (4.4 or newer):  eval "$(rushhour completion bash)"  in ~/.bashrc
    zsh:                  eval "$(rushhour completion zsh)"   in ~/.zshrc, after compinit
    fish:                 rushhour completion fish | source   in ~/.config/fish/config.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError([f"this version of click knows no {shell}"])
    click.echo(
        kind(click.get_current_context().find_root().command, {}, PROGRAM, VARIABLE).source(), nl=False
    )
    return Exit.MET
