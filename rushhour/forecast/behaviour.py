"""Reads from a run what its customers do, and what their requests need of the service (pure)."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeGuard

from rushhour.errors import InsufficientDataError
from rushhour.forecast.healthy import healthy_seconds
from rushhour.forecast.leaks import Leak
from rushhour.forecast.limits import ServerLimit, limits_of
from rushhour.forecast.processes import processes_of_service
from rushhour.forecast.setting import PoolSetting
from rushhour.forecast.standing import standing_of
from rushhour.forecast.threads import near_whole, threads_of, threads_seen
from rushhour.forecast.visits import Job, Visit, read_visits
from rushhour.metrics.latency_counts import bucket_counts, bucket_ms
from rushhour.metrics.wording import counted
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.scenario.model import Scenario

FEWEST_REQUESTS: Final = 50
FEWEST_TO_PACE: Final = 3  # requests of a second, below which it says nothing about how fast the machine was
QUIET: Final = 0.25  # of the mean requests of a second
FIRST_S: Final = 1.0  # of the load, in which customers come and have not yet thought
FEWEST_FIRST: Final = 5
PACES: Final = (0.5, 10.0)  # a second is taken to be at most this much faster or slower than the mean
MEAN_THINK: Final = 1.5  # times the median, at most: log-normal think times of the locustfiles have 1.2
ASYNCIO_POOL: Final = "AsyncAdaptedQueuePool"  # of SQLAlchemy's create_async_engine
OVERLAP: Final = 1.05  # connections held for longer than their request took are held at the same time


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint as its requests were answered: mean time, and visits to pools."""

    name: str
    latency_s: float
    visits: tuple[Visit, ...]

    @property
    def held_s(self) -> float:
        """Mean connection-seconds of a request."""
        return math.fsum(visit.per_request * visit.hold_s for visit in self.visits)

    @property
    def overlaps(self) -> bool:
        """Whether a request holds several connections at the same time, as far as its time says."""
        held_s = math.fsum(visit.least_per_request * visit.hold_s for visit in self.visits)
        return held_s > OVERLAP * self.latency_s

    @property
    def may_nest(self) -> bool:
        """Whether a request takes several connections of one pool, at several lines."""
        return any(visit.sites > 1 and visit.least_per_request > 1.5 for visit in self.visits)

    @property
    def in_all(self) -> Mapping[str, int]:
        """How many connections of each pool a request takes in all."""
        found: dict[str, float] = defaultdict(float)
        for visit in self.visits:
            found[visit.pool] += visit.per_request
        return {pool: math.ceil(near_whole(each)) for pool, each in found.items()}

    @property
    def at_once(self) -> int:
        """How many connections of a pool a request may have at the same time."""
        nested = self.overlaps or self.may_nest
        return max(self.in_all.values(), default=1) if nested else 1


@dataclass(frozen=True, slots=True)
class HealthySecond:
    """A second of the run: the customers, their requests by endpoint, and how slow it was (1: the mean)."""

    customers: int
    requests: Mapping[str, int]
    pace: float | None


@dataclass(frozen=True, slots=True)
class Setup:
    """How the service of a run was set up, and the settings of its customers."""

    pools: Mapping[str, PoolSetting]  # of each process
    processes: int
    threads: int | None  # of a process; None: the scenario does not set them, or the run had more
    threads_said: int | None  # what the scenario says of them
    threads_seen: int  # of a process, at least
    of_tasks: frozenset[str]  # pools that only asyncio tasks take from, which no threads bound
    think_s: float  # the scenario's median pause
    push_share: float


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the customers of a run did. Rates are over all processes."""

    customers: int  # the most at the same time
    seconds: tuple[HealthySecond, ...]
    endpoints: Mapping[str, Endpoint]
    jobs: tuple[Job, ...]
    standing: Mapping[str, int]  # pool -> connections of a process that are out all the time
    first: Mapping[str, int]  # requests of the first seconds of the load: what customers do when they come
    setup: Setup
    cpu_share: float | None  # of the time that a request spends in the process; None: unknown
    cpu_s: float | None  # CPU seconds of the process for a request
    server_s: Mapping[str, float]  # server -> its CPU seconds for a check-out
    server_cores: Mapping[str, float]  # server -> cores that it may use
    limits: Mapping[str, ServerLimit]

    @property
    def requests(self) -> int:
        return sum(sum(second.requests.values()) for second in self.seconds)

    @property
    def pauses_more(self) -> bool:
        """Whether customers let pass more time between two requests than the scenario's think time can be."""
        customer_s = sum(second.customers for second in self.seconds)
        latency_s = math.fsum(
            self.endpoints[name].latency_s * count
            for second in self.seconds
            for name, count in second.requests.items()
        )
        return customer_s - latency_s > MEAN_THINK * self.setup.think_s * self.requests


