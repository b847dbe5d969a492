"""Makes the consoles that commands print on."""

import os
import sys
from collections.abc import Iterable, Iterator
from typing import Final

import rich.console
from rich.console import ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook
from rich.segment import Segment

from rushhour.process.printable import without_commands
from rushhour.report.console import Console

UNBOUNDED: Final = 1_000_000  # columns of what is no terminal: wider than any line


def make_console(*, stderr: bool = False) -> Console:
    """Return a console for stdout or stderr; where that is no terminal it wraps and cuts nothing.

    A log, a pipe or a file then holds each name in one piece, and no spaces at the end of a line.
    """
    stream = sys.stderr if stderr else sys.stdout
    terminal = stream is not None and stream.isatty()
    colours = not terminal and os.environ.get("FORCE_COLOR")
    console = Console(
        stderr=stderr,
        emoji=False,
        markup=False,
        width=None if terminal else UNBOUNDED,
        force_terminal=None if terminal else False,  # FORCE_COLOR asks for no view that is redrawn in a log
        color_system="standard" if colours else "auto",
    )
    if not terminal:
        console.push_render_hook(_TrailingSpaceRemoved())
    return console


class _TrailingSpaceRemoved(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Trimmed(renderable) for renderable in renderables]


class _Trimmed:
    """Renders something without the spaces that fill its lines up, and without commands to a runner."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: rich.console.Console, options: ConsoleOptions) -> Iterator[Segment]:
        for line in console.render_lines(self._inner, options, pad=False):
            kept = _without_trailing_space(line)
            text = "".join(segment.text for segment in kept)
            bar = without_commands(text).removesuffix(text)
            yield from [Segment(bar), *kept] if bar else kept
            yield Segment.line()


def _without_trailing_space(line: Iterable[Segment]) -> list[Segment]:
    kept = list(line)
    while kept and not kept[-1].text.rstrip(" "):
        kept.pop()
    if kept:
        text, style, control = kept[-1]
        kept[-1] = Segment(text.rstrip(" "), style, control)
    return kept
