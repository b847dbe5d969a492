"""A load of hours does not keep Locust's counts of every second."""

import subprocess
import sys
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

from rushhour.load.old_seconds import KEPT_S, forget_old_seconds

# Runs apart, for Locust has gevent patch the process that imports it.
LOCUSTS = """
import time
from locust.stats import RequestStats
from rushhour.load.old_seconds import KEPT_S, forget_old_seconds

now = [1_000_000.0]
time.time = lambda: now[0]
stats = RequestStats()
for _ in range(10 * KEPT_S):
    now[0] += 1
    stats.log_request("GET", "/a", 7, 100)
    stats.log_error("GET", "/a", "refused")
entry = stats.entries["/a", "GET"]
shown = lambda: [
    (each.current_rps, each.current_fail_per_sec, each.total_rps, each.num_requests)
    for each in (entry, stats.total)
]
before = shown()
forget_old_seconds(stats)
assert shown() == before, (before, shown())
assert entry.current_rps == 1, entry.current_rps
assert len(entry.num_reqs_per_sec) == KEPT_S + 1, len(entry.num_reqs_per_sec)
"""


def entry(seconds: range) -> Any:
    return SimpleNamespace(
        num_reqs_per_sec=dict.fromkeys(seconds, 3),
        num_fail_per_sec=defaultdict(int, dict.fromkeys(seconds, 1)),
    )


def test_seconds_long_before_the_newest_of_an_entry_are_forgotten() -> None:
    early, late, none = entry(range(90)), entry(range(500, 600)), entry(range(0))
    forget_old_seconds(SimpleNamespace(entries={"early": early, "none": none}, total=late))  # type: ignore[arg-type]
    for each, newest in ((early, 89), (late, 599)):
        kept = list(range(newest - KEPT_S, newest + 1))
        assert list(each.num_reqs_per_sec) == list(each.num_fail_per_sec) == kept
    assert not none.num_reqs_per_sec


def test_what_locust_shows_stays_as_it_is() -> None:
    subprocess.run([sys.executable, "-c", LOCUSTS], check=True, timeout=60)
