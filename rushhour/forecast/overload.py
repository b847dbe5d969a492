"""Finds the times of a day at which a process is asked for more than it can do, for long (pure).

The windows of a day that are replayed are seconds long. A queue that grows for minutes is seen by the fluid
limit of the closed network (Denning and Buzen, The Operational Analysis of Queueing Network Models, 1978:
asymptotic bounds): a process answers at most as many requests a second as its bottleneck does, and those of
its customers who do not think then wait there.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from rushhour.forecast.customers import Maker
from rushhour.forecast.place import Place
from rushhour.rundir.facts import server_of

STEP_SHARE: Final = 1 / 200  # of a day
STEPS_OF_A_SLOPE: Final = 5  # at least: a peak may rise and fall in minutes
LEFT: Final = 1e-3  # of a pool, and of a core, to requests beside jobs that need them all
LASTING_S: Final = 60.0  # an overload that is more than a burst


@dataclass(frozen=True, slots=True)
class Load:
    """What a request of a process asks for, on average, and what the process has; math.inf: no limit."""

    think_s: float  # of a customer, between an answer and the next request
    latency_s: float  # of a request that waits nowhere
    threads: float
    checkouts: float  # of a request, from one pool
    hold_s: float  # connection-seconds of a request, of that pool
    capacity: float  # of that pool
    timeout_s: float  # of that pool
    server_per_s: float = math.inf  # requests for which the pool's server has CPU


@dataclass(frozen=True, slots=True)
class Step:
    """A time of the day, and the customers of a process in it."""

    start_s: float
    end_s: float
    customers: float


def steps_of(place: Place) -> list[Step]:
    """Return successive times of the day; none of them has a part of two slopes."""
    most_s = place.day.length_s * STEP_SHARE
    each = place.customers / place.processes
    steps = []
    for (from_s, before), (to_s, after) in pairwise(place.day.points):
        count = max(1 if before == after else STEPS_OF_A_SLOPE, math.ceil((to_s - from_s) / most_s))
        step_s = (to_s - from_s) / count
        for number in range(count):
            share = before + (after - before) * (number + 0.5) / count
            steps.append(Step(from_s + number * step_s, from_s + (number + 1) * step_s, each * share))
    return steps


def loads_of(place: Place, maker: Maker) -> dict[str, Load]:
    """Return the load of each pool of a process; what jobs take of it and of its server is not there."""
    drawn, behaviour = maker.drawn, maker.behaviour
    visits = [
        (share * visit.per_request, visit)
        for name, share in drawn.shares().items()
        for visit in behaviour.endpoints[name].visits
    ]
    found = {}
    for name, rules in place.pools.items():
        server = server_of(name)
        own = [(each, visit) for each, visit in visits if visit.pool == name]
        at_server = math.fsum(each for each, visit in visits if server_of(visit.pool) == server)
        cpu_s = behaviour.server_s.get(server, 0.0) * at_server
        cores = behaviour.server_cores.get(server, math.inf) / place.processes
        jobs = [(job, per_s) for job, per_s in drawn.jobs if server_of(job.pool) == server]
        cores -= math.fsum(per_s for _, per_s in jobs) * behaviour.server_s.get(server, 0.0)
        taken = math.fsum(per_s * job.hold_s for job, per_s in jobs if job.pool == name)
        taken += behaviour.standing.get(name, 0)
        capacity = math.inf if rules.capacity is None else rules.capacity
        found[name] = Load(
            think_s=1.0 / drawn.per_customer_s,
            latency_s=maker.mean_s(),
            threads=math.inf if place.threads is None else place.threads,
            checkouts=math.fsum(each for each, _ in own),
            hold_s=math.fsum(each * visit.hold_s for each, visit in own),
            capacity=max(LEFT * capacity, capacity - taken),
            timeout_s=rules.timeout_s,
            server_per_s=max(LEFT, cores) / cpu_s if cpu_s else math.inf,
        )
    return found


def pool_wait_s(load: Load, customers: float) -> float:
    """Return how long a check-out waits in the long run, beside so many customers of the process."""
    if not load.checkouts or not load.hold_s or math.isinf(load.capacity):
        return 0.0
    per_s = min(load.capacity / load.hold_s, load.server_per_s)
    present = min(customers - per_s * load.think_s, load.threads)
    elsewhere = load.capacity + per_s * max(0.0, load.latency_s - load.hold_s)
    return max(0.0, present - elsewhere) / (per_s * load.checkouts)


def times_out_after_s(load: Load, customers: float) -> float:
    """Return how long so many customers take until a check-out has waited for its time-out; math.inf: never.

    The more wait, the fewer think: the queue comes near its length as exp(-t / think time).
    """
    if pool_wait_s(load, customers) <= load.timeout_s:
        return math.inf
    unbounded_s = pool_wait_s(replace(load, threads=math.inf), customers)
    return load.timeout_s - load.think_s * math.log1p(-load.timeout_s / unbounded_s)


def threads_needed(load: Load, customers: float) -> float:
    """Return how many threads have a request on average, if none waits for a thread (Little's law)."""
    return customers * load.latency_s / (load.think_s + load.latency_s)


def lasting_since(steps: Iterable[Step], least_s: Callable[[float], float]) -> Step | None:
    """Return the step from which on so many customers stay for long enough; None: never.

    `least_s` says how long so many have to stay; math.inf: they are few enough.
    """
    since: Step | None = None
    for step in steps:
        after_s = least_s(step.customers)
        if math.isinf(after_s):
            since = None
            continue
        since = step if since is None else since
        if step.end_s - since.start_s >= after_s:
            return since
    return None


def lasts(steps: Iterable[Step], overloaded: Callable[[float], bool]) -> bool:
    """Return whether so many customers stay for longer than a burst lasts."""
    return (
        lasting_since(steps, lambda customers: LASTING_S if overloaded(customers) else math.inf) is not None
    )
