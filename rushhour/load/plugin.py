"""The plugin that Locust loads: `locust -f LOCUSTFILE,rushhour/load/plugin.py`.

It sets the number of customers (the shape) and records every request into the run directory
`RUSHHOUR_RUN_DIR`. A shape in the locustfile takes precedence: Locust uses the first that it finds.
"""

# Locust's events and user classes carry no types.
# mypy: allow-untyped-calls, allow-untyped-decorators

import functools
import gc
import inspect
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final

import geventhttpclient.client
from locust import LoadTestShape, User, events
from locust.argument_parser import LocustArgumentParser
from locust.clients import HttpSession
from locust.contrib.fasthttp import FastHttpSession
from locust.env import Environment
from locust.runners import MasterRunner, Runner, WorkerRunner
from locust.user.task import LOCUST_STATE_STOPPING, LOCUST_STATE_WAITING

from rushhour.load.client import install
from rushhour.load.due import LATE_MS, LEAST_MS, count_due, note_ends_of_waits, take_late_ms
from rushhour.load.joining import accept
from rushhour.load.machine import raise_open_files
from rushhour.load.names import (
    ANCHOR_WALL_S,
    ARRIVALS,
    CHANNEL,
    DURATION_S,
    PROCESSES,
    RUN_DIR,
    SEED,
    SHAPE,
    WARM_UP_S,
)
from rushhour.load.recorder import Clock, Tally
from rushhour.load.recording import Counter, Worker
from rushhour.load.spawning import count_at_once, start_in_slices
from rushhour.load.visitors import Visitors
from rushhour.load.writing import Writer
from rushhour.rundir import FactWriter, RunDir
from rushhour.scenario.shapes import SHAPES, step_towards, users_at

CONTEXT_AT: Final = 5  # the fewest positional arguments of a request that may hold its context

# Collections of the middle generation before a full one. That looks at every customer: a tenth of a second
# with ten thousand. With Python's own value there would be ten of them while those customers are started.
FULL_COLLECTION_AFTER: Final = 100


@events.init_command_line_parser.add_listener
def add_arguments(parser: LocustArgumentParser) -> None:
    """Add the options of the shape; it also reads `--users` (peak) and `--spawn-rate` (most change per s)."""
    group = parser.add_argument_group("rushhour", "The shape of the load")
    group.add_argument("--load-shape", choices=SHAPES, default="steady", env_var=SHAPE)
    group.add_argument("--load-duration", type=float, default=60.0, env_var=DURATION_S, metavar="SECONDS")
    group.add_argument(
        "--load-arrivals",
        default="",
        env_var=ARRIVALS,
        metavar="SECONDS:PER_SECOND,...",
        help="instead of users",
    )
    group.add_argument("--load-processes", type=int, default=1, env_var=PROCESSES, metavar="N")
    group.add_argument("--load-seed", type=int, default=1, env_var=SEED, metavar="N")


class Shape(LoadTestShape):
    """Sets the number of customers once a second; those of open arrivals are started by `Visitors`."""

    use_common_options: ClassVar[bool] = True
    finished = False

    def __init__(self) -> None:
        super().__init__()
        self._users = 0
        self._ticked_s = -1.0

    def reset_time(self) -> None:
        super().reset_time()
        self.finished, self._users, self._ticked_s = False, 0, -1.0

    def begin(self) -> None:
        """Start the load's time now: before it, Locust set up users and waited for workers to join."""
        self.start_time, self._ticked_s = time.perf_counter(), 0.0

    def tick(self) -> tuple[int, float] | None:
        assert self.runner is not None  # noqa: S101  # Locust sets it before the first tick
        options: Any = self.runner.environment.parsed_options
        t_s = self.get_run_time()
        if t_s >= options.load_duration:
            self.finished = True
            return None
        if options.load_arrivals:
            return 0, 1.0
        wanted = users_at(options.load_shape, t_s, options.num_users or 1, options.load_duration)
        rate = options.spawn_rate or 1.0
        # At most what Locust can do until the next tick: a master blocks, and ignores the shape, until it
        # has reached the requested number.
        self._users = step_towards(self._users, wanted, rate * (t_s - self._ticked_s))
        self._ticked_s = t_s
        return self._users, rate


