"""Where commands print."""

from rushhour.rundir.masking import mask_text
from rushhour.screen.console import make_console

console = make_console()
errors = make_console(stderr=True)


def say_aside(line: str) -> None:
    """Print on stderr, beside the output of a command that goes on."""
    errors.print(mask_text(line), soft_wrap=True, markup=False, highlight=False)


def say(line: str) -> None:
    console.print(mask_text(line), soft_wrap=True, markup=False)
