"""Work for one database on several connections at once; when one fails, all stop."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from threading import Event, Lock
from typing import Final

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812  # the library's class is in lower case

LANES: Final = 2  # one core makes and sends rows while another stores them
TICK_S: Final = 0.1

# Does its work in one transaction, which is committed when it returns; stops early once the event is set.
Job = Callable[[Connection, Event], None]


class Lanes:
    """Runs jobs on up to `LANES` connections, each with the given settings."""

    def __init__(self, dsn: str, settings: Sequence[str] = ()) -> None:
        self._dsn = dsn
        self._settings = settings
        self._stop = Event()
        self._lock = Lock()
        self._open: set[Connection] = set()

    def run(self, jobs: Sequence[Job], tick: Callable[[], None]) -> None:
        """Run them all, started in their order; `tick` is called ten times a second, by the calling thread.

        The first error of a job, or Ctrl-C, stops the others at once and is raised.
        """
        with ThreadPoolExecutor(LANES, thread_name_prefix="lane") as lanes:
            pending = {lanes.submit(self._one, job) for job in jobs}
            try:
                while pending:
                    ended, pending = wait(pending, TICK_S, FIRST_EXCEPTION)
                    tick()
                    for future in ended:
                        future.result()
            except BaseException:
                self._stop_all(lanes, pending)
                raise

    def _one(self, job: Job) -> None:
        with closing(psycopg2.connect(self._dsn)) as connection:
            with self._lock:
                self._open.add(connection)
            try:
                with connection.cursor() as cursor:
                    for setting in self._settings:
                        cursor.execute(setting)
                job(connection, self._stop)
                connection.commit()
            finally:
                with self._lock:
                    self._open.discard(connection)

    def _stop_all(self, lanes: ThreadPoolExecutor, pending: set[Future[None]]) -> None:
        """A job may be between two statements when it is told to stop, so it is told until it has."""
        self._stop.set()
        lanes.shutdown(wait=False, cancel_futures=True)
        while pending:
            with self._lock, suppress(psycopg2.Error):  # a connection that just ended needs no cancel
                for connection in self._open:
                    connection.cancel()
            _, pending = wait(pending, TICK_S)
