"""Where commands print."""

from contextlib import suppress

from rushhour.rundir.masking import mask_text
from rushhour.screen.console import make_console

console = make_console()
errors = make_console(stderr=True)


def say_aside(line: str) -> None:
    """Print on stderr, beside the output of a command that goes on, also where nobody takes that."""
    with suppress(OSError):
        errors.print(mask_text(line), soft_wrap=True, markup=False, highlight=False)


def say(line: str) -> None:
    console.print(mask_text(line), soft_wrap=True, markup=False)


def warn_of_not_saved(why: str, meaning: str) -> None:
    """Say on stderr that files could not be written, and what that means; nothing if they were."""
    if why:
        say_aside(f"rushhour: {why}; {meaning}")
