"""Finds what voids a run, so that it says nothing about the release (pure)."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from rushhour.metrics.measure import Metrics, p95_of_seconds
from rushhour.metrics.window import Window
from rushhour.metrics.wording import counted
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.scenario.arrivals import expected
from rushhour.scenario.model import Scenario
from rushhour.verdict.lost import has_losses, lost_everything
from rushhour.verdict.schedule import unexplained

LATENESS_P99_MS: Final = 100.0
STALL_MS: Final = 2000.0
CPU_CORES: Final = 0.9  # of one core: a Locust process cannot use a second one
CPU_SHARE: Final = 0.1  # of the measured seconds
OTHERS_SHARE: Final = 0.25  # of the machine's cores, used by processes outside of the run
USERS_SHARE: Final = 0.95
LOG_LINES: Final = 8  # quoted from the log of the part that broke
ARRIVAL_DEVIATIONS: Final = 5.0
DURATION_SHARE: Final = 0.95
HTTP_4XX_SHARE: Final = 0.5
REDIRECTED_SHARE: Final = 0.5
WORKER_SILENT_S: Final = 5.0
_LACKING: Final = {
    "no_file": "no file could be opened for a connection; raise the limit of open files (`ulimit -n`), or "
    "use more workers",
    "no_port": "no local port or address was free for a connection; widen net.ipv4.ip_local_port_range, or "
    "use workers on other machines",
    "no_memory": "the system had no memory for a connection; end other programs, or use workers on other "
    "machines",
}


def void_reasons(scenario: Scenario, history: History, metrics: Metrics) -> tuple[str, ...]:
    """Return why the run says nothing about the release; empty when it can be judged."""
    return (
        *_cut_short(scenario, history, metrics.window),
        *lost_everything(history),
        *_no_load(scenario, history, metrics),
        *_generator(scenario, history, metrics),
        *_other_work(history, metrics.window),
        *_faults(scenario, history),
    )


def log_lines(history: History) -> tuple[str, ...]:
    """Return the last log lines of the part that broke, as reasons."""
    broke = history.event(f.STACK_BROKE)
    return (
        () if broke is None else tuple(f"| {line}" for line in broke.detail.get("log_tail", ())[-LOG_LINES:])
    )


def _cut_short(scenario: Scenario, history: History, window: Window | None) -> Iterator[str]:
    broke, interrupted = history.event(f.STACK_BROKE), history.event(f.INTERRUPTED)
    if broke is not None:
        yield f"the stack broke: {broke.detail.get('what', 'no reason was written')}"
        yield from log_lines(history)
    elif interrupted is not None:
        yield "the run was interrupted"
    elif not history.complete:
        if window is None:
            yield "the run was cut short before the load started: no run_ended event"
        else:
            seen_s = window.end_s - window.load_started_s
            yield (
                f"the run was cut short: no run_ended event; the last of it was seen {seen_s:.0f} s into "
                f"a load of {scenario.load.duration:.0f} s"
            )
    for event in history.events:
        if event.name == f.OBSERVER_FAULT and event.detail.get("observer") == "recorder":
            yield f"the load generator: {event.detail.get('error')}"


def _faults(scenario: Scenario, history: History) -> Iterator[str]:
    done = [event for event in history.events if event.name == f.FAULT]
    if history.complete and len(done) < len(scenario.faults):
        missing = scenario.faults[len(done)]
        yield (
            f"the load ended before its faults were over: {missing.in_words()}, due "
            f"{missing.at:g} s into the load, was never done"
        )


def _no_load(scenario: Scenario, history: History, metrics: Metrics) -> Iterator[str]:
    window = metrics.window
    if window is None:
        if history.complete:
            yield "the load never started: no load_started event"
        return
    if not metrics.all.requests:
        if has_losses(history, "requests"):
            return  # missing_data reports this, and pool metrics still count
        yield f"no request ended after the warm-up of {scenario.load.warm_up:.0f} s"
        return
    lasted_s = window.load_ended_s - window.load_started_s
    if history.complete and lasted_s < DURATION_SHARE * scenario.load.duration:
        yield f"the load ended after {lasted_s:.0f} s, and should have lasted {scenario.load.duration:.0f} s"
    if history.complete and not has_losses(history, "generator"):
        yield from _customers(scenario, metrics)
    allowed_4xx = sum(
        metrics.endpoints[name].http_4xx for name in scenario.may_fail if name in metrics.endpoints
    )
    if metrics.all.http_4xx - allowed_4xx > HTTP_4XX_SHARE * metrics.all.requests:
        yield (
            f"{metrics.all.http_4xx:,} of {metrics.all.requests:,} requests were answered 4xx: the customers "
            "ask for what does not exist"
        )
    if (metrics.redirected or 0) > REDIRECTED_SHARE * metrics.all.requests:
        yield (
            f"{metrics.redirected:,} of {metrics.all.requests:,} requests were redirected, so the figures "
            "are another page's (a log-in? https?): let the locustfile log in, or ask where that leads"
        )


def _customers(scenario: Scenario, metrics: Metrics) -> Iterator[str]:
    """Report customers who never came."""
    load, users, arrived = scenario.load, metrics.users_max, metrics.arrivals
    if load.users is not None and users is not None and users < USERS_SHARE * load.users:
        yield f"only {users:,} of {load.users:,} customers ever came"
    if load.arrivals is None or arrived is None:
        return
    mean = expected(load.arrivals, load.duration)
    # The number of arrivals is random: it has a Poisson distribution, with a deviation of the mean's root.
    if arrived < USERS_SHARE * mean - ARRIVAL_DEVIATIONS * mean**0.5:
        yield f"only {arrived:,} of about {mean:,.0f} customers ever arrived"
    if metrics.turned_away:
        yield (
            f"the load generator had no room for {metrics.turned_away:,} of the customers who arrived: "
            f"{users or 0:,} were present at most; raise the limit of open files (`ulimit -n`), or give it "
            "more workers"
        )


def _generator(scenario: Scenario, history: History, metrics: Metrics) -> Iterator[str]:
    window = metrics.window
    if window is None:
        return
    samples = [sample for sample in history.generator if window.in_whole_second(sample.t_s)]
    lost = has_losses(history, "generator")  # missing_data reports this
    if not samples and lost:
        return
    if not samples:
        yield "the load generator wrote nothing about itself, so it is unknown whether it kept its schedule"
        return
    late = unexplained(samples)
    lateness_ms = p95_of_seconds([second.p99_ms for second in late.values()]) or 0
    stall_ms = max(second.max_ms for second in late.values())
    if lateness_ms > LATENESS_P99_MS:
        yield (
            f"the load generator fell behind: its timers fired {lateness_ms:,.0f} ms late at p99 "
            f"(bound {LATENESS_P99_MS:.0f} ms)"
        )
    elif scenario.load.arrivals is not None and (metrics.due_late_p99_ms or 0) > LATENESS_P99_MS:
        yield (
            f"the load generator fell behind: requests were sent {metrics.due_late_p99_ms:,.0f} ms later "
            f"than due at p99 (bound {LATENESS_P99_MS:.0f} ms)"
        )
    elif stall_ms > STALL_MS:
        yield f"the load generator stood still for {stall_ms / 1000:.1f} s (bound {STALL_MS / 1000:.0f} s)"
    seconds, busy = Counter(sample.worker for sample in samples), Counter[str]()
    for sample in samples:
        in_burst = late[sample.worker, sample.t_s].explained_ms > 0
        busy[sample.worker] += sample.cpu_cores >= CPU_CORES and not in_burst
    for worker, count in sorted(busy.items()):
        if count > CPU_SHARE * seconds[worker]:
            yield (
                f"the load generator was starved of CPU: {worker} used {CPU_CORES:g} cores or more in "
                f"{count} of {seconds[worker]} s; give it more workers"
            )
    yield from _could_not_send(history)
    if not lost:
        yield from _silent_workers(samples)


def _could_not_send(history: History) -> Iterator[str]:
    """Report requests that never left the load generator, which the service is not to blame for."""
    for name, what in _LACKING.items():
        counts = Counter[str]()
        for sample in history.generator:
            counts[sample.worker] += getattr(sample, name)
        if counts.total():
            workers = ", ".join(sorted(worker for worker, count in counts.items() if count))
            said = counted(counts.total(), "request")
            yield f"the load generator could not send {said} ({workers}): {what}"


def _other_work(history: History, window: Window | None) -> Iterator[str]:
    """Report other work on this machine: it takes CPU from the servers, and the release looks slow."""
    used: dict[str, list[float]] = {}
    for sample in history.host:
        if window is not None and window.measures(sample.t_s):
            used.setdefault(sample.component, []).append(sample.cpu_cores)
    cores = next((sample.limit_cores for sample in history.host if sample.component == f.MACHINE), None)
    if cores is None or f.MACHINE not in used:
        return
    means = {component: sum(values) / len(values) for component, values in used.items()}
    others = means.pop(f.MACHINE) - sum(means.values())
    if others > OTHERS_SHARE * cores:
        yield (
            f"the machine was busy with other work: {others:.2f} of its {cores:g} cores on average "
            f"(bound {OTHERS_SHARE * cores:g}); run again when it is quiet"
        )


def _silent_workers(samples: list[f.GeneratorSample]) -> Iterator[str]:
    last: dict[str, int] = {}
    for sample in samples:
        last[sample.worker] = max(sample.t_s, last.get(sample.worker, sample.t_s))
    end_s = max(last.values())
    for worker, seen_s in sorted(last.items()):
        if end_s - seen_s > WORKER_SILENT_S:
            yield f"Locust's {worker} fell silent {end_s - seen_s} s before the load ended"
