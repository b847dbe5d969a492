"""Folds facts into the live state, for the live view (pure); its memory does not grow with the run."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from typing import Final

from rushhour.diagnosis.units import after_what, unit_of_endpoint
from rushhour.observe.live_state import HolderGauge, LiveState, PoolGauge
from rushhour.rundir import facts as f

_Holder = tuple[str, f.CallSite, str | None]  # pool, site, endpoint

Fact = f.PoolFact | f.ServerSample | f.HostSample | f.GeneratorSample | f.RequestCount | f.Event

# A worker, process or component has ended if its newest fact is this much older than that of the others.
_STALE_S: Final = 3.0
_GONE_S: Final = 60.0  # after this time it will not come back
_STALE_HOST_S: Final = 5.0
_STALE_WORKER_S: Final = 10.0  # workers of a distributed run report every three seconds
_SETTLED_S: Final = 0.5  # after the end of a second its rows have been written
_KEPT_SECONDS: Final = 30
_KEPT_MOMENTS: Final = 12
_KEPT_HOLDERS: Final = 12


class LiveFold:
    """Folds facts, in any order between kinds; the state can be read at any time."""

    def __init__(self) -> None:
        self._load_started_s: float | None = None
        self._load_ended_s: float | None = None
        self._requests = 0
        self._server_errors = 0
        self._seconds: dict[int, tuple[int, int]] = {}  # second -> requests, server errors that ended in it
        self._workers: dict[str, f.GeneratorSample] = {}
        self._pools: dict[str, dict[int, f.PoolSample]] = {}  # name -> process -> newest
        self._out: dict[
            tuple[int, int], f.CheckOut
        ] = {}  # (process, id) -> a notable check-out that has not come back
        self._sites: dict[
            tuple[int, _Holder], f.SiteTotal
        ] = {}  # bounded by the number of call sites in the code
        self._past_timeouts: dict[str, int] = {}  # of processes that are no longer in _pools
        self._host: dict[str, f.HostSample] = {}
        self._replica: f.ServerSample | None = None
        self._moments: deque[str] = deque(maxlen=_KEPT_MOMENTS)
        self._log_errors_shown = False

    def feed(self, facts: Iterable[Fact]) -> None:
        for fact in facts:
            match fact:
                case f.PoolSample():
                    self._sample(fact)
                case f.CheckOut() | f.SiteTotal():
                    self._hold(fact)
                case f.HostSample():
                    self._host[fact.component] = fact
                case f.ServerSample() if fact.in_recovery or fact.server == "replica":
                    self._replica = fact
                case f.GeneratorSample():
                    last = self._workers.get(fact.worker)
                    if last is None or fact.t_s >= last.t_s:
                        self._workers[fact.worker] = fact
                case f.RequestCount():
                    self._count(fact)
                case f.Event():
                    self._event(fact)
                case _:
                    pass  # kept for the diagnosis, not for the live view

    def state(self, now_s: float) -> LiveState:
        """Return the state at `now_s`, in seconds since the run's anchor."""
        workers = self._live_workers()
        second = self._last_second(workers, now_s)
        requests, errors = self._seconds.get(second, (0, 0)) if second is not None else (None, None)
        host = self._live_host()
        until_s = now_s if self._load_ended_s is None else self._load_ended_s
        return LiveState(
            elapsed_s=0.0 if self._load_started_s is None else max(0.0, until_s - self._load_started_s),
            users=sum(sample.users for sample in workers) if workers else None,
            rps=None if requests is None else float(requests),
            server_errors_per_s=None if errors is None else float(errors),
            requests=self._requests,
            server_errors=self._server_errors,
            pools=tuple(
                gauge(name, processes.values(), self._past_timeouts.get(name, 0))
                for name, processes in sorted(self._pools.items())
            ),
            holders=holders(self._out.values(), self._sites.values(), now_s)[:_KEPT_HOLDERS],
            cpu_cores={name: sample.cpu_cores for name, sample in host.items()},
            cpu_limits={
                name: sample.limit_cores for name, sample in host.items() if sample.limit_cores is not None
            },
            lag_s=None if self._replica is None else self._replica.lag_s,
            moments=tuple(self._moments),
        )

    def _sample(self, sample: f.PoolSample) -> None:
        processes = self._pools.setdefault(sample.pool, {})
        if sample.pid not in processes:
            for pid, last in list(processes.items()):
                if sample.t_s - last.t_s > _GONE_S:
                    del processes[pid]
                    past = self._past_timeouts.get(sample.pool, 0)
                    self._past_timeouts[sample.pool] = past + last.timeouts
        processes[sample.pid] = sample

    def _hold(self, fact: f.CheckOut | f.SiteTotal) -> None:
        if isinstance(fact, f.SiteTotal):
            self._sites[fact.pid, (fact.pool, fact.site, fact.endpoint)] = fact
        elif fact.returned_s is None:
            self._out[fact.pid, fact.id] = fact
        else:
            self._out.pop((fact.pid, fact.id), None)

    def _count(self, row: f.RequestCount) -> None:
        errors = row.count if row.outcome in f.SERVER_ERRORS else 0
        self._requests += row.count
        self._server_errors += errors
        old = self._seconds.get(row.t_s, (0, 0))
        self._seconds[row.t_s] = (old[0] + row.count, old[1] + errors)
        if len(self._seconds) > _KEPT_SECONDS:
            del self._seconds[min(self._seconds)]

    def _live_workers(self) -> list[f.GeneratorSample]:
        newest = max((sample.t_s for sample in self._workers.values()), default=0)
        return [sample for sample in self._workers.values() if newest - sample.t_s <= _STALE_WORKER_S]

    def _last_second(self, workers: list[f.GeneratorSample], now_s: float) -> int | None:
        """Return the newest second that every worker has reported and whose rows have been written."""
        if not workers:
            return None
        second = min(sample.t_s for sample in workers)
        return min(second, int(now_s - 1 - _SETTLED_S))

    def _live_host(self) -> dict[str, f.HostSample]:
        newest = max((sample.t_s for sample in self._host.values()), default=0.0)
        return {name: sample for name, sample in self._host.items() if newest - sample.t_s <= _STALE_HOST_S}

    def _event(self, event: f.Event) -> None:
        if event.name == f.LOAD_STARTED:
            self._load_started_s = event.t_s
        elif event.name == f.LOAD_ENDED:
            self._load_ended_s = event.t_s
        elif event.name == f.LOG_ERRORS:
            if self._log_errors_shown:
                return
            self._log_errors_shown = True
        if (words := in_words(event)) is not None:
            since_s = event.t_s - (self._load_started_s or 0.0)  # as in the report
            when = f"{since_s:.1f} s" if since_s >= 0 else "before the load"
            self._moments.append(f"{when}  {words}")


