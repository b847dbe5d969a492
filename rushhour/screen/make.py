"""Makes the screen of a run: a live view on a terminal, lines in a log."""

from rich.console import Console
from rich.live import Live

from rushhour.observe.live_state import LiveState
from rushhour.run import Screen
from rushhour.scenario.model import Scenario
from rushhour.screen.live_view import PlainLive, render_live
from rushhour.screen.progress import PlainProgress, RichProgress


def make_screen(console: Console, scenario: Scenario) -> Screen:
    """Make a screen that suits the console; its `done` restores the terminal, and may be called twice."""
    if not console.is_terminal:
        plain = PlainProgress(console)
        return Screen(
            plain,
            PlainLive(scenario, lambda line: console.print(line, markup=False, soft_wrap=True)),
            plain.close,
        )
    progress = RichProgress(console)
    view = Live(console=console, auto_refresh=False, transient=True)

    def live(state: LiveState) -> None:
        progress.close(complete=True)
        if not view.is_started:
            view.start()
        view.update(render_live(state, scenario), refresh=True)

    def done() -> None:
        progress.close()
        view.stop()

    return Screen(progress, live, done)
