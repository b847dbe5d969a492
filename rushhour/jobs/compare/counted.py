"""Judges failures that only one of two runs has, by counting requests (pure).

Resamples of a run without a failure hold none either, and those of a run whose failures stand in few seconds
often hold none: their interval then reaches 0, however many requests failed. The count decides instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cbrt, ceil, comb, sqrt
from statistics import fmean, variance
from typing import Final

from rushhour.jobs.compare.judging import CONFIDENCE, Judgement, Measure
from rushhour.jobs.compare.measured import MeasuredRun
from rushhour.metrics.wording import counted

FAILURES: Final = ("http_5xx_rate", "unanswered_rate")


@dataclass(frozen=True, slots=True)
class Failures:
    """Requests of each measured second of a run, and how many of them failed."""

    failed: tuple[int, ...]
    requests: tuple[int, ...]

    @property
    def rate(self) -> float | None:
        return sum(self.failed) / sum(self.requests) if sum(self.requests) else None


def failures_of(run: MeasuredRun, metric: str, endpoint: str | None) -> Failures:
    """Return what a rate of failures is taken of."""
    series = run.endpoints.values() if endpoint is None else [run.endpoints[endpoint]]
    seconds = [*zip(*series, strict=True)]
    failed = (
        sum([item.server_errors if metric == "http_5xx_rate" else item.unanswered for item in second])
        for second in seconds
    )
    return Failures(tuple(failed), tuple(sum(item.requests for item in second) for second in seconds))


def judge_failures(measure: Measure, before: Failures, after: Failures) -> tuple[Judgement, str] | None:
    """Return the judgement and its count; None unless one of the runs failed requests and the other none.

    Were it chance which run a failure fell into, how likely would all be in one run? That must be less than
    what intervals leave to chance: of requests, whose number is divided by their design effect since failures
    come together; or of the seconds in which requests failed, however many did.
    """
    failing, other = (before, after) if any(before.failed) else (after, before)
    if not any(failing.failed) or any(other.failed) or not sum(other.requests):
        return None
    share = sum(failing.requests) / (sum(failing.requests) + sum(other.requests))
    of_requests = share ** (sum(failing.failed) / design_effect(failing))
    failed, spread = (
        counted(sum(failing.failed), "request"),
        len([item for item in failing.failed if item]),
    )
    seconds = (len(failing.failed), len(failing.failed) + len(other.failed))
    of_seconds = comb(seconds[0], spread) / comb(seconds[1], spread)
    sides = ("before", "after") if failing is before else ("after", "before")
    why = (
        f"{failed} of {sum(failing.requests):,} failed {sides[0]}, in {spread} of {seconds[0]} s; "
        f"none of {sum(other.requests):,} {sides[1]}"
    )
    if 2 * min(of_requests, of_seconds) >= 1 - CONFIDENCE:
        return Judgement.NO_EVIDENCE, f"{why}: too few, or too close together, to rule chance out"
    if (failing.rate or 0.0) <= measure.least:
        return Judgement.SAME, why
    return (Judgement.BETTER if failing is before else Judgement.WORSE), why


def design_effect(failures: Failures) -> float:
    """Return how many times the variance of failures per block exceeds that of failures that come alone.

    1 where it exceeds it by no more than chance does: three standard errors. Blocks are of n^(1/3) seconds,
    as those of resamples are at least.
    """
    block = max(1, ceil(cbrt(len(failures.failed))))
    blocks = [_total(failures.failed, at, block) for at in range(0, len(failures.failed), block)]
    sizes = [_total(failures.requests, at, block) for at in range(0, len(failures.requests), block)]
    rate = failures.rate
    if len(blocks) < 2 or not rate:
        return float(max(1, sum(failures.failed)))
    excess = variance([found - rate * size for found, size in zip(blocks, sizes, strict=True)])
    alone = fmean(sizes) * rate * (1 - rate)
    effect = excess / alone if alone else 1.0
    return effect if effect > 1 + 3 * sqrt(2 / (len(blocks) - 1)) else 1.0


def _total(values: Sequence[int], at: int, count: int) -> int:
    return sum(values[at : at + count])
