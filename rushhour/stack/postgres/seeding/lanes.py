"""Work for one database on several connections at once; when one fails, all stop."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from dataclasses import dataclass
from threading import Event, Lock
from typing import Final

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812  # the library's class is in lower case

LANES: Final = 3  # two cores stay busy while a lane waits for its client or for a lock
TICK_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Job:
    """One transaction; `work` returns for it to be committed, early once the event is set."""

    name: str
    work: Callable[[Connection, Event], None]
    after: frozenset[str] = frozenset()  # names of the jobs that must have been committed before
    alone: bool = (
        False  # of the jobs that say so one runs at a time, since they would wait for each other's locks
    )


class Lanes:
    """Runs jobs on up to `LANES` connections, each with the given settings."""

    def __init__(self, dsn: str, settings: Sequence[str] = ()) -> None:
        self._dsn = dsn
        self._settings = settings
        self._stop = Event()
        self._lock = Lock()
        self._open: set[Connection] = set()

    def run(self, jobs: Sequence[Job], tick: Callable[[], None]) -> None:
        """Run them all, in their order as far as may be; the calling thread calls `tick` ten times a second.

        The first error of a job, or Ctrl-C, stops the others at once and is raised.
        """
        waiting = list(jobs)
        assert all(job.after <= {other.name for other in jobs} for job in jobs)  # noqa: S101  # else never started
        done: set[str] = set()
        running: dict[Future[None], Job] = {}
        with ThreadPoolExecutor(LANES, thread_name_prefix="lane") as lanes:
            try:
                while waiting or running:
                    for job in _ready(waiting, done, running.values()):
                        waiting.remove(job)
                        running[lanes.submit(self._run_job, job)] = job
                    ended, _ = wait(running, TICK_S, FIRST_COMPLETED)
                    tick()
                    for future in ended:
                        future.result()
                        done.add(running.pop(future).name)
            except BaseException:
                self._stop_all(set(running))
                raise

    def _run_job(self, job: Job) -> None:
        with closing(psycopg2.connect(self._dsn)) as connection:
            with self._lock:
                self._open.add(connection)
            try:
                with connection.cursor() as cursor:
                    for setting in self._settings:
                        cursor.execute(setting)
                job.work(connection, self._stop)
                connection.commit()
            finally:
                with self._lock:
                    self._open.discard(connection)

    def _stop_all(self, running: set[Future[None]]) -> None:
        """Cancel until every job has stopped, since a job may be between two statements."""
        self._stop.set()
        while running:
            with self._lock, suppress(psycopg2.Error):  # a connection that just ended needs no cancel
                for connection in self._open:
                    connection.cancel()
            _, running = wait(running, TICK_S)


def _ready(waiting: Sequence[Job], done: set[str], running: Iterable[Job]) -> list[Job]:
    """List those that may start now."""
    taken = list(running)
    started = []
    for job in waiting:
        if (
            len(taken) < LANES
            and job.after <= done
            and not (job.alone and any(running.alone for running in taken))
        ):
            taken.append(job)
            started.append(job)
    return started
