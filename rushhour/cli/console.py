"""Where commands print."""

from rich.console import Console

console = Console(emoji=False, markup=False)
errors = Console(stderr=True, emoji=False, markup=False)


def say_aside(line: str) -> None:
    """On stderr, beside the output of a command that goes on."""
    errors.print(line, soft_wrap=True, markup=False, highlight=False)


def say(line: str) -> None:
    console.print(line, soft_wrap=True, markup=False)