def read_behaviour(name: str, scenario: Scenario, history: History, leak: Leak | None = None) -> Behaviour:
    """Read what the customers of a run did while the service was healthy; `name` is for messages.

    Only healthy seconds count (healthy.py). Requests that go on using a connection of a `leak` count as
    visits to its server. Raises InsufficientDataError if the run leaves too little, and says what would do.
    """
    seconds = healthy_seconds(name, scenario, history).seconds
    rows = [row for row in history.requests if row.count and row.t_s in seconds]
    total = sum(row.count for row in rows)
    if total < FEWEST_REQUESTS:
        raise InsufficientDataError(
            f"{name}: {counted(total, 'request')} in {counted(len(seconds), 'healthy second')}; a forecast "
            f"needs at least {FEWEST_REQUESTS}: run it longer, or with more customers"
        )
    users = _users(history)
    if not any(users.get(second) for second in seconds):
        raise InsufficientDataError(
            f"{name}: the load generator did not say how many customers there were; run it again"
        )
    latency_s = _latencies(rows)
    counts = Counter[str]()
    for row in rows:
        counts[row.endpoint] += row.count
    first, last = min(seconds), max(seconds) + 1
    processes = processes_of_service(history)
    visits, jobs = read_visits(history, first, last, counts, processes)
    endpoints = {
        endpoint: Endpoint(endpoint, latency_s[endpoint], visits[endpoint]) for endpoint in sorted(counts)
    }
    taken = {job: job.per_s * processes * len(seconds) for job in jobs}
    server_s = _server_cpu_s(history, seconds, endpoints, counts, jobs=taken, leak=leak)
    return Behaviour(
        customers=max(users.get(second, 0) for second in seconds),
        seconds=_seconds(rows, seconds, users, latency_s),
        endpoints=endpoints,
        jobs=jobs,
        standing=standing_of(history, first, last),
        first=_first(history, endpoints),
        setup=setup_of(scenario, history, leak, _most_each(endpoints.values(), jobs)),
        cpu_share=_cpu_share(history, seconds, endpoints, counts, jobs=taken, server_s=server_s, leak=leak),
        cpu_s=None if (busy_s := _busy_s(history, "service", seconds)) is None else busy_s / total,
        server_s=server_s,
        server_cores=_server_cores(history),
        limits=limits_of(history),
    )


def setup_of(
    scenario: Scenario, history: History, leak: Leak | None, each: Mapping[str, int] | None = None
) -> Setup:
    """Return how the service of a run was set up; its pools are those that the agent saw.

    `each` is how many connections of a pool a request has at once, at most, if that is known. Where the run
    had more at work than the scenario's threads can be, as coroutines are, these bound nothing.
    """
    said, seen = threads_of(scenario), threads_seen(history, each or {}, leak)
    newest = {(sample.pid, sample.pool): sample for sample in history.pools}
    return Setup(
        pools={
            sample.pool: PoolSetting(sample.size, sample.max_overflow, sample.timeout_s)
            for sample in sorted(newest.values(), key=lambda sample: sample.t_s)
        },
        processes=processes_of_service(history),
        threads=None if said is not None and seen > said else said,
        threads_said=said,
        threads_seen=seen,
        of_tasks=frozenset(sample.pool for sample in newest.values() if sample.kind.endswith(ASYNCIO_POOL)),
        think_s=scenario.load.think_time,
        push_share=scenario.load.push_share,
    )


def _most_each(endpoints: Iterable[Endpoint], jobs: Iterable[Job]) -> dict[str, int]:
    """Return how many connections of each pool a request takes in all, at most, if only requests do."""
    found = Counter[str]()
    for endpoint in endpoints:
        for pool, each in endpoint.in_all.items():
            found[pool] = max(found[pool], each)
    for job in jobs:
        found.pop(job.pool, None)
    return found


def _first(history: History, endpoints: Mapping[str, Endpoint]) -> Counter[str]:
    """Count the requests of the first seconds of the load, when all customers are new; empty for too few."""
    started_s = history.time_of(f.LOAD_STARTED) or 0.0
    found = Counter[str]()
    for row in history.requests:
        if math.floor(started_s) <= row.t_s < started_s + FIRST_S and row.endpoint in endpoints:
            found[row.endpoint] += row.count
    return found if found.total() >= FEWEST_FIRST else Counter()


def _users(history: History) -> Counter[int]:
    users = Counter[int]()
    for sample in history.generator:
        users[sample.t_s] += sample.users
    return users


def _latencies(rows: Iterable[f.RequestCount]) -> dict[str, float]:
    """Return the mean time of an answer by endpoint."""
    took: dict[str, float] = defaultdict(float)
    counts = Counter[str]()
    for row in rows:
        took[row.endpoint] += _took_s(row)
        counts[row.endpoint] += row.count
    return {endpoint: took[endpoint] / count for endpoint, count in counts.items()}