@events.init.add_listener
def start_recording(environment: Environment, runner: Runner, **_: Any) -> None:
    """Start the recorder for this process's role.

    A run directory that is not named, or that cannot be made, raises and so ends Locust.
    """
    gc.collect()
    gc.freeze()  # else each full collection scans every module again and delays requests
    gc.set_threshold(*gc.get_threshold()[:2], FULL_COLLECTION_AFTER)
    if CHANNEL in os.environ:
        return  # the Locust of `rushhour ui`, which records its own runs
    inspect.stack()  # Locust calls it when a test ends; the first call would block requests for 0.3 s
    clock = Clock.since(float(os.environ.get(ANCHOR_WALL_S) or time.time()))
    if isinstance(runner, WorkerRunner):
        tally = Tally(clock, f"worker-{runner.worker_index}", time.process_time)
        count_started(tally)
        start_in_slices(runner)
        accept(runner, tally)
        Worker(environment, runner, tally)
        Visitors(environment, runner, tally)
        return
    if not os.environ.get(RUN_DIR):
        raise RuntimeError(f"set {RUN_DIR} to the directory that the recorder shall write to")
    run = RunDir(Path(os.environ[RUN_DIR]))
    run.path.mkdir(parents=True, exist_ok=True)  # Locust may have been started by somebody else than rushhour
    files = FactWriter(run)
    writer = Writer(environment, runner, files, clock, float(os.environ.get(WARM_UP_S) or 0))
    if isinstance(environment.shape_class, Shape):  # after the writer, which notes the start of the load
        environment.events.test_start.add_listener(lambda **_: environment.shape_class.begin())
    if not isinstance(runner, MasterRunner):
        tally = Tally(clock, "local", time.process_time)
        count_started(tally)
        start_in_slices(runner)
        counter = Counter(runner, tally, writer.take)
        environment.events.request.add_listener(counter.on_request)
        environment.events.user_error.add_listener(counter.on_user_error)
        environment.events.test_start.add_listener(lambda **_: counter.begin())
        environment.events.test_stop.add_listener(lambda **_: counter.end())
        Visitors(environment, runner, tally)


def count_started(tally: Tally) -> None:
    """Count requests when they are due and when they are sent: Locust reports only those that ended."""
    count_due(tally)
    FastHttpSession.request = counted(FastHttpSession.request, tally)  # type: ignore[method-assign]
    HttpSession.request = counted(HttpSession.request, tally)  # type: ignore[method-assign]


def counted(request: Callable[..., Any], tally: Tally) -> Callable[..., Any]:
    """Wrap `request` so that it is counted. A locustfile marks a retry with `context={"retry": n}`.

    A request that is sent later than due carries its lateness in the same context.
    """

    @functools.wraps(request)
    def count_and_send(session: Any, *args: Any, **kwargs: Any) -> Any:
        tally.started += 1
        if "context" in kwargs and kwargs["context"].get("retry"):
            tally.retries += 1
        if session.user is not None and (late_ms := take_late_ms(session.user)) is not None:
            tally.sent_late(late_ms)
            if late_ms >= LEAST_MS and len(args) < CONTEXT_AT:
                kwargs["context"] = {**kwargs.get("context", {}), LATE_MS: late_ms}
        return request(session, *args, **kwargs)

    return count_and_send


def forbid_hidden_resends() -> None:
    """Send each request of a customer exactly once.

    If the server closes the connection without an answer, geventhttpclient silently sends a GET again, up to
    twelve times with Locust's settings. That would hide failures and multiply the load.
    """
    if not hasattr(geventhttpclient.client, "_may_retry_after_send_error"):
        raise RuntimeError(
            "this release of geventhttpclient resends requests in a way rushhour does not know"
        )

    def never(method: str) -> bool:  # noqa: ARG001  # called with it
        return False

    geventhttpclient.client._may_retry_after_send_error = never


def stop_without_a_last_request() -> None:
    """Keep a customer that is stopped while it waits from sending another request.

    Locust checks that a customer waits, and kills it a moment later. If the wait ends in between, the
    customer is killed during a request that reached the server and is reported nowhere.
    """
    original = User.stop

    def stop(self: User, force: bool = False) -> bool:
        if self._state == LOCUST_STATE_WAITING:
            self._state = LOCUST_STATE_STOPPING  # the wait's end looks for this
            force = True
        return bool(original(self, force))

    User.stop = stop  # type: ignore[method-assign]


forbid_hidden_resends()
note_ends_of_waits()
raise_open_files()
install()
count_at_once()
stop_without_a_last_request()
