"""Computes signals of a run without the pool agent: HTTP, the log and the servers (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass

from rushhour.diagnosis.findings import Evidence
from rushhour.metrics.window import Window
from rushhour.rundir import History
from rushhour.rundir import facts as f

IDLE = "idle in transaction"
MOVED_S = 0.5  # a session that has moved since is somebody's
RECENT_S = 3.0  # before the watch ended
GOES_ON_S = 5.0  # time-outs that come for longer after the load are of requests that began after it
STARVED_SHARE = 0.85  # of the machine's cores: the service waits for CPU as well
BUSY_CORES = 0.8  # one interpreter can use one core


@dataclass(frozen=True, slots=True)
class Trouble:
    """A server between the first and the last pool time-out, from its samples then; ages in seconds."""

    server: str
    samples: int
    silent: int  # samples that it did not answer
    span_s: float
    active: int  # backends that ran a query, over all samples
    locked: int  # of them, those that waited for a lock
    idle: int  # backends that idled in a transaction, over all samples
    oldest_idle_s: float  # in any sample
    oldest_at_end_s: (
        float  # in the last sample of the load: 0 if what idled had gone on before the customers went
    )
    in_step: float  # mean, over the samples, of the youngest such age over the oldest


@dataclass(frozen=True, slots=True)
class Outside:
    """The signals of a run without the agent, from HTTP, the log and the servers."""

    idle_after_load: Mapping[str, int]  # server -> sessions idle in transaction since before the last request
    oldest_idle_s: float | None
    answered_between: int  # by the endpoints that timed out, from the first time-out to the last
    timeouts_between: int
    given_up: int  # requests whose customer gave up waiting: the service may still be at them
    troubled: Trouble | None  # the server with most backends in a transaction then
    goes_on: bool = False  # the service's log shows it at requests of the load when the watch ends
    machine_share: float | None = None  # of the machine's cores in use, from the first time-out to the last
    service_cores: float | None = None  # the service's CPU in the same time

    @property
    def leaked(self) -> bool:
        """Whether sessions stayed idle after the load that no request can still hold."""
        return not self.goes_on and self.given_up < sum(self.idle_after_load.values())

    @property
    def starved(self) -> bool:
        """Whether a session may have idled in its transaction because the service had no CPU to go on."""
        return (self.machine_share or 0.0) >= STARVED_SHARE or (self.service_cores or 0.0) >= BUSY_CORES

    @property
    def idle_share(self) -> float:
        """The share of idle backends among those in a transaction, during the trouble."""
        trouble = self.troubled
        return (
            trouble.idle / (trouble.idle + trouble.active)
            if trouble is not None and trouble.idle + trouble.active
            else 0.0
        )


def outside_signals(history: History, window: Window | None) -> Outside:
    """Compute the signals."""
    last: dict[str, f.ServerSample] = {}
    for sample in history.servers:
        if window and window.load_ended_s < sample.t_s <= window.end_s and sample.error is None:
            last[sample.server] = sample
    quiet_s = max((row.t_s + 1.0 for row in history.requests), default=0.0)  # the last request had ended
    quiet_s = max(quiet_s, window.load_ended_s) if window else quiet_s
    idle = {name: count for name, sample in last.items() if (count := _idle_since(sample, quiet_s))}
    late = [row for row in history.requests if row.outcome is f.Outcome.QUEUEPOOL_TIMEOUT]
    endpoints = {row.endpoint for row in late}
    answered = sum(
        row.count
        for row in history.requests
        if row.outcome is f.Outcome.OK and row.endpoint in endpoints and late[0].t_s < row.t_s < late[-1].t_s
    )
    span = _span(window, late)
    return Outside(
        idle_after_load=idle,
        oldest_idle_s=max((last[name].oldest_idle_in_xact_s or 0.0 for name in idle), default=None),
        answered_between=answered,
        timeouts_between=sum(row.count for row in late),
        given_up=sum(row.count for row in history.requests if row.outcome is f.Outcome.CLIENT_TIMEOUT),
        troubled=_troubled(history, span, window),
        goes_on=_goes_on(history, window),
        machine_share=_cpu_mean(history, f.MACHINE, span, of_limit=True),
        service_cores=_cpu_mean(history, "service", span),
    )


def _idle_since(sample: f.ServerSample, quiet_s: float) -> int:
    """Count sessions that have not moved since the last answer: a request without a customer is no leak.

    Nor is a session for whose lock another one of the same name still waits: a request may have both.
    """
    if not sample.backends:
        return sample.states.get(IDLE, 0)
    least_s = max(MOVED_S, sample.t_s - quiet_s)
    waited_for = {
        wait.blocked_by for wait in sample.lock_waits if wait.name and wait.name == wait.blocker_name
    }
    return sum(
        backend.state.startswith(IDLE) and backend.state_s >= least_s and backend.pid not in waited_for
        for backend in sample.backends
    )


def _goes_on(history: History, window: Window | None) -> bool:
    """Whether pool time-outs are logged long after the load, and still when the watch ends.

    A service whose event loop is blocked comes to its requests one after another.
    """
    late_s = [
        event.t_s
        for event in history.events
        if event.name == f.LOG_ERRORS
        and event.detail.get("queuepool_timeouts")
        and window is not None
        and window.load_ended_s < event.t_s <= window.end_s
    ]
    if window is None or not late_s:
        return False
    return late_s[-1] > window.end_s - RECENT_S and late_s[-1] > window.load_ended_s + GOES_ON_S


def _span(window: Window | None, late: list[f.RequestCount]) -> tuple[float, float] | None:
    """From the first pool time-out to the last, at most to the load's end: then nobody asks any more."""
    if window is None or not late:
        return None
    # A row counts what ended within its second.
    return late[0].t_s, min(late[-1].t_s + 1.0, max(window.load_ended_s, late[0].t_s + 1.0))


