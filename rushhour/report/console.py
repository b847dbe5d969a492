"""The console that every command prints to."""

from collections.abc import Iterable
from typing import Any

import rich.console
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

from rushhour.process.printable import clean
from rushhour.rundir.masking import mask_urls


class Console(rich.console.Console):
    """Prints no control character but its own: names come from services, files and strangers' runs."""

    def print(self, *objects: Any, **given: Any) -> None:
        """Print as rich does; a text loses its passwords before colours cut it into pieces."""
        super().print(*(mask_urls(text) if isinstance(text, str) else text for text in objects), **given)

    def on_broken_pipe(self) -> None:
        """Raise the BrokenPipeError; rich itself would exit with 1, which is a verdict here."""
        self.quiet = True
        raise BrokenPipeError

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or (segment.text.isprintable() and "://" not in segment.text):
                yield segment
            else:
                yield Segment(clean(mask_urls(segment.text)), segment.style)
