"""Reads the demand of production from the agent's metrics, as Prometheus scraped them (pure)."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

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
UNNAMED: Final = "pool"  # without the label of its name
OVER_ERROR: Final = 0.1  # of the time between two texts, beside what their timestamps say
DEFAULT_TIMEOUT_S: Final = 30.0  # SQLAlchemy's: the metrics do not hold it


_Series = frozenset[tuple[str, str]]  # the labels of a series, without `le`


@dataclass(slots=True)
class _Histogram:
    upto: dict[float, float]  # upper bound in seconds -> count up to it
    total: float = 0.0
    sum_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Scrape:
    """One scraped text. Counters are kept by series, since each instance of a service starts its own."""

    name: str
    use: Mapping[str, Mapping[_Series, _Histogram]]  # by pool
    create: Mapping[str, Mapping[_Series, _Histogram]]
    wait: Mapping[str, Mapping[_Series, _Histogram]]
    timeouts: Mapping[str, Mapping[_Series, float]]
    gauges: Mapping[tuple[str, str], float]  # metric and pool -> value, of all series
    processes: tuple[int, ...]  # of each instance
    at_s: float | None = None  # when it was scraped, in seconds since 1970; None: the text does not say it


def parse_scrape(name: str, text: str) -> Scrape:
    """Parse a scraped text. Raises UsageError if it is none, or holds no histogram of connection use.

    Samples go by their names: in the answers of Prometheus's federation each has a family of its own.
    """
    try:
        openmetrics = text.rstrip().endswith("# EOF")
        parse = openmetrics_families if openmetrics else text_string_to_metric_families
        samples = [sample for family in parse(text) for sample in family.samples]
        use, create, wait = (_histograms(samples, metric) for metric in (USE, CREATE, WAIT))
        _check_whole(text, samples)
        for metric, histograms in ((USE, use), (CREATE, create), (WAIT, wait)):
            for pool, series in histograms.items():
                _check_bounds(metric, pool, series)
                for histogram in series.values():
                    _check_buckets(metric, pool, histogram)
                    _check_sum(metric, pool, histogram)
        gauges, timeouts, processes = _gauges(samples), _timeouts(samples), _processes(samples)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise UsageError([f"{name}: not Prometheus's text format: {error}"]) from None
    if not use:
        names = {sample.name for sample in samples}
        held = "a summary or a sum" if any(item.startswith(USE) for item in names) else "no such metric"
        problem = (
            f"{name}: no histogram {USE} with buckets ({held} in {len(names)} series): a mean hold time does "
            "not say who waits; scrape the agent's own page (docs/agent.md), with its _bucket series"
        )
        raise UsageError([problem])
    times_s = [sample.timestamp for sample in samples if sample.name == f"{USE}_count"]
    known_s = [float(at_s) for at_s in times_s if at_s is not None]
    at_s = max(known_s) if known_s and len(known_s) == len(times_s) else None
    return Scrape(name, use, create, wait, timeouts, gauges, processes, at_s)


def _gauges(samples: Sequence[Sample]) -> dict[tuple[str, str], float]:
    """Return gauges by metric and pool, summed over all other labels, such as instances."""
    found: dict[tuple[str, str], float] = {}
    for sample in samples:
        if sample.name not in {IDLE_MAX, MOST, LEAKED}:
            continue
        _check_number(sample)
        key = sample.name, sample.labels.get(POOL, "")
        found[key] = found.get(key, 0.0) + sample.value
    return found


def _check_number(sample: Sample) -> None:
    if not 0 <= sample.value < math.inf:
        raise ValueError(f"{sample.name} is {sample.value}")


def _processes(samples: Sequence[Sample]) -> tuple[int, ...]:
    """Return how many processes of each instance reported; none where the text does not say it of any."""
    counted = {_instance(sample) for sample in samples if sample.name == PROCESSES}
    used = [sample for sample in samples if sample.name == f"{USE}_count"]
    several = max(Counter(sample.labels.get(POOL) for sample in used).values(), default=0) > 1
    if (counted or several) and {_instance(sample) for sample in used} - counted:
        raise ValueError(f"{PROCESSES} of one of the instances is missing")
    found = [sample.value for sample in samples if sample.name == PROCESSES]
    for count in found:
        if not 1 <= count <= MOST_REPORTING or count != round(count):
            raise ValueError(
                f"{PROCESSES} is {count:g}: a whole number of 1 to {MOST_REPORTING:,} is expected"
            )
    return tuple(map(int, found))


def _timeouts(samples: Sequence[Sample]) -> dict[str, dict[_Series, float]]:
    found: dict[str, dict[_Series, float]] = {}
    for sample in samples:
        if sample.name == TIMEOUTS:
            _check_number(sample)
            found.setdefault(sample.labels.get(POOL, UNNAMED), {})[_series(sample)] = sample.value
    return found


def _instance(sample: Sample) -> _Series:
    return frozenset((name, value) for name, value in sample.labels.items() if name != POOL)


def _series(sample: Sample) -> _Series:
    return frozenset((name, value) for name, value in sample.labels.items() if name != "le")


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


def _check_bounds(metric: str, pool: str, series: Mapping[_Series, _Histogram]) -> None:
    """Check that the series of a pool can be told apart and summed. Raises ValueError."""
    if len(series) > 1 and pool == UNNAMED:
        raise ValueError(f"{len(series)} series of {metric} have no label {POOL}: of which pools are they?")
    if len({frozenset(histogram.upto) for histogram in series.values()}) > 1:
        raise ValueError(f"the series of {metric} of {pool} have different buckets, which cannot be summed")


def _check_buckets(metric: str, pool: str, histogram: _Histogram) -> None:
    """Check that a histogram is whole. Raises ValueError."""
    counts = [count for _, count in sorted(histogram.upto.items())]
    if math.inf not in histogram.upto or counts[-1] != histogram.total:
        raise ValueError(
            f"{metric} of {pool} has {histogram.total:g} check-outs and not as many in its buckets"
        )
    if counts != sorted(counts):
        raise ValueError(f"{metric} of {pool} counts fewer check-outs up to a longer time")
    if broken := next((count for count in counts if count != round(count)), None):
        raise ValueError(f"{metric} of {pool} has {broken:g} check-outs in a bucket: a rate, and no count")


def _check_whole(text: str, samples: Sequence[Sample]) -> None:
    """Check that no part of the text is gone. Raises ValueError."""
    series = Counter((sample.name, *sorted(sample.labels.items())) for sample in samples)
    if twice := next((key for key, count in series.items() if count > 1), None):
        raise ValueError(f"{twice[0]} stands there twice with the same labels")
    if len(jobs := {sample.labels["job"] for sample in samples if "job" in sample.labels}) > 1:
        raise ValueError(f"it holds several services (job {', '.join(sorted(jobs))}): select one")
    gauges = {(sample.name, sample.labels.get(POOL)) for sample in samples}
    if not any(name.startswith("rushhour_") for name, _ in gauges):
        return  # not the agent's own page, whose last line is the number of processes
    if (PROCESSES, None) not in gauges or not text.endswith(("\n", "# EOF")):
        raise ValueError(
            f"{PROCESSES}, the last line of the agent's page, is missing or not whole: the text is cut"
        )
    sized, told = (
        {_series(sample) for sample in samples if sample.name == name} for name in (IDLE_MAX, LEAKED)
    )
    if gone := sized - told:
        raise ValueError(f"{LEAKED} of {dict(min(gone, key=sorted)).get(POOL, UNNAMED)} is missing")


def _histograms(samples: Sequence[Sample], metric: str) -> dict[str, dict[_Series, _Histogram]]:
    """Return the series of a histogram by pool; none without buckets."""
    found: dict[str, dict[_Series, _Histogram]] = {}
    for sample in samples:
        part = sample.name.removeprefix(metric)
        if part not in {"_bucket", "_sum", "_count"}:
            continue
        _check_number(sample)
        of_pool = found.setdefault(sample.labels.get(POOL, UNNAMED), {})
        histogram = of_pool.setdefault(_series(sample), _Histogram({}))
        if part == "_bucket":
            histogram.upto[float(sample.labels["le"])] = sample.value
        elif part == "_sum":
            histogram.sum_s = sample.value
        else:
            histogram.total = sample.value
    return {
        pool: series
        for pool, series in found.items()
        if any(len(histogram.upto) > 1 for histogram in series.values())
    }


def scraped_demand(newer: Scrape, over_s: float, older: Scrape | None = None) -> Demand:
    """Read the demand of production from what was counted over so many seconds.

    That is the time between two scrapes, or since the service started. Customers and threads are not in the
    metrics: arrivals are independent, and threads unknown. Raises InsufficientDataError for a leak, for too
    few check-outs, for time-outs, and where counters went back between the scrapes; UsageError for texts of
    different services, and for a time that is too short for what was counted.
    """
    if older:
        _check_same_service(newer, older)
        _check_time_between(newer, older, over_s)
    leaked = {pool: value for (metric, pool), value in newer.gauges.items() if metric == LEAKED and value}
    if leaked:
        pools = ", ".join(sorted(leaked))
        raise InsufficientDataError(
            f"{newer.name}: {sum(leaked.values()):.0f} connections of {pools} have leaked: "
            "no size holds them for long; find the line with a run, and mend it first"
        )
    processes = sum(newer.processes) or 1
    alike = len(set(newer.processes)) == 1
    found, uses, few = [], [], {}
    checkouts = 0
    for name, series in sorted(newer.use.items()):
        own = _since(newer.name, series, older.use.get(name, {}) if older else {})
        _check_timeouts(newer, older, name, own.total)
        if own.total < FEWEST_CHECKOUTS:
            few[name] = round(own.total)
            continue
        hold = _durations(own)
        created = _since(newer.name, newer.create.get(name, {}), {})
        shape = _shape(name, newer, processes)
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
                size=shape[0] if shape else 1,
                max_overflow=shape[1] if shape else -1,
                shape_known=shape is not None,
                timeout_s=DEFAULT_TIMEOUT_S,
                processes=processes,
                checkouts=round(own.total),
                hold=hold,
                create_s=created.sum_s / created.total if created.total else None,
                in_use_max=0,
                sites=(),
                waited_p99_s=_waited_p99_s(newer, older, name, own.total) if shape else None,
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
        processes=newer.processes[0] if alike else processes,
        threads=None,
        instances=len(newer.processes) if alike else 1,
        seconds=(),
        cpu={},
        limits={},
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


def _check_time_between(newer: Scrape, older: Scrape, over_s: float) -> None:
    """Hold the time that was said against the timestamps of the texts, if any. Raises UsageError."""
    if newer.at_s is None or older.at_s is None:
        return
    between_s = newer.at_s - older.at_s
    if abs(between_s - over_s) > OVER_ERROR * over_s:
        problem = (
            f"--over {over_s:g}s: by the timestamps in the texts {newer.name} was scraped {between_s:g} s "
            f"after {older.name}"
        )
        raise UsageError([problem])


def _check_timeouts(newer: Scrape, older: Scrape | None, pool: str, checkouts: float) -> None:
    """Check that hardly a check-out timed out. Raises InsufficientDataError."""
    since = _timed_out(newer, older, pool)
    if since > MOST_TIMED_OUT * (checkouts + since):
        raise InsufficientDataError(
            f"{newer.name}: {since:,.0f} check-outs of {pool} timed out, beside {checkouts:,.0f} that "
            "came back: holds and arrivals of an exhausted pool do not say what a larger pool would show; "
            "name two texts of an hour without time-outs, or size a run"
        )


def _timed_out(newer: Scrape, older: Scrape | None, pool: str) -> float:
    """Return how many check-outs of a pool timed out. Raises InsufficientDataError."""
    before = older.timeouts.get(pool, {}) if older else {}
    found = {key: count - before.get(key, 0.0) for key, count in newer.timeouts.get(pool, {}).items()}
    if before.keys() - found.keys() or min(found.values(), default=0.0) < 0:
        raise _went_back(newer.name)
    return math.fsum(found.values())


def _waited_p99_s(
    newer: Scrape, older: Scrape | None, pool: str, checkouts: float
) -> tuple[float, float] | None:
    """Return the bounds of the bucket in which the 99th percentile of the waits lies; None: not measured.

    A check-out that the histogram lacks did not wait; one that timed out is not in it, and waited longest.
    """
    if pool not in newer.wait or (older is not None and pool not in older.wait):
        return None
    waits = _since(newer.name, newer.wait[pool], older.wait[pool] if older else {})
    timed_out = _timed_out(newer, older, pool)
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
        f"{name}: its counters are below those of the earlier text, or gone, in all of its instances or in "
        "one: that was restarted between the two, or they are in the wrong order; name the earlier one "
        "first, and two texts without a restart between them"
    )


def _since(name: str, newer: Mapping[_Series, _Histogram], older: Mapping[_Series, _Histogram]) -> _Histogram:
    """Return what was counted since the older text, of all series. Raises InsufficientDataError.

    Each instance counts from its own start: one that was restarted could hide behind the others in a sum.
    """
    if older.keys() - newer.keys():
        raise _went_back(name)
    if older and newer.keys() - older.keys():
        raise InsufficientDataError(
            f"{name}: an instance that the earlier text lacks: what it had counted by then is not "
            "known; name two texts of the same instances"
        )
    found = _Histogram({})
    for key, own in newer.items():
        before = older.get(key, _Histogram(dict.fromkeys(own.upto, 0.0)))
        if before.upto.keys() != own.upto.keys():
            raise InsufficientDataError(
                f"{name}: it has other buckets than the earlier text: the service was changed between the "
                "two; name two texts without a restart between them"
            )
        upto = {bound: count - before.upto[bound] for bound, count in own.upto.items()}
        if own.total < before.total or own.sum_s < before.sum_s or min(upto.values()) < 0:
            raise _went_back(name)
        found.upto = {bound: count + found.upto.get(bound, 0.0) for bound, count in upto.items()}
        found.total += own.total - before.total
        found.sum_s += own.sum_s - before.sum_s
    return found


def _durations(histogram: _Histogram) -> Durations:
    buckets, below_s, below = [], 0.0, 0.0
    for bound, upto in sorted(histogram.upto.items()):
        high_s = bound if bound != float("inf") else 2 * below_s
        if upto > below:
            buckets.append((below_s or high_s / 2, high_s, round(upto - below)))
        below_s, below = high_s, max(upto, below)
    return from_bounds(buckets, histogram.sum_s / histogram.total if histogram.sum_s else None)


def _shape(name: str, scrape: Scrape, processes: int) -> tuple[int, int] | None:
    """Return size and overflow of each process; None where the text does not say them.

    The gauges are sums over all processes, which are taken to be alike.
    """
    idle_max, most = (scrape.gauges.get((metric, name)) for metric in (IDLE_MAX, MOST))
    if idle_max is None or idle_max % processes or (most or 0.0) % processes:
        return None
    size = max(1, int(idle_max) // processes)
    return size, -1 if most is None else max(0, int(most) // processes - size)
