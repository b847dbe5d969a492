"""What the pages show: the newest view, and the points of its run (pure)."""

from collections import deque
from dataclasses import asdict
from typing import Any, Final

from rushhour.jobs.webui.messages import Phase, View
from rushhour.jobs.webui.tables import point

POINTS_KEPT: Final = 7200  # two hours, one a second


BUSY: Final[tuple[Phase, ...]] = ("preparing", "running", "draining", "judging")


def shown_state(state: str, phase: Phase) -> str:
    """Locust's state as its page shall know it.

    The page asks for its tables only while the load spawns or runs. So it runs, to the page, from when the
    service is made ready until the run is judged: its last answer then holds the verdict, and the pools as
    the run left them.
    """
    if state in ("ready", "stopped") and phase in BUSY:
        return "spawning" if state == "ready" or phase == "preparing" else "running"
    return "running" if state in ("cleanup", "stopping") else state


def bar_of(view: View) -> dict[str, Any]:
    """Return what the bar under Locust's page shows: the phase, and the last run with its verdict."""
    return {"phase": view.phase, "words": view.words, "last": asdict(view.runs[0]) if view.runs else None}


class Board:
    """The newest view, and the points of the run that it shows."""

    def __init__(self) -> None:
        self.view = View("preparing", "starting")
        self._run = ""
        self._points: deque[dict[str, Any]] = deque(maxlen=POINTS_KEPT)
        self._dropped = 0  # points of this run that are no longer kept

    def show(self, view: View) -> None:
        """Take the newest view."""
        if view.run != self._run:
            self._run, self._dropped = view.run, 0
            self._points.clear()
        new = point(view)
        if new is not None:
            self._dropped += len(self._points) == POINTS_KEPT
            self._points.append(new)
        self.view = view

    def since(self, run: str, first: int) -> dict[str, Any]:
        """Return what a page shows that has the first so many points of a run."""
        fresh = run != self._run
        start = 0 if fresh else max(0, first - self._dropped)
        points = {"points": list(self._points)[start:], "next": self._dropped + len(self._points)}
        return asdict(self.view) | points | {"fresh": fresh}
