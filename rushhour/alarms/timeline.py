"""What alarms see of a run or an incident: counts by the second, stretched or tiled to an evening (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Final, Literal, get_args

Metric = Literal["requests", "http_5xx", "queuepool_timeouts", "pool_waiters", "pool_in_use"]
METRICS: Final = get_args(Metric)
COUNTS: Final = ("requests", "http_5xx", "queuepool_timeouts")  # the others are gauges


@dataclass(frozen=True, slots=True)
class Timeline:
    """One value per metric and second. `pool_in_use` is a share of the capacity, 0 to 1.

    None stands for a second of which nothing is known; `words` say where it is from and what was done to it.
    `starts_at` is when second 0 was (epoch seconds), where that is known. `otherwise` is what may as well
    have been, where the figures say too little (`coarse` says why): what differs in it is unknown.
    """

    series: dict[str, tuple[float | None, ...]]
    words: tuple[str, ...]
    starts_at: float | None = None
    otherwise: "Timeline | None" = None
    coarse: str = ""

    @property
    def seconds(self) -> int:
        return len(self.series["requests"])

    @property
    def failures(self) -> tuple[float | None, ...]:
        return self.series["http_5xx"]

    def lacks(self, metric: str) -> bool:
        """Return whether nothing at all is known of a metric."""
        return all(value is None for value in self.series[metric])

    def total(self, metric: str) -> float:
        return sum(value or 0 for value in self.series[metric])

    def span(self) -> tuple[int, int] | None:
        """Return the first and the last second with a failure; None when there was none."""
        failing = [t_s for t_s, value in enumerate(self.failures) if value]
        return (failing[0], failing[-1]) if failing else None


def stretched(timeline: Timeline, seconds: int) -> Timeline:
    """Return the same counts over `seconds`: what happened in a minute takes an evening, and is no more.

    A count falls whole into the second that its own is moved to; a gauge holds until the next one.
    """
    factor = seconds / max(1, timeline.seconds)
    series: dict[str, tuple[float | None, ...]] = {}
    for name, values in timeline.series.items():
        if name in COUNTS:
            counts = [0.0] * seconds
            for t_s, value in enumerate(values):
                counts[min(seconds - 1, int(t_s * factor))] += value or 0
            series[name] = tuple(counts)
        else:
            series[name] = tuple(
                values[min(timeline.seconds - 1, int(t_s / factor))] for t_s in range(seconds)
            )
    return replace(
        timeline,
        series=series,
        words=(
            *timeline.words,
            f"stretched {factor:.0f} times, to {spoken(seconds)}: rates are lower than measured",
        ),
    )


def tiled(timeline: Timeline, seconds: int, failures: float, per_s: float) -> Timeline:
    """Return the failing part again and again for `seconds`, at `failures` in every `per_s` seconds.

    Failures keep their pattern and are thinned out or made more to that rate, whole ones only; requests, pool
    time-outs (by their share of the failures) and gauges repeat. Without a failure all repeats as it was.
    """
    span = timeline.span()
    first, last = span if span else (0, timeline.seconds - 1)
    length = max(1, last - first + 1)
    series: dict[str, tuple[float | None, ...]] = {}
    for name, values in timeline.series.items():
        tile = values[first : first + length]
        series[name] = tuple(tile[t_s % length] for t_s in range(seconds))
    words = f"its {'failing part' if span else 'load'} of {length} s repeated for {spoken(seconds)}"
    if span:
        pattern = list(accumulate(value or 0 for value in timeline.failures[first : first + length]))
        wanted = failures / per_s * length  # in one tile
        due = [
            (t_s // length) * wanted + wanted * pattern[t_s % length] / pattern[-1] for t_s in range(seconds)
        ]
        whole = [int(item + 1e-9) for item in due]
        series["http_5xx"] = tuple(
            float(now - before) for before, now in zip([0, *whole], whole, strict=False)
        )
        share = timeline.total("queuepool_timeouts") / timeline.total("http_5xx")
        of_pool = [int(item * share + 1e-9) for item in whole]
        series["queuepool_timeouts"] = tuple(
            float(now - before) for before, now in zip([0, *of_pool], of_pool, strict=False)
        )
        words += f", at {failures:g} failures in {spoken(per_s)}"
    return replace(timeline, series=series, words=(*timeline.words, words))


def healthy(run: Timeline, evening: Timeline) -> Timeline:
    """Return an evening as long and as busy in which nothing fails and nobody waits.

    The pools are as full as they were half of the time before the first trouble of `run`, or empty where it
    began with trouble. What is unknown throughout stays unknown.
    """
    trouble = ("http_5xx", "queuepool_timeouts", "pool_waiters")
    calm = next(
        (t_s for t_s in range(run.seconds) if any(run.series[name][t_s] for name in trouble)), run.seconds
    )
    fill = sorted(value for value in run.series["pool_in_use"][:calm] if value is not None)
    usual = {"pool_in_use": fill[len(fill) // 2] if fill else 0.0}
    series: dict[str, tuple[float | None, ...]] = {"requests": evening.series["requests"]}
    for name in METRICS:
        if name not in series:
            value = None if evening.lacks(name) else usual.get(name, 0.0)
            series[name] = (value,) * evening.seconds
    return Timeline(series, (f"{spoken(evening.seconds)} in which nothing fails",), evening.starts_at)


def spoken(seconds: float) -> str:
    """Write a duration as `45 s`, `5 min` or `3 h`."""
    if seconds >= 3600:
        return f"{seconds / 3600:g} h"
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"


def sums(values: Sequence[float | None]) -> list[float]:
    """Sum all before each second, for sums of any window in one subtraction."""
    return [0.0, *accumulate(value or 0.0 for value in values)]
