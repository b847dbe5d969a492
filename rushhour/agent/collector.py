"""Collects garbage when the harness requests it after the load; connections that come back were unreachable.

The harness puts a file named `collect` into the agent's directory; this process answers with
`<pid>.collected` and a record. Finalisers run SQLAlchemy's ROLLBACK, which a dead server never answers, so
it is done in a thread of its own. Not under gevent or eventlet: their locks must not be met in a foreign
thread.
"""

# pathlib would slow the start of every process of the service.
# ruff: noqa: PTH110, PTH118

from __future__ import annotations

import _thread
import gc
import os
from typing import TYPE_CHECKING

from .book import monotonic
from .green import replaces_threads
from .own_files import open_new

if TYPE_CHECKING:
    from . import records
    from .journal import Record

_start_thread = _thread.start_new_thread


LOOK_EVERY = 5  # ticks: a look is a system call


class Collector:
    """Checks for the file twice a second, and collects garbage once."""

    def __init__(self, directory: str) -> None:
        self._file = os.path.join(directory, "collect")
        self._directory = directory
        self._asked = False
        self._ticks = 0
        self._done: list[Record] = []

    def poll(self) -> list[Record]:
        """Return a record once the collection is over."""
        self._ticks += 1
        if not self._asked and self._ticks % LOOK_EVERY == 0 and os.path.exists(self._file):
            self._asked = True
            if not replaces_threads():
                _start_thread(self._collect, ())
        done = self._done[:]
        del self._done[: len(done)]  # the thread may add to it meanwhile
        return done

    def _collect(self) -> None:
        gc.collect()
        at = round(monotonic(), 6)
        collected: records.Collected = {"k": "collected", "t": at}
        self._done.append(collected)
        os.close(open_new(os.path.join(self._directory, f"{os.getpid()}.collected")))
