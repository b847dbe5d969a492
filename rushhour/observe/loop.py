"""A thread that runs a step periodically, and reports when it fails."""

import math
import threading
import time
from collections.abc import Callable
from typing import Final

_MAX_PAUSE_S: Final = 30.0  # between attempts of a step that keeps failing


class Loop:
    """Runs `step` every `every_s` seconds until it is stopped, and then `finish` once.

    A tick during a step is skipped. A step that raises is reported to `on_fault` and tried again, first at
    the next tick, then after pauses that double up to 30 s.
    """

    def __init__(
        self,
        name: str,
        every_s: float,
        step: Callable[[], None],
        on_fault: Callable[[str, Exception], None],
        finish: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self.tried = threading.Event()  # the first step has been tried
        self._every_s = every_s
        self._step = step
        self._finish = finish
        self._on_fault = on_fault
        self._stop = threading.Event()
        self._pause_s = 0.0
        # Daemon: a thread that hangs in a system call must not keep the harness from exiting.
        self._thread = threading.Thread(target=self._run, name=f"rushhour-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end, without waiting for it."""
        self._stop.set()

    def ended_by(self, deadline_s: float) -> bool:
        """Wait for the thread until `deadline_s` on the monotonic clock; return whether it has ended."""
        self._thread.join(max(0.0, deadline_s - time.monotonic()))
        return not self._thread.is_alive()

    def _run(self) -> None:
        start_s = time.monotonic()
        while not self._stop.is_set():
            self._pause_s = 0.0 if self._attempt(self._step) else min(_MAX_PAUSE_S, 2 * self._pause_s + 1)
            self.tried.set()
            now_s = time.monotonic()
            self._stop.wait(next_tick_s(start_s, now_s + self._pause_s, self._every_s) - now_s)
        if self._finish is not None:
            self._attempt(self._finish)

    def _attempt(self, work: Callable[[], None]) -> bool:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - reported; an observer's fault must not end the run
            self._on_fault(self.name, error)
            return False
        return True


def next_tick_s(start_s: float, now_s: float, every_s: float) -> float:
    """Return the first of `start_s + n * every_s` that lies after `now_s`."""
    return start_s + every_s * (math.floor((now_s - start_s) / every_s) + 1)
