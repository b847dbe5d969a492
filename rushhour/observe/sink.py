"""Takes facts from the observers' threads into the run's files and the live state."""

import threading
import time
from collections.abc import Iterable
from typing import Final

from rushhour.observe.live import Fact, LiveFold
from rushhour.observe.live_state import LiveState
from rushhour.rundir import Recorder
from rushhour.rundir import facts as f

_REPEAT_AFTER_S: Final = 30.0  # a fault that an observer repeats is written once in this time
_ERROR_CHARACTERS: Final = 500


class Sink:
    """Writes and folds facts; safe to call from several threads.

    Events are only written. The live state gets them from `events.jsonl`, to which other processes write too.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._lock = threading.Lock()  # guards all attributes below
        self._live = LiveFold()
        self._reported: dict[
            str, tuple[str, float]
        ] = {}  # observer -> its last fault, and when it was written
        self._closed = False
        self._unwritten: OSError | None = None

    def keep(self, facts: Iterable[Fact]) -> None:
        """Write facts, and add them to the live state; does nothing once the sink is closed."""
        facts = list(facts)
        if not facts or self._closed:
            return
        self._recorder.write(facts)
        self.fold(fact for fact in facts if not isinstance(fact, f.Event))

    def fold(self, facts: Iterable[Fact]) -> None:
        """Add facts to the live state that are already in the run's files."""
        with self._lock:
            self._live.feed(facts)

    def fault(self, observer: str, error: Exception) -> None:
        """Record that an observer failed."""
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"[:_ERROR_CHARACTERS]
        now_s = time.monotonic()
        with self._lock:
            last_text, last_s = self._reported.get(observer, ("", 0.0))
            if self._closed or (text == last_text and now_s - last_s < _REPEAT_AFTER_S):
                return
            self._reported[observer] = (text, now_s)
        detail = {"observer": observer, "error": text}
        event = f.Event(round(self._recorder.now_s(), 4), f.OBSERVER_FAULT, detail)
        try:
            self._recorder.write([event])
        except OSError as unwritten:  # a full disk, say: the live view shows it, and `close` returns it
            self._unwritten = unwritten
            self.fold([event])

    def state(self) -> LiveState:
        """Return the live state."""
        with self._lock:
            return self._live.state(self._recorder.now_s())

    def close(self) -> OSError | None:
        """Accept no more facts; return the error that kept a fault from being written, if any."""
        with self._lock:
            self._closed = True
        return self._unwritten
