"""A day of one-second data through every shipped policy."""

import time
from pathlib import Path
from typing import Final

from benchmarks.harness import ROOT
from benchmarks.interval import median_of
from benchmarks.table import Row
from rushhour.alarms.policies import load_policies
from rushhour.alarms.study import Scale, study
from rushhour.alarms.timeline import METRICS, Timeline

NAME: Final = "alarms: a day of seconds"
BOUND_S: Final = 2.0
DAY_S: Final = 86_400
ROUNDS: Final = 9


def run() -> list[Row]:
    """The median of nine; failures come and go, so that alarms flap, and changes are looked for too."""
    series: dict[str, tuple[float | None, ...]] = dict.fromkeys(METRICS, (0.0,) * DAY_S)
    series["requests"] = (20.0,) * DAY_S
    failing = tuple(float(t_s % 12 == 0 and t_s // 1800 % 2) for t_s in range(DAY_S))
    series |= {"http_5xx": failing, "queuepool_timeouts": failing}
    timeline = Timeline(series, ("a day",))
    policies = load_policies([Path(ROOT) / "infra/alerts"])
    taken_s = []
    for _ in range(ROUNDS):
        began_s = time.monotonic()
        study(policies, timeline, Scale(None))
        taken_s.append(time.monotonic() - began_s)
    return [median_of(taken_s).in_seconds(f"{NAME}, {len(policies)} policies", most_s=BOUND_S)]
