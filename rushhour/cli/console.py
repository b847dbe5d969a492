"""Where commands print."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from rushhour.process.printable import clean
from rushhour.rundir.masking import mask_text, mask_urls


class _CleanConsole(Console):
    """Prints no control character but its own: names come from services, files and strangers' runs."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or (segment.text.isprintable() and "://" not in segment.text):
                yield segment
            else:
                yield Segment(clean(mask_urls(segment.text)), segment.style)


console: Console = _CleanConsole(emoji=False, markup=False)
errors: Console = _CleanConsole(stderr=True, emoji=False, markup=False)


def say_aside(line: str) -> None:
    """On stderr, beside the output of a command that goes on."""
    errors.print(mask_text(line), soft_wrap=True, markup=False, highlight=False)


def say(line: str) -> None:
    console.print(mask_text(line), soft_wrap=True, markup=False)
