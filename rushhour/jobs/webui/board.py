"""What the pages show: the newest view, and the points of its run (pure)."""

from collections import deque
from dataclasses import asdict
from typing import Any, Final

from rushhour.jobs.webui.messages import Phase, View
from rushhour.jobs.webui.tables import point

POINTS_KEPT: Final = 7200  # two hours, one a second


def shown_state(state: str, phase: Phase) -> str:
    """Locust's state as its page shall know it.

    The page asks again only while the load spawns or runs. Told of the moments before the first customer, or
    of those in which the last requests are awaited, it would never learn what comes next.
    """
    if state in ("cleanup", "stopping"):
        return "running"
    return "spawning" if state == "ready" and phase in ("preparing", "running") else state


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
        """What a page shows that has the first so many points of a run."""
        fresh = run != self._run
        start = 0 if fresh else max(0, first - self._dropped)
        points = {"points": list(self._points)[start:], "next": self._dropped + len(self._points)}
        return asdict(self.view) | points | {"fresh": fresh}
