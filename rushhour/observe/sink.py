"""Where the observers' threads put what they see: the run's files, and the live state."""

import threading
import time
from collections.abc import Iterable
from typing import Final

from rushhour.observe.live import Fact, LiveFold
from rushhour.observe.live_state import LiveState
from rushhour.rundir import Recorder
from rushhour.rundir import facts as f

_REPEAT_AFTER_S: Final = 30.0  # the same fault of the same observer is written once in this time
_ERROR_CHARACTERS: Final = 500


class Sink:
    """Writes and folds facts; safe to call from several threads.

    Events are written only: they come back through `events.jsonl`, as do those that others write there.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._lock = threading.Lock()  # of all below
        self._live = LiveFold()
        self._told: dict[str, tuple[str, float]] = {}  # observer -> its last fault, and when it was written
        self._closed = False
        self._unwritten: OSError | None = None

    def keep(self, facts: Iterable[Fact]) -> None:
        """Write facts, and take them into the live state; nothing once the sink is closed."""
        facts = list(facts)
        if not facts or self._closed:
            return
        self._recorder.write(facts)
        self.fold(fact for fact in facts if not isinstance(fact, f.Event))

    def fold(self, facts: Iterable[Fact]) -> None:
        """Take facts into the live state that stand in the run's files already."""
        with self._lock:
            self._live.feed(facts)

    def fault(self, observer: str, error: Exception) -> None:
        """Write that an observer failed."""
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"[:_ERROR_CHARACTERS]
        now_s = time.monotonic()
        with self._lock:
            last_text, last_s = self._told.get(observer, ("", 0.0))
            if self._closed or (text == last_text and now_s - last_s < _REPEAT_AFTER_S):
                return
            self._told[observer] = (text, now_s)
        detail = {"observer": observer, "error": text}
        event = f.Event(round(self._recorder.now_s(), 4), f.OBSERVER_FAULT, detail)
        try:
            self._recorder.write([event])
        except OSError as unwritten:  # no disk, say: then it shows in the live view, and at the end
            self._unwritten = unwritten
            self.fold([event])

    def state(self) -> LiveState:
        """What is known now."""
        with self._lock:
            return self._live.state(self._recorder.now_s())

    def close(self) -> OSError | None:
        """Take nothing more; what kept a fault from being written, if one could not be."""
        with self._lock:
            self._closed = True
        return self._unwritten
