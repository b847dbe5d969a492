"""Hand-written runs for tests of the model: a service whose demand is known."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.scenario.model import Scenario
from tests.unit import histories
from tests.unit.histories import LIST, PID, SITE, STARTED_S, SUMMARY, Level, Story
from tests.unit.saved_runs import ENVIRONMENT


def scenario(**changes: Any) -> Scenario:
    """`gate` of release 1.1.1, whose command says the number of threads."""
    plain: dict[str, Any] = {
        "release": "1.1.1",
        "target": {
            "name": "referrals",
            "command": "gunicorn --bind {host}:{port} --threads {threads}",
            "health": "/health",
            "releases": ("1.0", "1.1", "1.1.1"),
        },
        "load": {"users": 100, "duration": 40.0, "warm_up": 5.0},
        "service": {"threads": 64},
    }
    return histories.scenario(**plain | changes)


def measured(
    *,
    per_s: int = 40,
    hold_us: Mapping[int, int] | None = None,
    hold_s: float = 0.1,
    users: int = 100,
    seconds: int = 40,
    replica_cores: float = 0.1,
    service_cores: float = 0.2,
    site_histograms: bool = True,
    waiting: Mapping[int, int] | None = None,
    pids: tuple[int, ...] = (PID,),
) -> History:
    """A steady run: `per_s` lists a second, each with a connection of the replica for `hold_s` on average.

    And as many summaries, which ask for no connection. Both take 20 ms more than the hold, and 20 ms.
    """
    story = Story(duration_s=seconds, users=users)
    story.requests(LIST, per_s, 1000 * hold_s + 20)
    story.requests(SUMMARY, per_s, 20)
    buckets = hold_us or {1 << (int(hold_s * 1e6)).bit_length(): 1}
    scale = per_s / sum(buckets.values())
    each = {bound: round(count * scale) for bound, count in buckets.items()}
    for pid in pids:
        share = 1 / len(pids)
        story.pool("replica", lambda t: Level(out=_out(t, per_s * hold_s) if t < seconds else 0), pid=pid)
        for second in range(1, seconds + 1):
            at_s = STARTED_S + second + 0.2
            story.add(
                "sites",
                f.SiteTotal(
                    at_s,
                    pid,
                    "replica",
                    SITE,
                    LIST,
                    checkouts=int(share * per_s * second),
                    held_s=share * per_s * second * hold_s,
                    max_hold_s=4 * hold_s,
                    hold_us=each if site_histograms else {},
                ),
            )
            story.add(
                "times", f.PoolTimes(at_s, pid, "replica", hold_us=each, wait_us=dict(waiting or {1: per_s}))
            )
    story.cpu("replica", replica_cores, limit_cores=0.5)
    story.cpu("service", service_cores)
    story.server("replica", {"active": 3}, range(seconds), max_connections=100)
    return dataclasses.replace(story.history(), environment=ENVIRONMENT)


def _out(t: float, mean: float) -> int:
    """Connections out at a moment, so many on average (Little's law)."""
    return int(mean) + (round(t * 10) % 10 < 10 * (mean % 1))
