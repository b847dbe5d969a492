"""The shipped customers, and a probe that measures the Locust process that they run in.

The probe is the same with and without the plugin. At the end of the test it writes JSON to the file that
WATCH_FILE names. Without the plugin this file also brings the rush-hour shape, as a user of stock Locust
would write it.
"""

# Locust's events and user classes carry no types.
# mypy: allow-untyped-calls, allow-untyped-decorators

import json
import os
import time
from pathlib import Path
from typing import Any, ClassVar

import gevent
import psutil
from locust import LoadTestShape, events

from locustfiles.referrals import Customer
from rushhour.load import names
from rushhour.load.recorder import TICK_S, overdue_ms
from rushhour.scenario.shapes import step_towards, users_at

__all__ = ["Customer"]

if names.RUN_DIR not in os.environ:

    class RushHour(LoadTestShape):
        """Rush hour, followed at most as fast as the spawn rate allows."""

        use_common_options: ClassVar[bool] = True

        def tick(self) -> tuple[int, float] | None:
            assert self.runner is not None
            options: Any = self.runner.environment.parsed_options
            duration_s = float(os.environ[names.DURATION_S])
            if self.get_run_time() >= duration_s:
                return None
            wanted = users_at("rush-hour", self.get_run_time(), options.num_users, duration_s)
            return step_towards(self.get_current_user_count(), wanted, options.spawn_rate), options.spawn_rate


@events.init.add_listener
def watch(environment: Any, runner: Any, **_: Any) -> None:
    """Start to measure when the test starts; write what was measured when Locust quits."""
    process = psutil.Process()
    late_ms: list[tuple[float, float]] = []  # (seconds into the test, ms)
    seconds: list[tuple[float, float, int, int, int]] = []  # (t_s, cpu_s, rss, customers, requests)
    idle_rss = process.memory_info().rss

    def tick(started_s: float) -> None:
        planned_s = time.monotonic() + TICK_S
        while True:
            gevent.sleep(max(0.0, planned_s - time.monotonic()))
            late, planned_s = overdue_ms(planned_s, time.monotonic())
            late_ms.extend((planned_s - started_s, round(one_ms, 2)) for one_ms in late)

    def look(started_s: float) -> None:
        while True:
            rss = process.memory_info().rss
            t_s, count = time.monotonic() - started_s, runner.stats.total.num_requests
            seconds.append((t_s, time.process_time(), rss, runner.user_count, count))
            gevent.sleep(1.0)

    def start(**_: Any) -> None:
        started_s = time.monotonic()
        gevent.spawn(tick, started_s)
        gevent.spawn(look, started_s)

    def write(**_: Any) -> None:
        failed = runner.stats.total.num_failures
        measured = {"idle_rss": idle_rss, "late_ms": late_ms, "seconds": seconds, "failed": failed}
        Path(os.environ["WATCH_FILE"]).write_text(json.dumps(measured))

    environment.events.test_start.add_listener(start)
    environment.events.test_stopping.add_listener(write)
