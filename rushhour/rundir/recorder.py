"""Writes the facts of a run as it goes."""

import fcntl
import threading
import time
from collections.abc import Iterable
from typing import Any, TextIO

from rushhour.errors import RunDataError
from rushhour.rundir import facts as f
from rushhour.rundir.directory import RunDir
from rushhour.rundir.encoding import EVENTS, FILE_OF, encode
from rushhour.rundir.losses import NOTIFICATIONS
from rushhour.rundir.manifest import Ledger
from rushhour.rundir.reading import read_lines


class FactWriter:
    """Appends facts to the run's files; safe to call from several threads.

    Each line is flushed, so that a killed run keeps its facts, and a manifest records what was written.
    """

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self._files: dict[str, TextIO] = {}
        self._ledger = Ledger(run.path)
        self._lock = threading.Lock()

    def write(self, new: Iterable[object]) -> None:
        """Append each fact to the file of its kind."""
        by_file: dict[str, list[tuple[str, float | None]]] = {}
        requests = started = 0
        for fact in new:
            row = (encode(fact), getattr(fact, "t_s", None))
            by_file.setdefault(FILE_OF[type(fact)], []).append(row)
            if isinstance(fact, f.RequestCount):
                requests += fact.count
            elif isinstance(fact, f.GeneratorSample):
                started += fact.started
        with self._lock:
            for name, rows in by_file.items():
                if name not in self._files:
                    self._files[name] = self.run.file(name).open("a", encoding="utf-8")
                self._files[name].write("\n".join(line for line, _ in rows) + "\n")
                self._files[name].flush()
                self._ledger.add(name, rows)
            self._ledger.requests += requests
            self._ledger.started += started
            self._ledger.save()

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file atomically, and record its digest, so that later changes are detected."""
        with self._lock:
            self._ledger.add_whole(name, self.run.write_json(name, content).encode())
            self._ledger.save(now=True)

    def close(self) -> None:
        with self._lock:
            if self._files or self._ledger.whole:
                self._ledger.save(closed=True)
            for file in self._files.values():
                file.close()
            self._files.clear()


class Recorder(FactWriter):
    """The harness's writer: sets the run's anchor, to which every `t_s` refers, and writes events.

    The run counts as under way until the recorder is closed or its process ends.
    """

    def __init__(self, run: RunDir) -> None:
        super().__init__(run)
        self.anchor_monotonic_s = time.monotonic()
        self.anchor_wall_s = time.time()
        run.logs.mkdir(parents=True, exist_ok=True)
        run.agent.mkdir(parents=True, exist_ok=True)
        self.event(f.ANCHOR, wall_s=self.anchor_wall_s, monotonic_s=self.anchor_monotonic_s, manifest=True)
        fcntl.flock(self._files[EVENTS], fcntl.LOCK_SH)  # the kernel releases it, however this process ends

    def close(self) -> None:
        """Close the files; call it once the stack is down and the pager has written its last notification."""
        self._list_notifications()
        super().close()

    def _list_notifications(self) -> None:
        """List the pager's rows, because the pager runs in its own container and keeps no manifest."""
        try:
            lines = [line for _, line in read_lines(self.run.notifications)]
        except RunDataError:
            return  # not listed: reading the run reports what is wrong with the file
        with self._lock:
            self._ledger.set_rows(NOTIFICATIONS, lines)

    def now_s(self) -> float:
        """Return the seconds since the run's anchor."""
        return time.monotonic() - self.anchor_monotonic_s

    def event(self, name: str, **detail: Any) -> f.Event:
        """Write an event with the current time, and return it."""
        happened = f.Event(round(self.now_s(), 4), name, detail)
        self.write([happened])
        return happened
