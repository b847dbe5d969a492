"""Reads from a run what its customers ask of the pools of a process (pure)."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import fsum
from typing import Final

from rushhour.errors import InsufficientDataError
from rushhour.forecast.checkouts import CheckOuts, count_checkouts
from rushhour.forecast.demand import (
    ANY,
    FEWEST_CHECKOUTS,
    Demand,
    EndpointDemand,
    PoolDemand,
    Second,
    SiteDemand,
    Use,
)
from rushhour.forecast.durations import from_buckets
from rushhour.forecast.healthy import HealthySeconds, healthy_seconds, without_crowded
from rushhour.forecast.limits import limits_of
from rushhour.forecast.processes import processes_of
from rushhour.forecast.standing import standing_of
from rushhour.forecast.threads import near_whole, threads_of, threads_seen
from rushhour.metrics.latencies import merge
from rushhour.metrics.requests import NO_WAIT
from rushhour.metrics.waits import waits_p99_ms
from rushhour.metrics.window import find_window
from rushhour.metrics.wording import counted
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.rundir.facts import server_of
from rushhour.scenario.model import Scenario

LEAST_JOINED: Final = 0.8  # of the check-outs have an endpoint that the customers' requests have too
_OVERLAP: Final = 0.8  # a request that is shorter than this share of its holds held them at the same time
_NOT_OF_THE_SERVICE: Final = frozenset({"generator", "harness"})


def read_demand(run: str, scenario: Scenario, history: History) -> Demand:
    """Read the demand of a run; `run` names it in messages.

    Only healthy seconds count (healthy.py). Raises InsufficientDataError if the run has no agent, no such
    second or too few check-outs.
    """
    healthy = without_crowded(healthy_seconds(run, scenario, history), history)
    seconds = len(healthy.seconds)
    checkouts = count_checkouts(history, healthy)
    came_back = {name: checkouts.total(name).came_back for name in {key.pool for key in checkouts.by_site}}
    few = {name: count for name, count in came_back.items() if count < FEWEST_CHECKOUTS}
    samples = [sample for sample in history.pools if healthy.holds(sample.t_s)]
    names = sorted((came_back.keys() - few.keys()) & {sample.pool for sample in samples})
    if not names:
        most = counted(max(came_back.values(), default=0), "check-out")
        raise InsufficientDataError(
            f"{run}: at most {most} of a pool came back in {counted(seconds, 'healthy second')}, and "
            f"at least {FEWEST_CHECKOUTS} are needed: run it longer, or with more customers"
        )
    requests, latency_s = _requests(history, healthy)
    customers, sent = healthy.customers(history), healthy.sent(history)
    per_s = sum(sent.get(second, 0) for second in healthy.seconds) / seconds
    present = [customers.get(second, 0) for second in healthy.seconds]
    if not requests or not per_s or not any(present) or not checkouts.hold_us:
        raise InsufficientDataError(
            f"{run}: no customer, no request or no histogram of holds in healthy seconds; run it again"
        )
    mean_s = fsum(latency_s[name] * count for name, count in requests.items()) / requests.total()
    counts = processes_of(history, samples)
    standing = standing_of(history, min(healthy.seconds), max(healthy.seconds) + 1)
    pools = tuple(
        replace(_pool(name, checkouts, samples, seconds, counts[name]), standing=standing.get(name, 0))
        for name in names
    )
    processes = max(pool.processes for pool in pools)
    cores = _cores(history, healthy, processes)
    cpu = _cpu(history, healthy, cores)
    asked = Counter[str]()  # check-outs of a server's pools
    for pool in pools:
        asked[server_of(pool.name)] += pool.checkouts

    waits_ms = waits_p99_ms(history, find_window(history, scenario.load.warm_up))

    def known(pool: PoolDemand) -> PoolDemand:
        server = server_of(pool.name)
        used = cpu.get(server, 0.0) * cores.get(server, 0.0) * seconds
        waited_ms = waits_ms.get(pool.name)
        return replace(
            pool,
            cpu_s=used / asked[server] if used else None,
            waited_p99_s=None if waited_ms is None else (waited_ms / 2e3, waited_ms / 1e3),
        )

    answered: dict[int, Counter[str]] = defaultdict(Counter)
    for row in history.requests:
        for sent_s in (row.t_s, row.t_s - 1):  # rows are of the second in which requests ended
            answered[sent_s][row.endpoint] += row.count

    def second(at_s: int) -> Second:
        count, held_s = checkouts.per_second.get(at_s, (0, 0.0))
        return Second(at_s, customers.get(at_s, 0), sent.get(at_s, 0), count, held_s, answered[at_s])

    endpoints = _endpoints(names, checkouts, requests, latency_s)
    return Demand(
        run=run,
        service=scenario.target.name,
        release=scenario.release,
        scenario=scenario.name,
        customers=max(present),
        think_s=max(0.0, sum(present) / seconds / per_s - mean_s),
        requests_per_s=per_s,
        endpoints=endpoints,
        pools=tuple(map(known, pools)),
        processes=processes,
        threads=_threads(scenario, history, endpoints, pools),
        instances=1,
        seconds=tuple(map(second, sorted(healthy.seconds))),
        full=tuple(map(second, sorted(healthy.full))),
        cpu=cpu,
        cores=cores,
        limits=limits_of(history),
        latency_s=mean_s,
        few=few,
        open_arrivals=bool(scenario.load.arrivals),
    )


def _requests(history: History, healthy: HealthySeconds) -> tuple[Counter[str], dict[str, float]]:
    """Count the requests of each endpoint that ended in healthy seconds; and the mean seconds they took."""
    counts = Counter[str]()
    encoded: dict[str, list[str]] = defaultdict(list)
    for row in history.requests:
        if row.t_s in healthy.seconds and row.count > 0:
            counts[row.endpoint] += row.count
            if row.outcome not in NO_WAIT:
                encoded[row.endpoint].append(row.latency)
    return counts, {name: float(merge(encoded[name]).get_mean_value()) / 1e6 for name in counts}


def _endpoints(
    pools: list[str], checkouts: CheckOuts, requests: Counter[str], latency_s: Mapping[str, float]
) -> tuple[EndpointDemand, ...]:
    """Join the check-outs and the requests of each endpoint.

    Check-outs without an endpoint, or with an endpoint of no customer's, are spread evenly over all requests.
    """
    endpoints = {key.endpoint for key in checkouts.by_site}
    others = endpoints - requests.keys()
    everything = sum(checkouts.total(pool).count for pool in pools)
    joined = sum(checkouts.total(pool, endpoints - others).count for pool in pools)
    if joined < LEAST_JOINED * everything:
        uses = _uses(pools, checkouts, None, requests.total())
        mean_s = fsum(latency_s[name] * count for name, count in requests.items()) / requests.total()
        return (_endpoint(ANY, 1.0, uses, mean_s, checkouts),)
    spread = _uses(pools, checkouts, others, requests.total())
    return tuple(
        _endpoint(
            name,
            count / requests.total(),
            [*_uses(pools, checkouts, {name}, count), *spread],
            latency_s[name],
            checkouts,
        )
        for name, count in sorted(requests.items())
    )


def _uses(
    pools: list[str], checkouts: CheckOuts, endpoints: set[str] | set[str | None] | None, requests: int
) -> list[Use]:
    found = []
    for pool in pools:
        total = checkouts.total(pool, endpoints)
        if total.count and total.held_s > 0:
            found.append(Use(pool, near_whole(total.count / requests), checkouts.holds(pool, total)))
    return found


def _endpoint(
    name: str, share: float, uses: list[Use], latency_s: float, checkouts: CheckOuts
) -> EndpointDemand:
    each_s = [use.per_request * (use.hold.mean_s + checkouts.mean_wait_s(use.pool)) for use in uses]
    overlaps = len({use.pool for use in uses}) > 1 and latency_s < _OVERLAP * fsum(each_s)
    inside_s = max(each_s) if overlaps else fsum(each_s)
    return EndpointDemand(name, share, tuple(uses), max(0.0, latency_s - inside_s), overlaps, latency_s)


def _pool(
    name: str, checkouts: CheckOuts, samples: list[f.PoolSample], seconds: int, processes: int
) -> PoolDemand:
    own = [sample for sample in samples if sample.pool == name]
    newest = max(own, key=lambda sample: sample.t_s)
    whole = checkouts.total(name)
    created = checkouts.create_us.get(name, Counter[int]())
    sites = [
        SiteDemand(
            pool=name,
            site=key.site,
            endpoint=key.endpoint,
            checkouts_per_s=total.count / seconds,
            hold_s=total.mean_s,
            longest_s=total.longest_s,
            share=total.held_s / whole.held_s if whole.held_s else 0.0,
        )
        for key, total in checkouts.by_site.items()
        if key.pool == name
    ]
    return PoolDemand(
        name=name,
        size=newest.size,
        max_overflow=newest.max_overflow,
        timeout_s=newest.timeout_s,
        processes=processes,
        checkouts=whole.count,
        hold=checkouts.holds(name, whole),
        create_s=from_buckets(created).mean_s if created.total() else None,
        in_use_max=max(sample.checked_out for sample in own),
        sites=tuple(sorted(sites, key=lambda site: -site.share)),
        beside=_beside([sample for sample in samples if server_of(sample.pool) == server_of(name)]),
    )


def _beside(samples: Sequence[f.PoolSample]) -> float:
    """Return how many connections were out while one was: the mean over connections, not over time."""
    out = Counter[float]()  # the agents of all processes write their samples at about the same moments
    for sample in samples:
        out[round(sample.t_s, 1)] += sample.checked_out
    total = sum(out.values())
    return sum(count * count for count in out.values()) / total if total else 1.0


def _threads(
    scenario: Scenario,
    history: History,
    endpoints: Sequence[EndpointDemand],
    pools: Sequence[PoolDemand],
) -> int | None:
    """Return the threads of a process, if the scenario says them to the service.

    Where its requests had more connections out at once than so many threads can have, as coroutines have,
    these bound nothing.
    """
    threads = threads_of(scenario)
    each = {pool.name: most_each(endpoints, pool) for pool in pools}
    seen = threads_seen(history, {name: most for name, most in each.items() if most is not None})
    return None if threads is not None and seen > threads else threads


def most_each(endpoints: Sequence[EndpointDemand], pool: PoolDemand) -> int | None:
    """Return how many connections of a pool a request has at once, at most: as many as it takes in all.

    None: not only requests take them, but jobs or threads of the service's own, or nothing says who does.
    """
    names = {endpoint.name for endpoint in endpoints}
    if not pool.sites or any(site.endpoint not in names for site in pool.sites):
        return None
    each = [fsum(use.per_request for use in endpoint.uses if use.pool == pool.name) for endpoint in endpoints]
    return max(1, math.ceil(max(each, default=1.0)))


def _cores(history: History, healthy: HealthySeconds, processes: int) -> dict[str, float]:
    """Return how many cores each component may use: its limit, or the machine's where it has none.

    A Python process computes on one core at a time, however many threads it has.
    """
    machine = history.environment.cpu_count if history.environment else None
    found: dict[str, float] = {}
    for sample in history.host:
        limit = sample.limit_cores or machine
        if limit and healthy.holds(sample.t_s) and sample.component not in _NOT_OF_THE_SERVICE:
            found[sample.component] = min(limit, processes) if sample.component == "service" else limit
    return found


def _cpu(history: History, healthy: HealthySeconds, cores: Mapping[str, float]) -> dict[str, float]:
    """Return the mean share of its CPU that each component used."""
    used: dict[str, list[float]] = defaultdict(list)
    for sample in history.host:
        if sample.component in cores and healthy.holds(sample.t_s):
            used[sample.component].append(sample.cpu_cores)
    return {component: fsum(found) / len(found) / cores[component] for component, found in used.items()}
