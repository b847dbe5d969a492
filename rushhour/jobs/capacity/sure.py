"""Says how sure the outcome of a step is, from the spread of its seconds (pure)."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import Final

from rushhour.metrics.latencies import count_above, merge
from rushhour.metrics.requests import NO_WAIT
from rushhour.metrics.window import Window
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.scenario.thresholds import Threshold
from rushhour.verdict.judge import Verdict

PERCENTILES: Final = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99} | {
    "p50_due": 0.50,
    "p95_due": 0.95,
    "p99_due": 0.99,
}
BLOCK_S: Final = 3  # requests of one block depend on each other, those of two blocks hardly
FEWEST_BLOCKS: Final = 3
FEWEST_BEYOND: Final = 5.0  # requests that a percentile needs beyond it to mean something


def how_sure(verdict: Verdict, history: History, window: Window | None) -> float | None:
    """Return the probability that the outcome would be the same again; None when it is not known.

    For a step that holds it is that of the least sure threshold, for one that gives way that of the surest
    violation. Only percentiles of latency are sampled; a count that was violated is a fact.
    """
    if window is None:
        return None
    found: list[float] = []
    for result in verdict.thresholds:
        below = _probability_that_it_holds(result.threshold, history, window)
        if verdict.verdict == "pass" and below is not None:
            found.append(below)
        elif verdict.verdict == "fail" and result.ok is False:
            found.append(1.0 if below is None else 1 - below)
    if not found:
        return None
    return min(found) if verdict.verdict == "pass" else max(found)


def _probability_that_it_holds(threshold: Threshold, history: History, window: Window) -> float | None:
    """Return how likely the percentile is below its bound; None if it is no percentile with an upper bound.

    It is below the bound when the share of slower requests is below 1 - p. The share's error comes from how
    much it varies from block to block (a ratio estimate), so that bursts count as what they are.
    """
    p = PERCENTILES.get(threshold.metric)
    if p is None or threshold.operator not in {"<", "<="}:
        return None
    blocks = _blocks(threshold, history, window)
    total = sum(count for count, _ in blocks)
    if len(blocks) < FEWEST_BLOCKS or total * (1 - p) < FEWEST_BEYOND:
        return 0.5  # too few requests for this percentile: it could be either
    share = sum(slow for _, slow in blocks) / total
    spread = math.sqrt(sum((slow - share * count) ** 2 for count, slow in blocks)) / total
    binomial = math.sqrt((1 - p) * p / total)  # what chance alone makes, where every block was alike
    return NormalDist(share, max(spread, binomial)).cdf(1 - p)


def _blocks(threshold: Threshold, history: History, window: Window) -> list[tuple[int, float]]:
    """Return requests and slower ones among them, for each block of seconds."""
    rows: defaultdict[int, list[f.RequestCount]] = defaultdict(list)
    for row in history.requests:
        if row.outcome in NO_WAIT or not window.in_whole_second(row.t_s):
            continue
        if threshold.endpoint in {None, row.endpoint}:
            rows[(row.t_s - window.first_second) // BLOCK_S].append(row)
    due = threshold.metric.endswith("_due")
    return [
        (sum(row.count for row in block), _slower(block, threshold.bound, due=due)) for block in rows.values()
    ]


def _slower(rows: Sequence[f.RequestCount], bound_ms: float, *, due: bool) -> float:
    """Return how many requests took longer than the bound."""
    return float(count_above(merge(_latencies(rows, due=due)), bound_ms))


def _latencies(rows: Iterable[f.RequestCount], *, due: bool) -> list[str]:
    return [
        row.latency_due if due and row.latency_due not in {"", f.SAME_LATENCY} else row.latency
        for row in rows
    ]
