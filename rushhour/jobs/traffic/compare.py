"""How far the access log of a run lies from the log that its customers were modelled after (pure)."""

import math
from collections.abc import Iterator, Sequence
from typing import Final

from rushhour.jobs.traffic.model import FEWEST_THINKS, EndpointModel, TrafficModel
from rushhour.jobs.traffic.pauses import SHARES, After
from rushhour.rundir.traffic import Row, TrafficComparison

MIX_POINTS: Final = 2.0
SESSIONS: Final = 0.05
THINK: Final = 0.10
CONCURRENCY: Final = 0.10
_DEVIATIONS: Final = 2.0  # so many standard deviations may be chance
_BELOW, _ABOVE = SHARES.index(0.45), SHARES.index(0.55)
_BUCKET: Final = 0.02  # of the histogram that the think times come from


def compare(
    source: TrafficModel,
    run: TrafficModel,
    scale: float | None = 1.0,
    doubts: Sequence[str] = (),
    what: str = "an access log",
) -> TrafficComparison:
    """Compare the log that a model was made from with the log of a run.

    `scale` is the scenario's; with None the rates are unknown. `what` says what the source is.
    """
    return TrafficComparison(
        tuple(_rows(source, run, scale)),
        scale,
        tuple(doubts),
        what,
        source.arrivals.requests,
        run.arrivals.requests,
    )


def _rows(source: TrafficModel, run: TrafficModel, scale: float | None) -> Iterator[Row]:
    there = {endpoint.name: endpoint for endpoint in run.endpoints}
    sessions = run.arrivals.sessions / run.sampled if run.walks else run.arrivals.requests
    for endpoint in source.endpoints:
        share = there[endpoint.name].share if endpoint.name in there else 0.0
        yield Row(
            "mix",
            endpoint.name,
            endpoint.share,
            share,
            MIX_POINTS,
            "%",
            _chance_of_share(endpoint.share, sessions),
        )
    seen = source.arrivals
    rate = seen.mean_sessions_per_minute if source.replayed else seen.peak.sessions_per_minute
    yield Row(
        "sessions",
        "sessions a minute",
        _scaled(rate, scale),
        run.arrivals.mean_sessions_per_minute if run.walks else None,
        SESSIONS,
        "",
        _chance_of_count(sessions),
    )
    coarse_s = max(source.source.resolution_s, run.source.resolution_s)
    for asked in source.endpoints:
        if (
            _thinks(asked) >= FEWEST_THINKS
            and asked.name in there
            and _resolved(asked.median_think_s, coarse_s)
        ):
            yield _think_row(asked, there[asked.name])
    peak = source.arrivals.peak.concurrency
    present = run.arrivals.peak.concurrency if run.walks else None
    yield Row(
        "concurrency",
        "customers present at the peak",
        _scaled(peak if source.walks else None, scale),
        present,
        CONCURRENCY,
        "",
        _chance_of_count(present or 0.0),
    )


def _think_row(one: EndpointModel, other: EndpointModel) -> Row:
    known = _thinks(other) >= FEWEST_THINKS
    median_s = other.median_think_s if known else None
    chance = _chance_of_median(other.after) if known and other.after else 0.0
    return Row("think", f"think time after {one.name}", one.median_think_s, median_s, THINK, "s", chance)


def _scaled(value: float | None, scale: float | None) -> float | None:
    return value * scale if value is not None and scale is not None else None


def _chance_of_count(count: float) -> float:
    """How far a count of independent arrivals lies off by chance, as a share of it (Poisson)."""
    return _DEVIATIONS / math.sqrt(count) if count > 0 else 0.0


def _chance_of_share(share: float, sessions: float) -> float:
    """The same of a share of requests, in points. Requests of a session are no independent draws."""
    return 100 * _DEVIATIONS * math.sqrt(share * (1 - share) / sessions) if sessions > 0 else 0.0


def _chance_of_median(follows: After) -> float:
    """The same of a median, as a share of it, by the density around it."""
    seconds, median_s = follows.think_s, follows.think_s[SHARES.index(0.5)]
    if median_s <= 0:
        return 0.0
    width = max(seconds[_ABOVE] / median_s - seconds[_BELOW] / median_s, _BUCKET)
    density = (SHARES[_ABOVE] - SHARES[_BELOW]) / width
    return _DEVIATIONS * 0.5 / math.sqrt(follows.thinks) / density


def _resolved(median_s: float | None, resolution_s: float) -> bool:
    """Whether time stamps of this resolution can show that a median lies within the bound."""
    return median_s is not None and median_s * THINK >= resolution_s / 2


def _thinks(one: EndpointModel) -> int:
    return one.after.thinks if one.after else 0
