"""Timelines from a run's history (pure)."""

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from rushhour.alarms.timeline import COUNTS, Timeline
from rushhour.metrics.window import find_window
from rushhour.rundir import History
from rushhour.rundir import facts as f

AFTER_S: Final = 60.0  # a customer may wait for its answer for so long


def of_run(history: History, name: str) -> Timeline | None:
    """Return a run from the start of its load to the end of its last request; None when no load started.

    Requests long after all that else was seen are left out: they are not of this run, which is a loss.
    """
    window = find_window(history, 0.0)
    if window is None or not history.requests:
        return None
    start = math.floor(window.load_started_s)
    seen = (history.events, history.generator, history.host, history.pools)
    latest_s = max(fact.t_s for facts in seen for fact in facts) + AFTER_S
    seconds = min(max(row.t_s for row in history.requests), math.ceil(latest_s)) - start + 1
    return of_stretch(history, name, start, max(1, seconds))


def of_stretch(history: History, name: str, start: int, seconds: int) -> Timeline:
    """Return a run from a second since its anchor on, whatever went on in it."""
    counts = {name: [0.0] * seconds for name in COUNTS}
    for row in history.requests:
        t_s = row.t_s - start
        if not 0 <= t_s < seconds:
            continue
        counts["requests"][t_s] += row.count
        if row.outcome in f.SERVER_ERRORS:
            counts["http_5xx"][t_s] += row.count
        if row.outcome is f.Outcome.QUEUEPOOL_TIMEOUT:
            counts["queuepool_timeouts"][t_s] += row.count
    waiters, in_use = _gauges(history.pools, start, seconds)
    series = {
        **{name: tuple(values) for name, values in counts.items()},
        "pool_waiters": waiters,
        "pool_in_use": in_use,
    }
    anchor = history.event(f.ANCHOR)
    wall_s = anchor.detail.get("wall_s") if anchor is not None else None
    starts_at = float(wall_s) + start if isinstance(wall_s, int | float) else None
    return Timeline(series, (f"run {name}: {seconds} s",), starts_at)


def _gauges(
    samples: Iterable[f.PoolSample], start: int, seconds: int
) -> tuple[tuple[float | None, ...], tuple[float | None, ...]]:
    """Return per second the most waiters, and the fullest pool's share of its capacity; None: no sample."""
    waiting: defaultdict[int, defaultdict[tuple[int, str], int]] = defaultdict(lambda: defaultdict(int))
    share: dict[int, float] = {}
    for sample in samples:
        t_s, key = math.floor(sample.t_s) - start, (sample.pid, sample.pool)
        waiting[t_s][key] = max(waiting[t_s][key], sample.waiting)
        if sample.capacity:
            share[t_s] = max(share.get(t_s, 0.0), sample.checked_out / sample.capacity)
    return (
        tuple(float(sum(waiting[t_s].values())) if t_s in waiting else None for t_s in range(seconds)),
        tuple(share.get(t_s) for t_s in range(seconds)),
    )


def pools_of_stretch(history: History, start: int, seconds: int, known_from_s: float) -> dict[str, Timeline]:
    """Return each server's pool over the same time, as a scrape of all its processes adds them up.

    A pool that was there at `known_from_s` (since the anchor) was empty before; a later one is unknown
    until then.
    """
    found: dict[str, Timeline] = {}
    for name in sorted({sample.pool for sample in history.pools}):
        first_s = min(sample.t_s for sample in history.pools if sample.pool == name)
        begins = 0 if first_s <= known_from_s else min(seconds, max(0, math.floor(first_s) - start))
        timeouts: list[float | None] = [None] * begins + [0.0] * (seconds - begins)
        for timeout in history.pool_timeouts:
            if timeout.pool == name and 0 <= (t_s := math.floor(timeout.t_s) - start) < seconds:
                timeouts[t_s] = (timeouts[t_s] or 0.0) + 1
        last: defaultdict[int, dict[int, f.PoolSample]] = defaultdict(dict)  # by second and process
        for sample in history.pools:
            if sample.pool == name:
                last[math.floor(sample.t_s) - start][sample.pid] = sample
        waiters: list[float | None] = [None] * seconds
        in_use: list[float | None] = [None] * seconds
        for t_s, samples in last.items():
            if not 0 <= t_s < seconds:
                continue
            waiters[t_s] = float(sum(sample.waiting for sample in samples.values()))
            if capacity := sum(sample.capacity or 0 for sample in samples.values()):
                in_use[t_s] = sum(sample.checked_out for sample in samples.values()) / capacity
        if first_s <= known_from_s:
            before = min(seconds, max(0, math.floor(first_s) - start))
            waiters[:before] = in_use[:before] = [0.0] * before
        nobody = (0.0,) * seconds
        series = {"requests": nobody, "http_5xx": nobody, "queuepool_timeouts": tuple(timeouts)}
        found[name] = Timeline(
            {**series, "pool_waiters": tuple(waiters), "pool_in_use": tuple(in_use)}, (f"pool {name}",)
        )
    return found
