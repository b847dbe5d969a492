"""Two measured runs -> what changed, with intervals, and whether the second is worse (pure)."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log
from random import Random
from typing import Final, Literal

from rushhour.jobs.compare.blocks import block_length
from rushhour.jobs.compare.conditions import differences
from rushhour.jobs.compare.counted import FAILURES, failures_of, judge_failures
from rushhour.jobs.compare.judging import (
    FEWEST_SECONDS,
    RESAMPLES,
    TOLERANCE,
    Judgement,
    differs,
    interval,
    judge_change,
    measure_of,
)
from rushhour.jobs.compare.lanes import Layout, shared_layout
from rushhour.jobs.compare.measured import MeasuredRun
from rushhour.jobs.compare.resample import resamples
from rushhour.jobs.compare.rows import COMPONENTS, Change, Sampled, facts, sampled
from rushhour.metrics.latency_counts import bucket_ms

_SEED: Final = "rushhour compare"
_CHANGED: Final = (Judgement.WORSE, Judgement.BETTER, Judgement.MORE, Judgement.LESS)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The second run against the first."""

    before: MeasuredRun
    after: MeasuredRun
    changes: tuple[Change, ...]
    differences: tuple[str, ...]  # of load, data, settings and machine
    doubts: tuple[str, ...]  # why nothing can be said
    block_s: int | None = None

    @property
    def outcome(self) -> Literal["not worse", "worse", "unknown"]:
        """Unknown when a run says nothing; else worse when one row is; else unknown when one lacks data."""
        judged = {change.judgement for change in self.changes if change.decides}
        if self.doubts:
            return "unknown"
        if Judgement.WORSE in judged:
            return "worse"
        return "unknown" if Judgement.NO_DATA in judged else "not worse"


def compare_runs(before: MeasuredRun, after: MeasuredRun, *, tolerance: float = TOLERANCE) -> Comparison:
    """Compare; the same two runs always give the same intervals."""
    differing = differences(before, after)
    doubts = (*_too_short(before), *_too_short(after), *_doubts(before), *_doubts(after))
    known = tuple(facts(before, after))
    shortest_s = min(before.seconds, after.seconds)
    empty = not (before.endpoints and after.endpoints)
    if empty or before.verdict is None or after.verdict is None:
        return Comparison(before, after, known, differing, doubts)
    if shortest_s < FEWEST_SECONDS:
        return Comparison(before, after, (*known, *_counted(before, after, tolerance)), differing, doubts)
    layout = shared_layout(before, after, COMPONENTS)
    block = block_length([*_per_second(before), *_per_second(after)])
    rows = [*sampled(layout, before, after)]
    sides = [
        _resampled(layout, run, rows, block=block, dice=_dice(at)) for at, run in enumerate((before, after))
    ]
    changes = [
        _change(row, before, after, (old, new), tolerance) for row, old, new in zip(rows, *sides, strict=True)
    ]
    return Comparison(before, after, (*known, *changes), differing, doubts, block)


def _dice(side: int) -> Random:
    """Return random numbers of each run's own, the same each time."""
    return Random(f"{_SEED} {side}")  # noqa: S311 - not a secret


def _too_short(run: MeasuredRun) -> Iterator[str]:
    if run.endpoints and run.seconds < FEWEST_SECONDS:
        yield f"{run.path.name} has {run.seconds} s after its warm-up; at least {FEWEST_SECONDS} are needed"


def _counted(before: MeasuredRun, after: MeasuredRun, tolerance: float) -> Iterator[Change]:
    """Compare how many requests failed, which is all for runs that are too short for intervals."""
    for name in FAILURES:
        was, now = failures_of(before, name, None), failures_of(after, name, None)
        found = judge_failures(measure_of(name, tolerance), was, now)
        judgement, why = found or (Judgement.FACT, "")
        yield Change(name, None, was.rate, now.rate, judgement, why=why)


def _doubts(run: MeasuredRun) -> Iterator[str]:
    name = run.path.name
    if run.verdict is None:
        yield f"{name} was never judged; `rushhour judge {run.path}` does it"
    elif run.verdict.verdict == "unknown":
        yield f"{name} is unknown: {'; '.join(run.verdict.reasons) or 'no reason was written'}"
    for line in run.lost:
        if run.verdict is None or line not in run.verdict.reasons or run.verdict.verdict != "unknown":
            yield f"{name}: {line}"
    if not run.endpoints:
        yield f"{name} has no request after its warm-up of {run.scenario.load.warm_up:g} s"


def _per_second(run: MeasuredRun) -> Iterator[Sequence[float]]:
    """Yield how long answers took and how many requests failed: what a stall shows in."""
    seconds = [*zip(*run.endpoints.values(), strict=True)]
    latency = [sum((item.latency for item in second), Counter[int]()) for second in seconds]
    usual = _mean_log_ms(sum(latency, Counter[int]()), 0.0)
    yield [_mean_log_ms(item, usual) for item in latency]
    yield [float(sum(item.server_errors + item.unanswered for item in second)) for second in seconds]


def _mean_log_ms(latency: Counter[int], without: float) -> float:
    """Return the mean of logarithms, which a single slow request does not lead as it leads a mean."""
    count = latency.total()
    return sum(log(bucket_ms(at)) * n for at, n in latency.items()) / count if count else without


def _resampled(
    layout: Layout, run: MeasuredRun, rows: Sequence[Sampled], *, block: int, dice: Random
) -> list[list[float | None]]:
    """Return for each row its value in each resample."""
    values: list[list[float | None]] = [[] for _ in rows]
    reads = [(row.read, found.append) for row, found in zip(rows, values, strict=True)]
    for totals in resamples(layout.packed(run), layout.lanes, block=block, count=RESAMPLES, dice=dice):
        for read, keep in reads:
            keep(read(totals))
    return values


def _change(
    row: Sampled,
    before: MeasuredRun,
    after: MeasuredRun,
    resampled: tuple[list[float | None], list[float | None]],
    tolerance: float,
) -> Change:
    measure = measure_of(row.metric, tolerance)
    was, now = row.value(before.verdict), row.value(after.verdict)
    answers = min(_answers(run, row.endpoint) for run in (before, after))

    def say(
        judgement: Judgement, why: str = "", low: float | None = None, high: float | None = None
    ) -> Change:
        return Change(row.metric, row.endpoint, was, now, judgement, measure.decides, low, high, why)

    if was is None or now is None:
        return say(Judgement.NO_DATA)
    if answers < row.needs:
        return say(Judgement.NO_EVIDENCE, f"{answers} answers; {row.needs:.0f} are needed")
    changes = [b - a for a, b in zip(*resampled, strict=True) if a is not None and b is not None]
    if len(changes) < RESAMPLES:
        return say(Judgement.NO_EVIDENCE, "too sparse: some resamples hold no value")
    low, high = interval(changes)
    judgement = judge_change(measure, was, low, high)
    if judgement is Judgement.NO_EVIDENCE and row.metric in FAILURES:
        sides = (failures_of(run, row.metric, row.endpoint) for run in (before, after))
        judgement, why = judge_failures(measure, *sides) or (judgement, "")
        return say(judgement, why, low, high)
    if judgement in _CHANGED and not differs(measure, was, now, judgement):
        return say(Judgement.NO_EVIDENCE, "the values differ by less than the tolerance", low, high)
    return say(judgement, "", low, high)


def _answers(run: MeasuredRun, endpoint: str | None) -> int:
    chosen = run.endpoints.values() if endpoint is None else [run.endpoints[endpoint]]
    return sum(sample.latency.total() for series in chosen for sample in series)
