"""Says where another search would find the knee, from how much the steps of this one scatter (pure)."""

import math
from statistics import NormalDist, linear_regression
from typing import Final

from rushhour.jobs.capacity.facts import Search

CONFIDENCE: Final = 0.8
NEAR: Final = 1.5  # steps at rates up to that many times away from the knee count
LEAST_STEPS: Final = 5


def knee_again(search: Search) -> tuple[float, float] | None:
    """Return the interval in which the knee of another search lies in 80 of 100 cases, in customers a second.

    Near the knee the logarithm of what a step used of its tightest threshold grows in a straight line with
    that of the rate. The steps' distance from the line, divided by its slope, is how far they scatter in
    rate. A search decides between about two steps on each side, so that the knees of two searches differ by
    about as much. None where fewer than five steps, or no rising line, would say nothing.
    """
    knee = search.knee
    if knee.kind != "knee" or knee.low is None or knee.high is None:
        return None
    points = [
        (math.log(step.rate), math.log(step.used))
        for step in search.steps
        if step.outcome in {"holds", "gives"}
        and step.used
        and knee.low / NEAR <= step.rate <= knee.high * NEAR
    ]
    if len(points) < LEAST_STEPS or len({rate for rate, _ in points}) < 3:
        return None
    rates, used = zip(*points, strict=True)
    slope, start = linear_regression(rates, used)
    if slope <= 0:
        return None
    squares = math.fsum((share - start - slope * rate) ** 2 for rate, share in points)
    scatter = math.sqrt(squares / (len(points) - 2)) / slope
    away = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * scatter
    middle = math.sqrt(knee.low * knee.high)
    return min(knee.low, middle * math.exp(-away)), max(knee.high, middle * math.exp(away))