def _cpu_mean(
    history: History, component: str, span: tuple[float, float] | None, *, of_limit: bool = False
) -> float | None:
    """Cores that the component used, or their share of its limit; None when that was not seen."""
    if span is None:
        return None
    used = [
        sample.cpu_cores / (sample.limit_cores or 1.0) if of_limit else sample.cpu_cores
        for sample in history.host
        if sample.component == component
        and span[0] <= sample.t_s <= span[1]
        and (sample.limit_cores or not of_limit)
    ]
    return sum(used) / len(used) if used else None


def _troubled(history: History, span: tuple[float, float] | None, window: Window | None) -> Trouble | None:
    if span is None or window is None:
        return None
    from_s, to_s = span
    found = []
    for name in sorted({sample.server for sample in history.servers}):
        under_load = [
            sample
            for sample in history.servers
            if sample.server == name and from_s <= sample.t_s <= max(to_s, window.load_ended_s)
        ]
        found.append(_trouble(name, [sample for sample in under_load if sample.t_s <= to_s], under_load))
    seen = [item for item in found if item is not None]
    return max(seen, key=lambda item: item.idle + item.active, default=None)


def _idle_ages(sample: f.ServerSample) -> list[float]:
    return [backend.state_s for backend in sample.backends if backend.state.startswith(IDLE)]


def _trouble(server: str, samples: list[f.ServerSample], under_load: list[f.ServerSample]) -> Trouble | None:
    answered = [sample for sample in samples if sample.error is None]
    if not answered:
        return None
    ages = [_idle_ages(sample) for sample in answered]
    last = next(sample for sample in reversed(under_load) if sample.error is None)
    several = [each for each in ages if len(each) > 1 and max(each) > 0]
    return Trouble(
        server=server,
        samples=len(answered),
        silent=len(samples) - len(answered),
        span_s=answered[-1].t_s - answered[0].t_s,
        active=sum(item.states.get("active", 0) for item in answered),
        locked=sum(
            count for item in answered for wait, count in item.waits.items() if wait.startswith("Lock:")
        ),
        idle=sum(item.states.get(IDLE, 0) for item in answered),
        oldest_idle_s=max((max(each) for each in ages if each), default=0.0),
        oldest_at_end_s=max(_idle_ages(last), default=0.0),
        in_step=sum(min(each) / max(each) for each in several) / len(several) if several else 0.0,
    )


def leak_evidence_outside(outside: Outside) -> tuple[Evidence, ...]:
    """Return the evidence for a leak without the agent."""
    return (
        *(
            Evidence(
                f"sessions idle in transaction after the load, {server}",
                count,
                source="postgres.jsonl states",
            )
            for server, count in outside.idle_after_load.items()
        ),
        Evidence(
            "oldest of them",
            round(outside.oldest_idle_s or 0.0, 1),
            "s",
            "postgres.jsonl oldest_idle_in_xact_s",
        ),
        answers_evidence(outside),
    )


def trouble_evidence(outside: Outside, trouble: Trouble) -> tuple[Evidence, ...]:
    """Return what the server said while requests timed out."""
    return (
        Evidence("server", trouble.server, source="postgres.jsonl server"),
        Evidence(
            "backends in a transaction that waited for their client",
            f"{trouble.idle} of {trouble.idle + trouble.active}",
            source="postgres.jsonl states",
            meaning=f"in {trouble.samples} samples while requests timed out",
        ),
        Evidence("longest that one waited", round(trouble.oldest_idle_s, 1), "s", "postgres.jsonl backends"),
        Evidence(
            "youngest wait over oldest, mean over the samples",
            round(trouble.in_step, 2),
            source="postgres.jsonl backends",
            meaning="1: they began together",
        ),
        answers_evidence(outside),
    )


def answers_evidence(outside: Outside) -> Evidence:
    return Evidence(
        "requests answered by endpoints while these timed out",
        outside.answered_between,
        source="requests.jsonl outcome ok, queuepool_timeout",
        meaning=f"against {outside.timeouts_between} time-outs",
    )
