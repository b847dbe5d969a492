"""Shows how far the reading of logs is: lines, lines a second, time left."""

import time
from collections.abc import Callable
from typing import Final

from rich.console import Console
from rich.text import Text

from rushhour.jobs.traffic.record import Progress
from rushhour.screen.progress import quantity

TERMINAL_EVERY_S: Final = 0.2
LOG_EVERY_S: Final = 5.0


class ReadingProgress:
    """A line that is drawn anew on a terminal, or a line every five seconds in a log."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._every_s = TERMINAL_EVERY_S if console.is_terminal else LOG_EVERY_S
        self._shown_s = clock()
        self._drawn = False

    def __call__(self, progress: Progress) -> None:
        now_s = self._clock()
        if now_s - self._shown_s < self._every_s:
            return
        self._shown_s = now_s
        end = "\r" if self._console.is_terminal else "\n"
        self._console.print(Text(f"{in_words(progress):<78}"), end=end, soft_wrap=True)
        self._drawn = self._console.is_terminal

    def done(self) -> None:
        """Clear the line."""
        if self._drawn:
            self._console.print(" " * 78, end="\r")
            self._drawn = False


def in_words(progress: Progress) -> str:
    """Format a progress: `reading: 1.2 M lines, 410,000 lines/s, 35 % done, 12 s left`."""
    words = f"reading: {quantity(progress.lines)} lines, {quantity(progress.lines_per_second)} lines/s"
    if progress.bytes_total:
        words += f", {min(progress.bytes_done / progress.bytes_total, 1):.0%} done"
    if progress.left_s is not None:
        words += f", {_span(progress.left_s)} left"
    return words


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
