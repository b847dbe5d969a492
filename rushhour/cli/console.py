"""Where commands print."""

from rushhour.report.console import Console
from rushhour.rundir.masking import mask_text

console = Console(emoji=False, markup=False)
errors = Console(stderr=True, emoji=False, markup=False)


def say_aside(line: str) -> None:
    """On stderr, beside the output of a command that goes on."""
    errors.print(mask_text(line), soft_wrap=True, markup=False, highlight=False)


def say(line: str) -> None:
    console.print(mask_text(line), soft_wrap=True, markup=False)
