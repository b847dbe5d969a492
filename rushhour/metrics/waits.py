"""Computes how long check-outs waited in a pool's queue (pure)."""

from collections import Counter

from rushhour.metrics.window import Window
from rushhour.rundir import History

_SLOWEST = 0.01  # share of the check-outs beyond the 99th percentile


def wait_p99_ms(history: History, window: Window | None) -> float | None:
    """Return the 99th percentile of the waits, in ms, of the pool in which it is the longest.

    None where no check-out was seen.
    """
    return max(waits_p99_ms(history, window).values(), default=None)


def waits_p99_ms(history: History, window: Window | None) -> dict[str, float]:
    """Return the 99th percentile of the waits of each pool with a check-out, in ms.

    It is the upper bound of the bucket in which it lies: a power of two of a microsecond. A check-out that
    did not wait waited 0; one that timed out waited until then.
    """
    if window is None:
        return {}
    waits: dict[str, Counter[int]] = {}  # by pool, over all processes: bucket in microseconds -> check-outs
    taken: Counter[str] = Counter()
    for times in history.times:
        if window.measures(times.t_s):
            taken[times.pool] += sum(times.hold_us.values())
            waits.setdefault(times.pool, Counter()).update(times.wait_us)
    for timeout in history.pool_timeouts:
        if window.measures(timeout.t_s):
            taken[timeout.pool] += 1
            waits.setdefault(timeout.pool, Counter())[1 << int(timeout.waited_s * 1e6).bit_length()] += 1
    found = {pool: _p99_us(buckets, max(taken[pool], buckets.total())) for pool, buckets in waits.items()}
    return {pool: us / 1000 for pool, us in found.items() if us is not None}


def _p99_us(waits: Counter[int], checkouts: int) -> float | None:
    if not checkouts:
        return None
    beyond = _SLOWEST * checkouts
    for bound_us in sorted(waits, reverse=True):
        beyond -= waits[bound_us]
        if beyond < 0:
            return bound_us
    return 0.0