def _took_s(row: f.RequestCount) -> float:
    """Return how long the requests of a row took, all together."""
    buckets = bucket_counts(row.latency)
    total = sum(buckets.values())
    return (
        math.fsum(bucket_ms(bucket) * count for bucket, count in buckets.items()) / total / 1000 * row.count
        if total
        else 0.0
    )


def _seconds(
    rows: Iterable[f.RequestCount],
    seconds: frozenset[int],
    users: Mapping[int, int],
    latency_s: Mapping[str, float],
) -> tuple[HealthySecond, ...]:
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    took: dict[int, float] = defaultdict(float)
    for row in rows:
        counts[row.t_s][row.endpoint] += row.count
        took[row.t_s] += _took_s(row)
    found = []
    for second in sorted(seconds):
        usual_s = math.fsum(latency_s[name] * count for name, count in counts[second].items())
        pace = None
        if counts[second].total() >= FEWEST_TO_PACE and usual_s > 0:
            pace = min(max(took[second] / usual_s, PACES[0]), PACES[1])
        found.append(HealthySecond(users.get(second, 0), dict(counts[second]), pace))
    return tuple(found)


def _reuses(leak: Leak | None, endpoint: Endpoint) -> TypeGuard[Leak]:
    """Whether requests of this endpoint use a connection that an earlier one left with their thread."""
    return leak is not None and "thread" in leak.kinds and leak.is_of(endpoint.name)


def _busy_s(history: History, component: str, seconds: frozenset[int]) -> float | None:
    """Return the CPU seconds beyond what the component uses when nothing is asked of it; None: not measured.

    That is the least that it used during the load, if a second of that was quiet, and else at any time of the
    run: before the load, or after it. A second of a long computation, in which few requests end, looks quiet.
    """
    used = [(math.floor(own.t_s), own.cpu_cores) for own in history.host if own.component == component]
    cores = [share for second, share in used if second in seconds]
    if not cores:
        return None
    asked = Counter[int]()
    for row in history.requests:
        asked[row.t_s] += row.count
    few = QUIET * sum(asked[second] for second in seconds) / len(seconds)
    quiet = any(second in seconds and asked[second] <= few for second, _ in used)
    idle = min(cores if quiet else [share for _, share in used])
    return (math.fsum(cores) / len(cores) - idle) * len(seconds)


def _server_cpu_s(
    history: History,
    seconds: frozenset[int],
    endpoints: Mapping[str, Endpoint],
    counts: Mapping[str, int],
    *,
    jobs: Mapping[Job, float],
    leak: Leak | None,
) -> dict[str, float]:
    """Return the CPU seconds of each server for a check-out; `jobs` says how many each took."""
    taken: dict[str, float] = defaultdict(float)
    for job, checkouts in jobs.items():
        taken[f.server_of(job.pool)] += checkouts
    for endpoint in endpoints.values():
        for visit in endpoint.visits:
            taken[f.server_of(visit.pool)] += visit.per_request * counts[endpoint.name]
        if _reuses(leak, endpoint):
            taken[f.server_of(leak.pool)] += counts[endpoint.name]
    found = {}
    for server, checkouts in taken.items():
        if checkouts and (busy_s := _busy_s(history, server, seconds)) is not None:
            found[server] = busy_s / checkouts
    return found


def _cpu_share(
    history: History,
    seconds: frozenset[int],
    endpoints: Mapping[str, Endpoint],
    counts: Mapping[str, int],
    *,
    jobs: Mapping[Job, float],
    server_s: Mapping[str, float],
    leak: Leak | None,
) -> float | None:
    """The share of the time which requests and jobs spend in the process that is CPU time there."""
    busy_s = _busy_s(history, "service", seconds)
    if busy_s is None:
        return None
    spent_s = math.fsum(
        checkouts * max(0.0, job.hold_s - server_s.get(f.server_of(job.pool), 0.0))
        for job, checkouts in jobs.items()
    )
    for endpoint in endpoints.values():
        at_servers_s = math.fsum(
            visit.per_request * min(visit.hold_s, server_s.get(f.server_of(visit.pool), 0.0))
            for visit in endpoint.visits
        )
        if _reuses(leak, endpoint):
            at_servers_s += server_s.get(f.server_of(leak.pool), 0.0)
        spent_s += max(0.0, endpoint.latency_s - at_servers_s) * counts[endpoint.name]
    return min(1.0, max(0.001, busy_s / spent_s)) if spent_s else None


def _server_cores(history: History) -> dict[str, float]:
    cores = history.environment.cpu_count if history.environment else None
    found: dict[str, float] = {}
    for sample in history.host:
        limit = sample.limit_cores or cores
        if limit:
            found[sample.component] = float(limit)
    return found
