"""The screen of a run: a live view on a terminal, a line now and then elsewhere (CI logs)."""

import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live

from rushhour.live import LiveState
from rushhour.report.progress import PlainProgress, RichProgress
from rushhour.report.terminal import plain_line, render_live
from rushhour.run import Screen
from rushhour.scenario import Scenario

PLAIN_EVERY_S = 5.0


def make_screen(console: Console, scenario: Scenario) -> Screen:
    """A screen that suits the console; `done` leaves it as it was found, and may be called twice."""
    return _terminal(console, scenario) if console.is_terminal else _plain(console, scenario)


def _terminal(console: Console, scenario: Scenario) -> Screen:
    progress = RichProgress(console)
    view = Live(console=console, auto_refresh=False, transient=True)

    def live(state: LiveState) -> None:
        progress.close()
        if not view.is_started:
            view.start()
        view.update(render_live(state, scenario), refresh=True)

    def done() -> None:
        progress.close()
        view.stop()

    return Screen(progress, live, done)


def _plain(console: Console, scenario: Scenario) -> Screen:
    progress = PlainProgress(console)
    return Screen(
        progress,
        _every(PLAIN_EVERY_S, lambda state: console.print(plain_line(state, scenario))),
        progress.close,
    )


def _every(seconds: float, show: Callable[[LiveState], None]) -> Callable[[LiveState], None]:
    last_s = -seconds

    def maybe(state: LiveState) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if now_s - last_s >= seconds:
            last_s = now_s
            show(state)

    return maybe