def gauge(name: str, samples: Iterable[f.PoolSample], past_timeouts: int = 0) -> PoolGauge:
    """Sum the samples of a pool over its processes; ended processes add only their time-outs."""
    samples = list(samples)
    newest = max(sample.t_s for sample in samples)
    live = [sample for sample in samples if newest - sample.t_s <= _STALE_S]
    capacities = [sample.capacity for sample in live]
    return PoolGauge(
        pool=name,
        checked_out=sum(sample.checked_out for sample in live),
        capacity=None if None in capacities else sum(capacity or 0 for capacity in capacities),
        waiting=sum(sample.waiting for sample in live),
        leaked=sum(sample.leaked for sample in live),
        timeouts=past_timeouts + sum(sample.timeouts for sample in samples),
    )


def holders(
    out: Iterable[f.CheckOut], totals: Iterable[f.SiteTotal], now_s: float
) -> tuple[HolderGauge, ...]:
    """Return call sites ordered by leaked connections, connections out, and connection-seconds."""
    ages: dict[_Holder, list[float]] = {}
    leaked: Counter[_Holder] = Counter()
    checkouts: Counter[_Holder] = Counter()
    held_s: defaultdict[_Holder, float] = defaultdict(float)
    for total in totals:
        key = (total.pool, total.site, total.endpoint)
        checkouts[key] += total.checkouts
        held_s[key] += total.held_s
    for checkout in out:
        key = (checkout.pool, checkout.site, checkout.endpoint)
        ages.setdefault(key, []).append(max(0.0, now_s - checkout.taken_s))
        leaked[key] += checkout.request_ended_s is not None
    gauges = [
        HolderGauge(
            pool=key[0],
            site=f"{key[1].file}:{key[1].line} {key[1].function}",
            endpoint=key[2],
            out=len(ages.get(key, ())),
            leaked=leaked[key],
            oldest_s=round(max(ages.get(key, [0.0])), 1),
            checkouts=checkouts[key],
            held_s=round(held_s[key] + sum(ages.get(key, ())), 1),
        )
        for key in {**checkouts, **ages}
    ]
    return tuple(
        sorted(gauges, key=lambda holder: (-holder.leaked, -holder.out, -holder.held_s, holder.site))
    )


def in_words(event: f.Event) -> str | None:
    """Describe an event in a line; None for events that the live view does not show."""
    try:
        if event.name == f.LEAK_DETECTED and event.detail["endpoint"] is None:
            return _LEAK_WITHOUT_REQUEST.format_map(event.detail)
        detail = event.detail
        if event.name == f.LEAK_DETECTED:
            detail = {**detail, "after": after_what(unit_of_endpoint(detail["endpoint"]), detail["leaked"])}
        return _WORDS[event.name].format_map(detail) if event.name in _WORDS else None
    except KeyError as missing:
        return f"{event.name} (without {missing})"


_LEAK_WITHOUT_REQUEST: Final = "leak in pool {pool}: {site}, {leaked} out after what they were taken for"
_WORDS: Final[dict[str, str]] = {
    f.POOL_FULL: "pool {pool} full: {checked_out} of {capacity}, {leaked} leaked",
    f.FIRST_TIMEOUT: "first QueuePool time-out: pool {pool}, {endpoint}",
    f.LEAK_DETECTED: "leak in pool {pool}: {site}, {endpoint}, {leaked} out {after}",
    f.SATURATION_DETECTED: "pool {pool} saturated: {waiting} wait, {checked_out} of {capacity} in use",
    f.LOG_ERRORS: "first errors in {source}.log: {queuepool_timeouts} QueuePool time-outs, {errors} others",
    f.WORKER_LOST: "Locust {worker} was lost with {users} customers",
    f.STACK_BROKE: "{what}",
    f.OBSERVER_FAULT: "observer {observer} failed: {error}",
}
