"""Asks every witness of a run what contradicts a cause; only this decides what may be certain (pure).

The witnesses are the agent (looks at holders, check-outs, time-outs, pools), the servers (what each backend
does), the answers that customers got, and the life of the service. A rule names a cause, and its confidence
by its own numbers; then every witness that could contradict the cause is asked. docs/diagnosis.md has the
table.
"""

from collections.abc import Callable, Iterator
from typing import Final

from rushhour.diagnosis import blocked_worker, recovery_conflicts
from rushhour.diagnosis import objections_forks as forks
from rushhour.diagnosis import objections_holders as holders
from rushhour.diagnosis import objections_leaks as leaks
from rushhour.diagnosis import objections_locks as locks
from rushhour.diagnosis import objections_servers as servers
from rushhour.diagnosis.findings import Confidence
from rushhour.diagnosis.objection import ENOUGH_LOOKS, HARDLY_ANY, MOST, Objection
from rushhour.diagnosis.server_limit import turned_away_by_server
from rushhour.diagnosis.signals import Signals
from rushhour.diagnosis.sites import at as at_line
from rushhour.diagnosis.slow_backend import MANY_LOST
from rushhour.diagnosis.standstills import NONE, SOME, late_spans
from rushhour.metrics.pools import LAST_SAMPLE_WITHIN_S, fell_silent
from rushhour.metrics.requests import RequestMetrics
from rushhour.metrics.wording import counted
from rushhour.rundir import History
from rushhour.rundir import facts as f

SLOW_MS: Final = 1000.0
QUICK_MS: Final = 200.0  # a loop that runs on a busy core blocks nobody for longer
GAP_S: Final = 0.5  # without any process


def objections(cause: str, signals: Signals, history: History) -> tuple[Objection, ...]:
    """Return every objection of this run against a cause."""
    asked = _ASKED.get(cause, ())
    return tuple(found for ask in (*_ALWAYS, *asked) for found in ask(signals, history))


def service_death(history: History) -> str | None:
    """Describe how the service died under load: `exit code 9, 12 s into the load`; None if it did not."""
    broke, started_s = history.event(f.STACK_BROKE), history.time_of(f.LOAD_STARTED)
    if broke is None or started_s is None or broke.detail.get("part") != "service":
        return None
    ended_s = history.time_of(f.LOAD_ENDED)
    if broke.t_s < started_s or (ended_s is not None and broke.t_s > ended_s):
        return None
    return f"{broke.detail.get('how', 'no reason was written')}, {broke.t_s - started_s:.0f} s into the load"


def _service_died(signals: Signals, history: History) -> Iterator[Objection]:
    del signals
    death = service_death(history)
    if death is not None:
        yield Objection("the service", f"the service died: {death}", "events.jsonl stack_broke", "likely")


def _agent_failed(signals: Signals, history: History) -> Iterator[Objection]:
    del signals
    if history.agent_faults:
        count, last = len(history.agent_faults), history.agent_faults[-1]
        says = f"{counted(count, 'fault')} of the agent's own: {last.error}"
        yield Objection("the agent", says, "pool.jsonl fault", "likely")


