"""Decides how late a load generator was beyond what a burst of its customers explains (pure).

A push notification makes thousands of requests due at once, and a core sends them one after another: the
last of them goes out as late as it takes to send them all. That is the load that was asked for. A generator
that is late without a burst, or later than the burst takes, fell behind.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final

from rushhour.rundir import facts as f

BURST: Final = 2.0  # times what is due in an ordinary second
AROUND_S: Final = 5  # seconds before and after one that show what is ordinary: a longer peak is no burst
MOST_EXPLAINED_MS: Final = 2000.0


@dataclass(frozen=True, slots=True)
class Lateness:
    """How late the timers of a Locust process fired in a second, less what a burst explains."""

    p99_ms: float
    max_ms: float
    explained_ms: float  # of each; 0: no burst


def unexplained(samples: Iterable[f.GeneratorSample]) -> Mapping[tuple[str, int], Lateness]:
    """Return the lateness by process and second, as far as no burst explains it."""
    by_worker: dict[str, dict[int, f.GeneratorSample]] = defaultdict(dict)
    for sample in samples:
        by_worker[sample.worker][sample.t_s] = sample
    return {
        (worker, t_s): _less(sample, _explained_ms(seconds, t_s))
        for worker, seconds in by_worker.items()
        for t_s, sample in seconds.items()
    }


def _less(sample: f.GeneratorSample, explained_ms: float) -> Lateness:
    return Lateness(
        max(0.0, sample.lateness_p99_ms - explained_ms),
        max(0.0, sample.lateness_max_ms - explained_ms),
        explained_ms,
    )


def _explained_ms(seconds: Mapping[int, f.GeneratorSample], t_s: int) -> float:
    """Return how long one core takes to send the burst of this second and of the one before."""
    burst = [seconds[t] for t in (t_s - 1, t_s) if t in seconds]
    surplus = sum(_surplus(seconds, sample) for sample in burst)
    sent, cpu_s = sum(sample.started for sample in burst), sum(sample.cpu_cores for sample in burst)
    return min(MOST_EXPLAINED_MS, 1000 * surplus * cpu_s / sent) if sent else 0.0


def _surplus(seconds: Mapping[int, f.GeneratorSample], sample: f.GeneratorSample) -> float:
    """Return how many more requests were due than in the seconds around; 0 if that is no burst."""
    around = range(sample.t_s - AROUND_S, sample.t_s + AROUND_S + 1)
    ordinary = median([seconds[t].due for t in around if t in seconds])
    return sample.due - ordinary if sample.due >= BURST * ordinary else 0.0
