"""Measures how much of each part that can give way was used in a run (pure)."""

import math
from collections.abc import Iterator, Mapping
from typing import Final

from rushhour.forecast.threads import threads_of
from rushhour.jobs.capacity.facts import Resource
from rushhour.metrics.latencies import merge
from rushhour.metrics.requests import NO_WAIT
from rushhour.metrics.window import Window
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.scenario.model import Scenario

USED_UP: Final = 0.9  # from this share on a part makes work wait
LEAST_USE: Final = 0.05  # below this a line through it says nothing
MOST_WAIT: Final = 0.5  # of the busy backends, from which on locks and not work decide
POOL, THREADS, LOCKS, GENERATOR = "pool", "threads of the service", "locks", "load generator"
_LEVELS: Final = {GENERATOR: 5, LOCKS: 4, "server": 3, "service": 2, THREADS: 0, POOL: 1}
_FULL: Final = {LOCKS: MOST_WAIT, GENERATOR: math.inf}


def resources_of(
    scenario: Scenario, history: History, window: Window | None, metrics: Mapping[str, float | None]
) -> tuple[Resource, ...]:
    """Return the parts that were measured, the most used first."""
    if window is None:
        return ()
    found = [
        *_cpu(scenario, history, window),
        *_pools(history, window),
        *_threads(scenario, history, window),
        *_locks(history, window),
        *_generator(metrics),
    ]
    return tuple(sorted(found, key=lambda part: -part.share))


def used_up(parts: tuple[Resource, ...]) -> tuple[Resource, ...]:
    """Return the parts that make work wait. A load generator that does makes its run unknown instead."""
    return tuple(part for part in parts if part.share >= _FULL.get(part.name, USED_UP))


def gives_first(parts: tuple[Resource, ...]) -> Resource | None:
    """Return the part that gave way: of those that are used up, the one that makes the others wait.

    A server without CPU makes its callers hold connections longer, and so fills the pool and the threads in
    front of it. None when no part is used up.
    """
    return max(used_up(parts), key=lambda part: (part.level, part.share), default=None)


def _cpu(scenario: Scenario, history: History, window: Window) -> Iterator[Resource]:
    used: dict[str, list[f.HostSample]] = {}
    for sample in history.host:
        if window.measures(sample.t_s):
            used.setdefault(sample.component, []).append(sample)
    machine = next((sample.limit_cores for sample in history.host if sample.component == "machine"), None)
    for component, samples in used.items():
        if component.startswith(("generator", "harness", "worker")):
            continue
        cores = sum(sample.cpu_cores for sample in samples) / len(samples)
        limit = samples[-1].limit_cores
        if component == "service":
            # A process of CPython runs its threads on one core.
            limit = min(limit or scenario.service.workers, float(scenario.service.workers))
        limit = limit or machine
        if limit:
            name = "CPU of the machine" if component == "machine" else f"CPU of the {component}"
            level = _LEVELS["service" if component == "service" else "server"]
            yield Resource(name, cores / limit, f"{cores:.2f} of {limit:g} cores on average", level)


def _pools(history: History, window: Window) -> Iterator[Resource]:
    series: dict[tuple[int, str], list[f.PoolSample]] = {}
    for sample in history.pools:
        if window.measures(sample.t_s) and sample.capacity:
            series.setdefault((sample.pid, sample.pool), []).append(sample)
    by_pool: dict[str, Resource] = {}
    for (_, pool), samples in series.items():
        capacity = samples[-1].capacity or 1
        # A pool that is full for a moment serves well; what counts is for how long most of it was out.
        ordered = sorted(sample.checked_out for sample in samples)
        out = ordered[int(0.9 * (len(ordered) - 1))]
        waiting = max(sample.waiting for sample in samples)
        evidence = f"{out} of {capacity} connections or more out in a tenth of the time"
        evidence += f", {waiting} waiting at most" if waiting else ""
        part = Resource(f"{POOL} {pool}", out / capacity, evidence, _LEVELS[POOL])
        if pool not in by_pool or part.share > by_pool[pool].share:
            by_pool[pool] = part
    yield from by_pool.values()


def _threads(scenario: Scenario, history: History, window: Window) -> Iterator[Resource]:
    """Yield how many threads had a request on average, by Little's law: requests a second times latency.

    Requests that wait for a thread are in the service too, so that there may be more of them than threads.
    """
    if (threads_each := threads_of(scenario)) is None:
        return
    rows = [row for row in history.requests if row.outcome not in NO_WAIT and window.in_whole_second(row.t_s)]
    if not rows or not window.whole_seconds:
        return
    merged = merge(row.latency for row in rows)
    busy = sum(row.count for row in rows) / window.whole_seconds * merged.get_mean_value() / 1e6
    threads = scenario.service.workers * threads_each
    evidence = f"{busy:.1f} of {threads} had a request on average"
    if busy > threads:
        evidence = f"all {threads} had a request, and {busy - threads:.0f} waited for a thread, on average"
    yield Resource(THREADS, min(1.0, busy / threads), evidence, _LEVELS[THREADS])


def _locks(history: History, window: Window) -> Iterator[Resource]:
    """Yield the share of a server's busy backends that waited for a lock, of the server with the most."""
    found = []
    for server in {sample.server for sample in history.servers}:
        samples = [s for s in history.servers if s.server == server and window.measures(s.t_s)]
        waiting = sum(
            count for sample in samples for wait, count in sample.waits.items() if wait.startswith("Lock:")
        )
        active = sum(sample.states.get("active", 0) for sample in samples)
        if active:
            evidence = (
                f"{waiting} of {active} busy backends of the {server} waited for a lock, in all samples"
            )
            found.append(Resource(LOCKS, waiting / active, evidence, _LEVELS[LOCKS]))
    yield from sorted(found, key=lambda part: -part.share)[:1]


def _generator(metrics: Mapping[str, float | None]) -> Iterator[Resource]:
    cores = metrics.get("generator_cpu_cores_max")
    if cores is not None:
        evidence = f"{cores:.2f} cores in its busiest second"
        yield Resource(GENERATOR, cores, evidence, _LEVELS[GENERATOR])


def next_limit(
    holding: tuple[Resource, ...], giving: tuple[Resource, ...], rate: float
) -> tuple[str, float] | None:
    """Return the part that would give way next, and the rate at which it would be used up.

    `holding` are the parts at `rate`, at which the release held: use grows with the rate. Parts that are used
    up among `giving`, where it gave way, are left out: those behind the first waited for it. None when no
    other part was used enough to tell.
    """
    waited = {GENERATOR, *(part.name for part in used_up(giving))}
    others = [part for part in holding if part.name not in waited and part.share >= LEAST_USE]
    if not others:
        return None
    part = max(others, key=lambda each: each.share)
    return part.name, rate / part.share
