"""Pauses between the requests of a session: what follows a request, after how long, or nothing (pure)."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

SHARES: Final = tuple([share / 20 for share in range(20)] + [0.98, 0.99, 1.0])
SHORTEST_S: Final = 0.001
_STEPS: Final = 16
_WIDTH: Final = math.log(1.02)  # each bucket is 2 % wide
_FEWEST_AT_RISK: Final = 3
_LEAST_AT_RISK: Final = 0.001
_UNKNOWN: Final = 0.05  # a curve that stops above this does not show how many sessions end


class Pauses:
    """A histogram with buckets 2 % wide from a millisecond on."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: dict[int, float] = {}

    def add(self, seconds: float, times: float = 1) -> None:
        """Count a pause; anything below a millisecond, and below 0, is the first bucket."""
        at = bucket_of(seconds)
        self.counts[at] = self.counts.get(at, 0) + times

    def take(self, bucket: int, times: float) -> None:
        """Take back what was counted in a bucket."""
        left = self.counts.get(bucket, 0) - times
        if left > 0:
            self.counts[bucket] = left
        else:
            self.counts.pop(bucket, None)

    def merge(self, other: "Pauses") -> None:
        """Add the counts of another histogram."""
        for at, times in other.counts.items():
            self.counts[at] = self.counts.get(at, 0) + times

    def spread(self, half_s: float) -> "Pauses":
        """The same pauses, each evenly over `half_s` on both sides: for time stamps cut to seconds."""
        found = Pauses()
        for at, times in self.counts.items():
            for step in range(_STEPS):
                found.add(seconds_of(at) + half_s * ((2 * step + 1) / _STEPS - 1), times / _STEPS)
        return found

    @property
    def total(self) -> float:
        return sum(self.counts.values())

    def quantile(self, share: float) -> float | None:
        """Seconds; None for an empty histogram."""
        return quantiles(self.counts, (share,))[0] if self.counts else None


def bucket_of(seconds: float) -> int:
    """The bucket of a pause."""
    return 0 if seconds < SHORTEST_S else 1 + int(math.log(seconds / SHORTEST_S) / _WIDTH)


def seconds_of(bucket: int) -> float:
    """The middle of a bucket."""
    return 0.0 if bucket == 0 else SHORTEST_S * math.exp((bucket - 0.5) * _WIDTH)


def quantiles(weights: Mapping[int, float], shares: Iterable[float]) -> tuple[float, ...]:
    """Seconds at these shares of the weight of a histogram that is not empty."""
    buckets, running, total = sorted(weights), [], 0.0
    for bucket in buckets:
        total += weights[bucket]
        running.append(total)
    last = len(buckets) - 1
    return tuple(
        seconds_of(buckets[min(bisect_left(running, share * total * (1 - 1e-12)), last)]) for share in shares
    )


@dataclass(frozen=True, slots=True)
class After:
    """What comes after a request; the three shares sum to 1."""

    at_once: float  # share of requests after which the page or app itself sends the next
    think: float  # share after which the customer asks for something
    end: float  # share with which a session ends
    at_once_s: tuple[float, ...]  # seconds at `SHARES`; empty where there is none
    think_s: tuple[float, ...]
    thinks: int  # how many think times this rests on
    certain: bool  # False: the log is too short to tell an end from a long pause


def after(at_once: Pauses, think: Pauses, unfollowed: Pauses) -> After:
    """Estimate what comes after a request, by Kaplan and Meier (1958).

    `unfollowed` holds for how long nothing followed: to the gap that cuts sessions, or to the end of the log.
    A log that ends during a session does not show how the session goes on. Such a request counts for as long
    as it was watched, and what is left of the curve at its end is the share of sessions that end here (the
    cure fraction of Maller and Zhou, 1992).
    """
    at_risk = float(at_once.total + think.total + unfollowed.total)
    fewest = max(_FEWEST_AT_RISK, _LEAST_AT_RISK * at_risk)
    left, split = 1.0, ({}, {})  # type: tuple[float, tuple[dict[int, float], dict[int, float]]]
    certain = True
    events = at_once.counts.keys() | think.counts.keys()
    for bucket in sorted(events | unfollowed.counts.keys()):
        counts = (at_once.counts.get(bucket, 0), think.counts.get(bucket, 0))
        followed = sum(counts)
        if followed:
            if at_risk < fewest and unfollowed.counts:
                certain = left <= _UNKNOWN
                break
            for weights, count in zip(split, counts, strict=True):
                if count:
                    weights[bucket] = left * count / at_risk
            left *= 1 - followed / at_risk
        at_risk -= followed + unfollowed.counts.get(bucket, 0)
    shares = [sum(weights.values(), 0.0) for weights in split]
    seconds = [quantiles(weights, SHARES) if weights else () for weights in split]
    return After(shares[0], shares[1], max(left, 0.0), seconds[0], seconds[1], round(think.total), certain)


def mean_of(seconds_at_shares: tuple[float, ...]) -> float:
    """The mean of a distribution that is given by its quantiles at `SHARES`, straight between them."""
    if not seconds_at_shares:
        return 0.0
    pairs = zip(SHARES, SHARES[1:], seconds_at_shares, seconds_at_shares[1:], strict=False)
    return sum((upper - lower) * (low + high) / 2 for lower, upper, low, high in pairs)