def _idle_loop_server(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict an event loop that always waits for the server: the servers are idle."""
    window, processes = signals.metrics.window, signals.processes
    if processes.loop_driver < MOST * processes.loop_blocked:
        return  # it waits for something else
    samples = [
        sample
        for sample in history.servers
        if sample.error is None and window is not None and window.measures(sample.t_s)
    ]
    seconds = {int(sample.t_s) for sample in samples}
    if not seconds:
        return
    active = sum(sample.states.get("active", 0) for sample in samples) / len(seconds)
    if active < HARDLY_ANY:
        says = f"{active:.2g} backends ran a query, on average: the servers had next to nothing to do"
        yield Objection("the servers", says, "postgres.jsonl states")


def _quick_answers(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict an event loop that keeps requests waiting: nobody waited for long, and nothing failed."""
    del history
    everything = signals.metrics.all
    if everything.p95_ms is not None and everything.p95_ms < QUICK_MS and not _failed(everything):
        says = f"all requests were answered, 95% of them within {everything.p95_ms:.0f} ms"
        yield Objection("the answers", says, "requests.jsonl")


def _stood_still(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict a server that is waited for: the service's process itself stood still.

    A call in C that keeps the interpreter's lock stops the agent's thread as well; so does a lack of CPU.
    Only the processes in which the trouble was seen are asked: the others may do what they like.
    """
    del history
    window, pressure = signals.metrics.window, signals.pressure
    if window is None:
        return
    spans = signals.stood
    opened = {pid for backend in signals.backends for pid in backend.slow_openers | backend.unanswered_of}
    concerned = (opened if pressure is None else opened | {pressure.pid}) or spans.keys()
    from_s, to_s = window.measured_from_s, window.load_ended_s
    stood = [spans[pid] for pid in concerned if pid in spans]
    stood_s = max((one.stood_s(from_s, min(to_s, one.seen_until_s)) for one in stood), default=0.0)
    # Who seldom runs opens connections and reads answers late, whatever the server does.
    refutes = not servers.slow_while_it_ran(signals) and signals.agent
    if refutes or stood_s >= SOME * (to_s - from_s) > 0:
        site = signals.processes.loop_site
        where = f", or its event loop was blocked, mostly at {at_line(site)}" if site is not None else ""
        of_s = to_s - from_s
        says = f"for {stood_s:.0f} of {of_s:.0f} s its thread did not run in the service's process{where}"
        yield Objection("the agent", says, "pool.jsonl sample.t_s, loop", refutes=refutes)


def _seldom_ran(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict what holders are seen at: their process stood still, so that all of it took longer."""
    del history
    pressure = signals.pressure
    if pressure is None:
        return
    stood = signals.stood.get(pressure.pid, NONE)
    if stood.stood(pressure.from_s, pressure.to_s):
        stood_s, of_s = stood.stood_s(pressure.from_s, pressure.to_s), pressure.to_s - pressure.from_s
        says = (
            f"for {stood_s:.0f} of {of_s:.0f} s their process stood still: whatever it waits for comes late"
        )
        yield Objection("the agent", says, "pool.jsonl sample.t_s, loop", "likely")


def _blocked_loop(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict what holders are seen at: they wait for an event loop that is blocked, at many lines.

    At a single line it is a cause of its own.
    """
    del history
    processes = signals.processes
    blocked = processes.loop_samples >= ENOUGH_LOOKS and processes.loop_share >= MOST
    if blocked and blocked_worker.find(signals) is None:
        says = (
            f"{processes.loop_share:.0%} of the looks at the event loop found all of it blocked, at many "
            "lines: who waits goes on late, whatever it is for"
        )
        yield Objection("the agent", says, "pool.jsonl loop")


def _short_lived(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict that there are too few connections: processes end under load, and others take their place.

    Whoever waited for the next process then asks for its connections at once. Nobody has to wait for it where
    others go on, as where each worker in turn is replaced in order after so many requests.
    """
    window, pressure = signals.metrics.window, signals.pressure
    if window is None or pressure is None:
        return
    lives: dict[int, list[float]] = {}
    for sample in history.pools:
        if sample.pool == pressure.pool and window.measures(sample.t_s):
            lives.setdefault(sample.pid, []).append(sample.t_s)
    its = lives.get(pressure.pid, [])
    before_or_after = [one for one in lives.values() if its and (one[-1] < its[0] or its[-1] < one[0])]
    measured_s = window.load_ended_s - window.measured_from_s
    nobody = late_spans(moment for one in lives.values() for moment in one)
    waited = (
        any(to_s - from_s >= GAP_S for from_s, to_s in nobody)
        or fell_silent(history, window.load_ended_s - LAST_SAMPLE_WITHIN_S) & lives.keys()
    )
    if before_or_after and waited and its[-1] - its[0] < MOST * measured_s:
        says = (
            f"the process with this pool was there for {its[-1] - its[0]:.1f} of {measured_s:.1f} s, and "
            "others before or after it: who waits for the next process asks for its connections at once"
        )
        yield Objection("the service", says, "pool.jsonl sample.pid, t_s")


def _full_pools(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict a server that refuses connections: most who got none waited for a full pool."""
    del history
    refused = signals.processes.log_kinds.get("server_limit", 0)
    late = signals.metrics.pool.timeouts or 0
    if turned_away_by_server(signals, refused) < MOST:
        says = (
            f"{counted(late, 'request')} waited in vain for a pool that had all its connections; the server "
            f"refused {refused:,}"
        )
        yield Objection("the answers", says, "pool.jsonl timeout, events.jsonl log_errors.kinds")


def _failed_answers(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict that nothing is wrong: requests failed, if not all, so that nothing was shown."""
    del history
    everything = signals.metrics.all
    if failed := _failed(everything):
        says = f"{failed:,} of {everything.requests:,} requests were answered 5xx, not in time, or not at all"
        at_most: Confidence = "possible" if failed == everything.requests else "likely"
        yield Objection("the answers", says, "requests.jsonl", at_most)


def _logged(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict that nothing is wrong: the service logged that connections were lost, refused or shared."""
    del history
    errors = sum(signals.processes.log_kinds.values())
    if errors >= MANY_LOST:
        says = f"the service logged {counted(errors, 'error')} of the database or its driver"
        yield Objection("the service", says, "events.jsonl log_errors.kinds", "likely")


def _reads_ended(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict that nothing is wrong: a replica ended reads, whatever became of them."""
    del history
    for says in recovery_conflicts.ended(signals):
        yield Objection("the servers", says, recovery_conflicts.SOURCE, "likely")


def _unexplained(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict that nothing is wrong: a full pool had a queue, and no rule says why."""
    del history
    pressure = signals.pressure
    if pressure is not None and pressure.hurt:
        says = (
            f"pool {pressure.pool} was full for {pressure.full_s:.1f} s, with up to {pressure.waiters_max} "
            f"waiting and {pressure.connecting_share:.0%} of its connections being opened, tested or reset"
        )
        yield Objection("the agent", says, "pool.jsonl sample.checked_out, waiting, live")


def _failed(everything: RequestMetrics) -> int:
    """Return the requests that were not answered, or 5xx."""
    return everything.requests - (everything.answered_ok or 0) - everything.http_4xx


def _no_load(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict that nothing is wrong: the load that would have shown it never came."""
    del history
    if not signals.metrics.all.requests:
        yield Objection(
            "the answers", "no request was answered or timed out: the load never came", "requests.jsonl"
        )


def _slow_answers(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict that nothing is wrong: answers are slow, and nothing that was seen says why."""
    del history
    everything = signals.metrics.all
    if everything.p95_ms is not None and everything.p95_ms >= SLOW_MS:
        says = f"a twentieth of the answers took {everything.p95_ms / 1000:.1f} s or longer"
        yield Objection("the answers", says, "requests.jsonl", "likely")


_Ask = Callable[[Signals, History], Iterator[Objection]]
_ALWAYS: Final[tuple[_Ask, ...]] = (_service_died, _agent_failed)
_ASKED: Final[dict[str, tuple[_Ask, ...]]] = {
    "scope-never-removed": (
        *(leaks.kept_in_use, leaks.leak_unseen, leaks.session_shared, leaks.took_their_own),
    ),
    "unclosed-path": (leaks.leak_in_use, leaks.leak_unseen, leaks.session_shared),
    "held-across-external-wait": (
        *(holders.busy_server, holders.not_seen, holders.too_short, holders.being_opened),
        *(holders.some_in_queue, holders.waits_inside, holders.tasks_in_queue, holders.no_request),
        *(holders.comes_back_after, holders.asks_again, holders.late_answers),
        *(holders.late_holders, holders.runs_code, _blocked_loop, _seldom_ran),
    ),
    "held-while-streaming": (
        *(holders.busy_server, holders.not_seen, holders.not_streaming),
        *(holders.too_short, holders.being_opened, holders.late_holders, _blocked_loop, _seldom_ran),
    ),
    "abandoned-stream": (
        *(holders.busy_server, holders.not_seen),
        *(holders.too_short, holders.being_opened, holders.late_holders, _blocked_loop, _seldom_ran),
    ),
    "nested-checkout": (
        *(holders.not_in_queue, holders.busy_server, holders.not_seen),
        *(holders.too_short, holders.kept_to_the_end, holders.being_opened),
    ),
    "saturation": (
        *(holders.idle_server, holders.not_in_driver, holders.unwitnessed),
        *(holders.left_out, holders.few_backends, holders.being_opened, holders.late_holders),
        *(servers.not_at_work, leaks.killed_unseen, leaks.silent_agent),
        *(_short_lived, _blocked_loop, _seldom_ran),
    ),
    "slow-or-dead-backend": (
        *(holders.elsewhere, locks.own_locks, locks.locks_alike),
        *(servers.on_the_way, servers.without_cpu, _stood_still, _blocked_loop),
    ),
    "own-lock-chain": (locks.at_work, locks.not_at_locks, locks.locks_of_others, locks.through_others),
    "blocked-worker": (_idle_loop_server, _quick_answers),
    "fork-shared": (
        *(forks.not_garbled, forks.not_together, forks.without_backend),
        forks.garbled_without_children,
    ),
    "server-limit": (_full_pools,),
    "none": (
        *(_unexplained, _logged, _reads_ended, leaks.counted_leaked),
        *(leaks.left_open, leaks.ended_holding, leaks.killed_unseen, leaks.silent_agent),
        *(_no_load, _failed_answers, _slow_answers),
    ),
}
