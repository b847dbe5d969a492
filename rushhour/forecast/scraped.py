"""Reads the demand of production from the agent's metrics, as Prometheus scraped them (pure)."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from rushhour.errors import InsufficientDataError, UsageError
from rushhour.forecast.demand import ANY, FEWEST_CHECKOUTS, Demand, EndpointDemand, PoolDemand, Use
from rushhour.forecast.durations import Durations, from_bounds

POOL: Final = "db_client_connection_pool_name"
USE: Final = "db_client_connection_use_time_seconds"
WAIT: Final = "db_client_connection_wait_time_seconds"
CREATE: Final = "db_client_connection_create_time_seconds"
TIMEOUTS: Final = "db_client_connection_timeouts_total"
IDLE_MAX: Final = "db_client_connection_idle_max"
MOST: Final = "db_client_connection_max"
LEAKED: Final = "rushhour_pool_leaked_connections"
PROCESSES: Final = "rushhour_agent_processes"
MOST_TIMED_OUT: Final = (
    0.01  # of the check-outs; with more, holds and arrivals are those of an exhausted pool
)
MEAN_ERROR: Final = 0.02  # of a sum of seconds beside the buckets it belongs to: the sum is rounded
MOST_REPORTING: Final = 10_000  # processes on one page
DEFAULT_TIMEOUT_S: Final = 30.0  # SQLAlchemy's: the metrics do not hold it


@dataclass(slots=True)
class _Histogram:
    upto: dict[float, float]  # upper bound in seconds -> count up to it
    total: float = 0.0
    sum_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Scrape:
    """One scraped text."""

    name: str
    use: Mapping[str, _Histogram]
    create: Mapping[str, _Histogram]
    wait: Mapping[str, _Histogram]
    gauges: Mapping[tuple[str, str], float]  # metric and pool -> value; the pool of a process gauge is ""


def parse_scrape(name: str, text: str) -> Scrape:
    """Parse a scraped text. Raises UsageError if it is none, or holds no histogram of connection use."""
    try:
        families = list(text_string_to_metric_families(text))
        found = {family.name: family for family in families}
        use, create, wait = (_histograms(found.get(metric)) for metric in (USE, CREATE, WAIT))
        _check_whole(text, families, use)
        for metric, histograms in ((USE, use), (CREATE, create), (WAIT, wait)):
            for pool, histogram in histograms.items():
                _check_buckets(metric, pool, histogram)
                _check_sum(metric, pool, histogram)
        gauges = _gauges(families)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise UsageError([f"{name}: not Prometheus's text format: {error}"]) from None
    if not use:
        held = "a summary or a sum" if any(item.startswith(USE) for item in found) else "no such metric"
        problem = (
            f"{name}: no histogram {USE} with buckets ({held} in {len(found)} metrics): a mean hold time "
            "does not say who waits; scrape the agent's own page (docs/agent.md), with its _bucket series"
        )
        raise UsageError([problem])
    return Scrape(name, use, create, wait, gauges)


def _gauges(families: Sequence[Metric]) -> dict[tuple[str, str], float]:
    """Return gauges and counters by metric and pool, summed over all other labels, such as instances."""
    found: dict[tuple[str, str], float] = {}
    for family in families:
        for sample in family.samples:
            if sample.name not in {IDLE_MAX, MOST, LEAKED, PROCESSES, TIMEOUTS}:
                continue
            if not 0 <= sample.value < math.inf:
                raise ValueError(f"{sample.name} is {sample.value}")
            key = sample.name, sample.labels.get(POOL, "")
            found[key] = found.get(key, 0.0) + sample.value
    processes = found.get((PROCESSES, ""))
    if processes is not None and (processes != round(processes) or not 1 <= processes <= MOST_REPORTING):
        raise ValueError(
            f"{PROCESSES} is {processes:g}: a whole number of 1 to {MOST_REPORTING:,} is expected"
        )
    return found


def _check_sum(metric: str, pool: str, histogram: _Histogram) -> None:
    """Check that the mean of a histogram lies within its buckets. Raises ValueError."""
    if not histogram.total or not histogram.sum_s:
        return  # nothing was counted, or the text has no sums
    below, below_s, least_s, most_s = 0.0, 0.0, 0.0, 0.0
    for bound_s, upto in sorted(histogram.upto.items()):
        if upto > below:
            least_s += (upto - below) * below_s
            most_s += (upto - below) * bound_s
        below, below_s = max(upto, below), bound_s
    if not least_s * (1 - MEAN_ERROR) <= histogram.sum_s <= most_s * (1 + MEAN_ERROR):
        raise ValueError(
            f"{metric} of {pool} sums up to {histogram.sum_s:g} s, and by its buckets it is "
            f"{least_s:g} to {most_s:g} s"
        )


def _check_buckets(metric: str, pool: str, histogram: _Histogram) -> None:
    """Check that a histogram is whole. Raises ValueError."""
    counts = [count for _, count in sorted(histogram.upto.items())]
    if math.inf not in histogram.upto or counts[-1] != histogram.total:
        raise ValueError(
            f"{metric} of {pool} has {histogram.total:g} check-outs and not as many in its buckets"
        )
    if counts != sorted(counts):
        raise ValueError(f"{metric} of {pool} counts fewer check-outs up to a longer time")


def _check_whole(text: str, families: Sequence[Metric], use: Mapping[str, _Histogram]) -> None:
    """Check that no part of the text is gone. Raises ValueError."""
    series = Counter(
        (sample.name, *sorted(sample.labels.items())) for family in families for sample in family.samples
    )
    if twice := next((key for key, count in series.items() if count > 1), None):
        raise ValueError(f"{twice[0]} stands there twice with the same labels")
    gauges = {(sample.name, sample.labels.get(POOL)) for family in families for sample in family.samples}
    if not any(name.startswith("rushhour_") for name, _ in gauges):
        return  # not the agent's own page, whose last line is the number of processes
    if (PROCESSES, None) not in gauges or not text.endswith("\n"):
        raise ValueError(
            f"{PROCESSES}, the last line of the agent's page, is missing or not whole: the text is cut"
        )
    for pool in use:
        if (IDLE_MAX, pool) in gauges and (LEAKED, pool) not in gauges:
            raise ValueError(f"{LEAKED} of {pool} is missing")


def _histograms(family: Metric | None) -> dict[str, _Histogram]:
    """Return the histograms of a metric by pool, summed over all other labels; none without buckets."""
    found: dict[str, _Histogram] = {}
    for sample in family.samples if family else ():
        if not 0 <= sample.value < math.inf:
            raise ValueError(f"{sample.name} is {sample.value}")
        histogram = found.setdefault(sample.labels.get(POOL, "pool"), _Histogram({}))
        if sample.name.endswith("_bucket"):
            bound = float(sample.labels.get("le", "inf"))
            histogram.upto[bound] = histogram.upto.get(bound, 0.0) + sample.value
        elif sample.name.endswith("_sum"):
            histogram.sum_s += sample.value
        elif sample.name.endswith("_count"):
            histogram.total += sample.value
    return {pool: histogram for pool, histogram in found.items() if len(histogram.upto) > 1}


def scraped_demand(newer: Scrape, over_s: float, older: Scrape | None = None) -> Demand:
    """Read the demand of production from what was counted over so many seconds.

    That is the time between two scrapes, or since the service started. Customers and threads are not in the
    metrics: arrivals are independent, and threads unknown. Raises InsufficientDataError for a leak, for too
    few check-outs, for time-outs, and where counters went back between the scrapes; UsageError for texts of
    different services, and for a time that is too short for what was counted.
    """
    if older:
        _check_same_service(newer, older)
    leaked = {pool: value for (metric, pool), value in newer.gauges.items() if metric == LEAKED and value}
    if leaked:
        pools = ", ".join(sorted(leaked))
        raise InsufficientDataError(
            f"{newer.name}: {sum(leaked.values()):.0f} connections of {pools} have leaked: "
            "no size holds them for long; find the line with a run, and mend it first"
        )
    processes = max(1, round(newer.gauges.get((PROCESSES, ""), 1)))
    found, uses, few = [], [], {}
    checkouts = 0
    for name, histogram in sorted(newer.use.items()):
        own = _since(newer.name, histogram, older.use.get(name) if older else None)
        _check_timeouts(newer, older, name, own.total)
        if own.total < FEWEST_CHECKOUTS:
            few[name] = round(own.total)
            continue
        hold = _durations(own)
        created = newer.create.get(name)
        create_s = created.sum_s / created.total if created and created.total else None
        size, overflow = _shape(name, newer, processes)
        most = newer.gauges.get((MOST, name))
        if most and own.total * hold.mean_s > (1 + MEAN_ERROR) * most * over_s:
            problem = (
                f"--over {over_s:g}s: {own.total:,.0f} check-outs of {name} for "
                f"{hold.mean_s * 1e3:.3g} ms each hold {own.total * hold.mean_s / over_s:,.1f} connections "
                f"on average in that time, and the pool has {most:g} at most: say over how long they were "
                f"counted; {newer.name} does not hold it"
            )
            raise UsageError([problem])
        found.append(
            PoolDemand(
                name=name,
                size=size,
                max_overflow=overflow,
                timeout_s=DEFAULT_TIMEOUT_S,
                processes=processes,
                checkouts=round(own.total),
                hold=hold,
                create_s=create_s,
                in_use_max=0,
                sites=(),
                waited_p99_s=_waited_p99_s(newer, older, name, own.total),
            )
        )
        uses.append((name, own.total, hold))
        checkouts += round(own.total)
    if not found:
        raise InsufficientDataError(
            f"{newer.name}: at most {max(few.values(), default=0)} check-outs of a pool, and at least "
            f"{FEWEST_CHECKOUTS} are needed: scrape after a longer time"
        )
    per_s = checkouts / over_s
    latency_s = sum(total * hold.mean_s for _, total, hold in uses) / checkouts
    return Demand(
        run=newer.name,
        service="production",
        release="",
        scenario="",
        customers=1,
        think_s=0.0,
        requests_per_s=per_s,
        endpoints=tuple(
            EndpointDemand(f"{ANY} of {name}", total / checkouts, (Use(name, 1.0, hold),), 0.0)
            for name, total, hold in uses
        ),
        pools=tuple(found),
        processes=processes,
        threads=None,
        instances=1,
        seconds=(),
        cpu={},
        max_connections={},
        latency_s=latency_s,
        few=few,
        open_arrivals=True,
    )


def _check_same_service(newer: Scrape, older: Scrape) -> None:
    """Check that both texts count the same pools. Raises UsageError or InsufficientDataError."""
    if not newer.use.keys() & older.use.keys():
        problem = (
            f"{older.name} has the pools {', '.join(sorted(older.use))}, and {newer.name} has "
            f"{', '.join(sorted(newer.use))}: they are of different services, and cannot be subtracted"
        )
        raise UsageError([problem])
    if gone := sorted(older.use.keys() - newer.use.keys()):
        raise InsufficientDataError(
            f"{newer.name}: it no longer has the pools {', '.join(gone)} of {older.name}: the service was "
            "restarted between the two; name two texts without a restart between them"
        )


def _check_timeouts(newer: Scrape, older: Scrape | None, pool: str, checkouts: float) -> None:
    """Check that hardly a check-out timed out. Raises InsufficientDataError."""
    timeouts = newer.gauges.get((TIMEOUTS, pool), 0.0)
    before = older.gauges.get((TIMEOUTS, pool), 0.0) if older else 0.0
    if timeouts < before:
        raise _went_back(newer.name)
    since = timeouts - before
    if since > MOST_TIMED_OUT * (checkouts + since):
        raise InsufficientDataError(
            f"{newer.name}: {since:,.0f} check-outs of {pool} timed out, beside {checkouts:,.0f} that "
            "came back: holds and arrivals of an exhausted pool do not say what a larger pool would show; "
            "name two texts of an hour without time-outs, or size a run"
        )


def _waited_p99_s(
    newer: Scrape, older: Scrape | None, pool: str, checkouts: float
) -> tuple[float, float] | None:
    """Return the bounds of the bucket in which the 99th percentile of the waits lies; None: not measured.

    A check-out that the histogram lacks did not wait; one that timed out is not in it, and waited longest.
    """
    if pool not in newer.wait or (older is not None and pool not in older.wait):
        return None
    waits = _since(newer.name, newer.wait[pool], older.wait[pool] if older else None)
    timed_out = newer.gauges.get((TIMEOUTS, pool), 0.0)
    timed_out -= older.gauges.get((TIMEOUTS, pool), 0.0) if older else 0.0
    # Than the percentile; not below 0, since hardly a check-out timed out: so the last bucket is long enough.
    longer = 0.01 * (max(waits.total, checkouts) + timed_out) - timed_out
    edges = [(0.0, 0.0), *sorted(waits.upto.items())]
    below_s, bound_s = next(
        (below_s, bound_s)
        for (below_s, _), (bound_s, upto) in pairwise(edges)
        if waits.total - upto <= longer
    )
    return below_s, bound_s if bound_s < math.inf else 2 * below_s


def _went_back(name: str) -> InsufficientDataError:
    return InsufficientDataError(
        f"{name}: its counters are below those of the earlier text: the service was restarted between "
        "the two, or they are in the wrong order; name the earlier one first"
    )


def _since(name: str, newer: _Histogram, older: _Histogram | None) -> _Histogram:
    if older is None:
        return newer
    upto = {bound: count - older.upto.get(bound, 0.0) for bound, count in newer.upto.items()}
    if newer.total < older.total or newer.sum_s < older.sum_s or min(upto.values()) < 0:
        raise _went_back(name)
    return _Histogram(upto, newer.total - older.total, newer.sum_s - older.sum_s)


def _durations(histogram: _Histogram) -> Durations:
    buckets, below_s, below = [], 0.0, 0.0
    for bound, upto in sorted(histogram.upto.items()):
        high_s = bound if bound != float("inf") else 2 * below_s
        if upto > below:
            buckets.append((below_s or high_s / 2, high_s, round(upto - below)))
        below_s, below = high_s, max(upto, below)
    return from_bounds(buckets, histogram.sum_s / histogram.total if histogram.sum_s else None)


def _shape(name: str, scrape: Scrape, processes: int) -> tuple[int, int]:
    """Return size and overflow of each process; the gauges are sums over all of them."""
    idle_max = scrape.gauges.get((IDLE_MAX, name))
    most = scrape.gauges.get((MOST, name))
    size = max(1, round((idle_max or 0) / processes))
    return size, -1 if most is None else max(0, round(most / processes) - size)
