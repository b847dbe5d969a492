"""The data points that CloudWatch would have of a timeline: one statistic of one metric per period (pure)."""

import math
import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from rushhour.alarms.timeline import Metric, Timeline, sums
from rushhour.scenario.model import STRICT

PLAIN: Final = ("sum", "average", "minimum", "maximum", "sample_count")
_PERCENTILE: Final = re.compile(r"p(\d{1,2}(?:\.\d{1,10})?|100)$")


def _known_statistic(text: str) -> str:
    if text not in PLAIN and not _PERCENTILE.match(text):
        raise ValueError(
            f"unknown statistic {text!r}; known: {', '.join(PLAIN)}, and percentiles as p99 or p99.9"
        )
    return text


Statistic = Annotated[str, AfterValidator(_known_statistic)]
Gaps = Literal["zero", "missing"]
Samples = Literal["seconds", "events"]


@dataclass(frozen=True, slots=True, config=STRICT)
class MetricStat:
    """A statistic of a metric.

    `samples` says what counts as one sample: the figure of each second, or each event with the value 1, as
    load balancers report requests, so that their average is 1. `times` turns a share into a percentage.
    `part_of` divides the events by those of another metric, sample by sample: an average is then a rate.
    """

    metric: Metric
    statistic: Statistic = "sum"
    gaps: Gaps = "zero"
    samples: Samples = "seconds"
    times: float = 1.0
    part_of: Metric | None = None

    @property
    def words(self) -> str:
        return f"{self.statistic} of {self.metric}"

    def lacking(self, timeline: Timeline) -> list[str]:
        """Return which of its metrics the timeline does not hold."""
        names = (self.metric, *((self.part_of,) if self.part_of else ()))
        return [name for name in names if timeline.lacks(name)]


class Points:
    """The statistic over the period that ends at a moment; None where there is no data."""

    def __init__(self, stat: MetricStat, timeline: Timeline, period_s: float) -> None:
        self._stat, self._period_s = stat, period_s
        self._values = timeline.series[stat.metric]
        self._sums = sums(self._values)
        known = [value is not None and (value != 0 or stat.gaps == "zero") for value in self._values]
        self._known = sums([float(item) for item in known])
        self._all = sums(timeline.series[stat.part_of]) if stat.part_of else None

    def at(self, end_s: float) -> float | None:
        end, start = round(end_s), round(end_s - self._period_s)
        if end <= 0:
            return None  # before there was a service
        start = max(0, start)
        if self._all is not None:
            return self._share(start, end, self._all[end] - self._all[start])
        samples = self._known[end] - self._known[start]
        if not samples:
            return None
        return self._stat.times * self._statistic(start, end, samples)

    def _share(self, start: int, end: int, of: float) -> float | None:
        """Return a sample of 1 or 0 for each event of `part_of`."""
        if not of:
            return None
        total, statistic = self._sums[end] - self._sums[start], self._stat.statistic
        plain = {
            "sum": total,
            "average": total / of,
            "minimum": float(total >= of),
            "maximum": float(total > 0),
        }
        if statistic == "sample_count":
            return of
        if statistic in plain:
            return self._stat.times * plain[statistic]
        return self._stat.times * float(percentile_of(statistic) / 100 * of > of - total)

    def _statistic(self, start: int, end: int, samples: float) -> float:
        total = self._sums[end] - self._sums[start]
        statistic = self._stat.statistic
        if self._stat.samples == "events":
            return total if statistic in ("sum", "sample_count") else 1.0
        match statistic:
            case "sum":
                return total
            case "average":
                return total / samples
            case "sample_count":
                return samples
        real = [value for value in self._values[start:end] if value is not None]
        if self._stat.gaps == "missing":
            real = [value for value in real if value]
        if statistic in ("minimum", "maximum"):
            return min(real) if statistic == "minimum" else max(real)
        real.sort()
        rank = math.ceil(percentile_of(statistic) / 100 * len(real))  # the nearest rank
        return real[max(0, rank - 1)]


def percentile_of(statistic: str) -> float:
    """Return 99.9 for p99.9."""
    return float(statistic[1:])
