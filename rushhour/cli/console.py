"""Where commands print."""

from rich.console import Console

console = Console()
errors = Console(stderr=True)


def say_aside(line: str) -> None:
    """On stderr, beside the output of a command that goes on."""
    errors.print(line, soft_wrap=True, markup=False, highlight=False)


def say(line: str) -> None:
    console.print(line, soft_wrap=True, markup=False)
