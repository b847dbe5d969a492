"""Shows the progress of slow steps: bars with a rate on a terminal, lines in a log."""

import time
from collections.abc import Callable
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

PLAIN_EVERY_S: Final = 5.0


class _Rate(ProgressColumn):
    """A column such as `1.2 M of 4.0 M rows  310,000 rows/s`, without the parts that are unknown."""

    def render(self, task: Task) -> Text:
        unit = str(task.fields.get("unit", ""))
        if not task.completed and task.total is None:
            return Text()
        words = amount(task.completed, task.total, unit)
        speed = task.finished_speed or task.speed
        if speed and unit:
            words += f"  {quantity(speed)} {unit}/s"
        return Text(words, style="dim")


class RichProgress:
    """A `stack.Progress` for a terminal; starting a step completes the step before."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            _Rate(),
            TimeElapsedColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._current: TaskID | None = None

    def __call__(self, step: str, done: float = 0, total: float | None = None, unit: str = "") -> None:
        if step not in self._tasks:
            self._progress.start()
            self._tasks[step] = self._progress.add_task(step, total=total, unit=unit)
        task = self._tasks[step]
        if task != self._current:
            self._complete()
            self._current = task
        if unit:
            self._progress.update(task, unit=unit)
        self._progress.update(task, completed=done, total=total)

    def close(self, complete: bool = False) -> None:
        """Stop drawing; `complete` marks the current step as completed. May be called twice."""
        if complete:
            self._complete()
        self._progress.stop()

    def _complete(self) -> None:
        for task in self._progress.tasks:
            if task.id == self._current:
                whole = task.total if task.total is not None else max(task.completed, 1)
                self._progress.update(task.id, total=whole, completed=whole)
        self._current = None


class PlainProgress:
    """A `stack.Progress` for a log: a line when a step starts, every `every_s` seconds, and at its end."""

    def __init__(
        self,
        console: Console,
        every_s: float = PLAIN_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._every_s = every_s
        self._clock = clock
        self._step: str | None = None
        self._began_s = 0.0
        self._written_s = 0.0
        self._done = False

    def __call__(self, step: str, done: float = 0, total: float | None = None, unit: str = "") -> None:
        now = self._clock()
        if step != self._step:
            self._step, self._began_s, self._written_s, self._done = step, now, now, False
            self._write(step)
        if total is not None and done >= total > 0:
            if not self._done:
                self._done = True
                took = f"{amount(done, total, unit)} in {now - self._began_s:.1f} s"
                self._write(f"  {took}{self._rate(done, unit, now)}")
        elif done and now - self._written_s >= self._every_s:
            self._written_s = now
            self._write(f"  {amount(done, total, unit)}{self._rate(done, unit, now)}")

    def close(self, complete: bool = False) -> None:
        """Do nothing; present because `RichProgress` has it."""

    def _write(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)

    def _rate(self, done: float, unit: str, now: float) -> str:
        took_s = now - self._began_s
        return f", {quantity(done / took_s)} {unit}/s" if unit and took_s > 0 else ""


def amount(done: float, total: float | None, unit: str) -> str:
    """Format how much is done: `1.2 M of 4.0 M rows`."""
    whole = f" of {quantity(total)}" if total is not None else ""
    return f"{quantity(done)}{whole} {unit}".rstrip()


def quantity(value: float) -> str:
    """Format a quantity: `950`, `31,200`, `1.6 M`."""
    return f"{value / 1e6:.1f} M" if value >= 1e6 else f"{value:,.0f}"
