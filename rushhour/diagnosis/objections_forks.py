"""Objections to connections that are shared over a fork (pure)."""

from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import Final

from rushhour.diagnosis.objection import MOST, Objection
from rushhour.diagnosis.processes import BRIEF_S
from rushhour.diagnosis.signals import Signals
from rushhour.diagnosis.slow_backend import UNANSWERED_S
from rushhour.metrics.wording import counted
from rushhour.rundir import History
from rushhour.rundir import facts as f

LOGGED_WITHIN_S: Final = 2.0  # an error is counted up to so long after it; a child's first sample is as late


def not_garbled(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict that failures come from a shared connection: all answers belong to their questions.

    Two processes may also wait for one answer each, of which one never comes: then both sides wait.
    """
    del history
    everything, late = signals.metrics.all, signals.metrics.pool.timeouts or 0
    failed = max(late, everything.http_5xx + everything.client_timeouts)
    waits = any(backend.unanswered_s >= UNANSWERED_S for backend in signals.backends)
    if failed and not signals.processes.log_kinds.get("shared_connection", 0) and not waits:
        says = f"{counted(failed, 'request')} failed, and no answer of the server was of another question"
        yield Objection("the answers", says, "events.jsonl log_errors.kinds, requests.jsonl")


def not_together(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict that processes share connections: they ran one after the other, so they handed them on."""
    lives = _lives(history)
    sharers = [lives[pid] for pid in signals.processes.sharers if pid in lives]
    if len(sharers) < 2 or len(sharers) < len(signals.processes.sharers):
        return
    if not any(one[0] < other[1] and other[0] < one[1] for one, other in combinations(sharers, 2)):
        says = f"the {len(sharers)} processes that used these connections ran one after the other"
        yield Objection("the agent", says, "pool.jsonl sample.pid, inherited")


def without_backend(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict that the inherited connections were used: their backends had ended before the load.

    Only where the server knows any pid that the service names: a pooler makes up its own.
    """
    window = signals.metrics.window
    shared = {
        (f.server_of(item.pool), pid) for item in history.inherited if item.uses for pid in item.server_pids
    }
    seen = {
        (sample.server, backend.pid)
        for sample in history.servers
        if sample.error is None and window is not None and sample.t_s >= window.load_started_s
        for backend in sample.backends
    }
    observed = {server for server, _ in shared} & {server for server, _ in seen}
    named = shared | {(f.server_of(out.pool), out.server_pid) for out in history.checkouts if out.server_pid}
    known = any(
        (sample.server, backend.pid) in named for sample in history.servers for backend in sample.backends
    )
    if observed and known and not shared & seen:
        says = f"none of the {len(shared)} backends of these connections was there under load"
        yield Objection("the servers", says, "postgres.jsonl backends, pool.jsonl inherited.server_pids")


def garbled_without_children(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict that a fork garbles answers: most came while no process had inherited a connection.

    Threads that share one connection, or one session, garble answers as well.
    """
    window, lives = signals.metrics.window, _lives(history)
    if window is None or not history.inherited:
        return
    spans = [
        (item.t_s - LOGGED_WITHIN_S, max(lives.get(item.pid, (0.0, 0.0))[1], item.t_s + BRIEF_S))
        for item in history.inherited
    ]
    garbled: Counter[bool] = Counter()
    for event in history.events:
        if event.name == f.LOG_ERRORS and event.t_s >= window.load_started_s:
            inside = any(from_s <= event.t_s <= to_s + LOGGED_WITHIN_S for from_s, to_s in spans)
            garbled[inside] += event.detail.get("kinds", {}).get("shared_connection", 0)
    if garbled[False] and garbled[False] >= MOST * garbled.total():
        says = (
            f"{garbled[False]} of {garbled.total()} such answers came while no process lived that had "
            "inherited a connection: threads that share a session read each other's answers as well"
        )
        yield Objection("the agent", says, "pool.jsonl inherited, events.jsonl log_errors.kinds")


def _lives(history: History) -> dict[int, tuple[float, float]]:
    """Return the first and the last sample of each process."""
    lives: dict[int, tuple[float, float]] = {}
    for sample in history.pools:
        first_s, _ = lives.get(sample.pid, (sample.t_s, 0.0))
        lives[sample.pid] = (first_s, sample.t_s)
    return lives
