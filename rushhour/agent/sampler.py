"""The thread that writes ten samples a second, across forks and until the process exits.

A bare thread on bare locks, bound before gevent can patch them: it runs beside an event loop, not inside it.
It starts with the first pool, so processes without one stay single-threaded. It is stopped around a fork, for
forking a process with threads is a hazard that Python warns of. It takes no signals: one that ends the
service must reach the thread that waits for it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal's C half: without its enumerations it is there at once
import _thread
import os
import platform
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from . import records
from .arguments import without_secrets
from .book import Book, monotonic
from .collector import Collector
from .frames import collect_again
from .journal import Journal, NoJournal, say
from .marks import mapped
from .tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from .call_sites import Classifier
    from .exporter import Exporter

PERIOD_S = 0.1
PAUSE_DEADLINE_S = 0.2  # how long a fork waits for a write in progress
LAST_DEADLINE_S = 5.0  # the same of the last sample: without it, what was out at the end is not known
CUT_SHORT_S = 1.0  # the same where a process ends at once, whatever else it does
MAX_FAILED_TICKS = 50

_start_thread, _new_lock, _get_ident = _thread.start_new_thread, _thread.allocate_lock, _thread.get_ident


class _Run:
    """A run of the thread; `wake` is released to end it, `done` when it has ended."""

    def __init__(self) -> None:
        self.stopping = False
        self.wake, self.done = _new_lock(), _new_lock()
        self.wake.acquire()
        self.done.acquire()


class Sampler:
    """Writes what the book holds to the process's file until the process ends or the file fails."""

    def __init__(
        self,
        book: Book,
        classifier: Classifier,
        directory: str,
        give_up: Callable[[], None],
        *,
        exporter: Exporter | None = None,
        journal: bool = True,
    ) -> None:
        self._book = book
        self._classifier = classifier
        self._directory = directory
        self._give_up = give_up  # called once when nothing can be written any more
        self._exporter = exporter
        self._keeps_journal = journal
        self._run: _Run | None = None
        self._paused = self._off = self._forked = self.held_back = False
        self._start_over()

    def _start_over(self) -> None:
        self.pid = os.getpid()
        self._finisher: int | None = None  # the thread that writes the last sample
        self._journal: Journal | NoJournal | None = None
        self._tally = Tally(self._book, self._classifier)
        self._collector = Collector(self._directory)
        self._ticking = _new_lock()  # two lives may overlap for one tick
        self._starting = _new_lock()

    def announce(self) -> None:
        """Open the file and describe this process. Raises OSError if that fails."""
        self._journal = NoJournal()
        if self._keeps_journal:
            self._journal = Journal(self._directory, self.pid)
            with suppress(OSError):  # no memory can be mapped there: what a kill cuts off stays unknown
                self._book.set_mark(mapped(self._directory, self.pid))
        start: records.Start = {
            "k": "start",
            "v": records.VERSION,
            "t": round(monotonic(), 6),
            "pid": self.pid,
            "ppid": os.getppid(),
            "python": platform.python_version(),
            "argv": without_secrets(getattr(sys, "orig_argv", sys.argv)),
            "forked": self._forked,
        }
        self._journal.write([start])

    def report(self) -> None:
        """Write libraries and faults, which no sample contains if there is no pool."""
        if self._off:
            return
        if self._journal is None:
            self.announce()
        assert self._journal is not None  # noqa: S101  # for the type checker: `announce` made it
        self._journal.write(self._tally.known(monotonic()))

    def ensure_running(self) -> None:
        """Start the thread unless it runs; cheap, and safe to call from any of the service's threads."""
        if self._run is not None or self._off or self._paused or self.held_back:
            return
        if not self._starting.acquire(False):
            return
        try:
            if self._run is None:
                self._run = _Run()
                _start_thread(self._loop, (self._run,))
        finally:
            self._starting.release()

    def _loop(self, run: _Run) -> None:
        failed = 0
        try:
            _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
            due = monotonic()
            while not run.stopping and not self._off and failed < MAX_FAILED_TICKS:
                failed = 0 if self._tick() else failed + 1
                due = max(due + PERIOD_S, monotonic())  # late ticks are not made up for
                run.wake.acquire(True, max(0.0, due - monotonic()))
            if failed:
                self._switch_off(f"{failed} samples failed in a row")
        finally:
            run.done.release()

    def _tick(self, final: bool = False, *, cut_short: bool = False) -> bool:
        deadline_s = CUT_SHORT_S if cut_short else LAST_DEADLINE_S if final else PAUSE_DEADLINE_S
        if not self._ticking.acquire(True, deadline_s):
            return False
        try:
            if self._journal is None:
                self.announce()
            news = self._tally.tick(monotonic(), final, cut_short=cut_short)
            news += self._collector.poll()
            if final:
                last: records.Exit = {"k": "exit", "t": round(monotonic(), 6)}
                news.append(last)
            assert self._journal is not None  # noqa: S101  # for the type checker: `announce` made it
            self._journal.write(news)
            if self._exporter is not None:
                self._exporter.tick(final)
            return True
        except OSError as error:
            self._switch_off(str(error))
            return False
        except Exception as error:
            self._book.fault("sampling", error)
            return False
        finally:
            self._ticking.release()

    def _switch_off(self, reason: str) -> None:
        if not self._off:
            self._off = True
            say(f"process {os.getpid()} is no longer observed: {reason}")
            self._give_up()
            self._book.set_mark(bytearray(1))  # nobody would say what is taken from now on

    def hold_back(self) -> None:
        """Start no thread in this process before `release`."""
        self.held_back = True

    def release(self) -> None:
        """Allow the thread again, and start it if a pool was created meanwhile."""
        was_held_back, self.held_back = self.held_back, False
        if was_held_back and self._book.pools:
            self.ensure_running()

    def pause(self) -> None:
        """Stop the thread before a fork, if it ends soon."""
        self._paused = True
        run = self._run
        if run is not None:
            run.stopping = True
            run.wake.release()
            run.done.acquire(True, PAUSE_DEADLINE_S)

    def resume(self) -> None:
        """Start the thread again in the parent after a fork."""
        was_running, self._run, self._paused = self._run is not None, None, False
        if was_running:
            self.ensure_running()

    def resume_in_child(self) -> None:
        """After a fork, in the child: a file of its own, and nothing of the parent's check-outs."""
        was_running, self._run, self._paused, self._forked = self._run is not None, None, False, True
        collect_again()
        if self._journal is not None:
            self._journal.close()
        self._tally.close()
        self._start_over()
        self._book.start_over()
        if self._exporter is not None:
            self._exporter.start_over()
        self.release()
        if was_running:
            self.ensure_running()

    def finish(self, *, cut_short: bool = False) -> None:
        """Write the last sample at exit, if the process has had a pool.

        `cut_short`: by `os._exit`, which waits for no thread and lets nothing clean up.
        """
        if self._finisher == _get_ident():  # a signal's handler ends the process: it cannot wait for itself
            return
        self._finisher = _get_ident()
        try:
            self.pause()
            if self._run is not None and not self._off:
                self._tick(final=True, cut_short=cut_short)
            self._off = True
        finally:
            self._finisher = None


def ignore_errors(book: Book, where: str, action: Callable[[], None]) -> Callable[[], None]:
    """The action, with its errors counted as the agent's faults: for Python's own hooks."""

    def act() -> None:
        try:
            action()
        except Exception as error:
            book.fault(where, error)

    return act
