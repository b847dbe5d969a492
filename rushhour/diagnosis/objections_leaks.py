"""Objections from what was still out, or seen at all, when the watch ended (pure)."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from rushhour.diagnosis import shared_session
from rushhour.diagnosis.leaks import NOT_REUSED
from rushhour.diagnosis.objection import MOST, Objection
from rushhour.diagnosis.signals import Signals
from rushhour.metrics.pools import LAST_SAMPLE_WITHIN_S, fell_silent, is_out, leaked_at_end
from rushhour.metrics.wording import counted, counted_were
from rushhour.rundir import History
from rushhour.rundir import facts as f

LAST_SECOND_S: Final = 1.0  # of the watch: what is out all through it was not taken just then
OPEN_S: Final = 1.0  # a transaction that idles for less, after the load, is about to end


def leak_in_use(signals: Signals, history: History, used_by_later: int = 0) -> Iterator[Objection]:
    """Contradict a leak: a connection that runs a query when the watch ends is in use."""
    window = signals.metrics.window
    if window is None or signals.leak is None:
        return
    pool = signals.leak.pool
    leaked = {out.server_pid for out in leaked_at_end(history, window) if out.pool == pool and out.server_pid}
    seen = [
        sample
        for sample in history.servers
        if sample.server == f.server_of(pool) and sample.error is None and sample.t_s <= window.end_s
    ]
    if not leaked or not seen or seen[-1].t_s < window.load_ended_s:
        return
    active = (
        sum(backend.pid in leaked and backend.state == "active" for backend in seen[-1].backends)
        - used_by_later
    )
    if active > 0:
        says = f"{active} of their {len(leaked)} backends still ran a query after the load"
        yield Objection("the servers", says, "postgres.jsonl backends")


def kept_in_use(signals: Signals, history: History) -> Iterator[Objection]:
    """As above, against a session that a thread kept: a later request of the thread uses it.

    Such a request may run on when its customer has given up, and so after the load.
    """
    yield from leak_in_use(signals, history, used_by_later=signals.outside.given_up)


def leak_unseen(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict a leak of more connections than the pools count as checked out."""
    window, leak = signals.metrics.window, signals.leak
    if window is None or leak is None:
        return
    last = {
        sample.pid: sample
        for sample in history.pools
        if sample.pool == leak.pool and sample.t_s <= window.end_s
    }
    out = sum(sample.checked_out for sample in last.values())
    if last and leak.leaked > out:
        says = f"{leak.leaked} leaked, while the pools counted {out} connections out"
        yield Objection("the agent", says, "pool.jsonl sample.checked_out")


def took_their_own(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict connections that later requests use: nearly every answer took one, and gave it back."""
    del history
    leak = signals.leak
    if leak is None or leak.checkouts is None or leak.answered_per_checkout is None:
        return
    if leak.answered_per_checkout <= NOT_REUSED and leak.outlived < MOST * leak.checkouts:
        says = (
            f"{leak.answered:,} requests were answered with {counted(leak.checkouts, 'check-out')}, of which "
            f"{leak.checkouts - leak.outlived:,} came back in time"
        )
        yield Objection("the agent", says, "pool.jsonl site.checkouts, requests.jsonl count")


def session_shared(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict a path that does not close what it took: who shares a session fails while it is closed."""
    del history
    if shared_session.may_explain(signals):
        yield Objection("the service", shared_session.says(signals), shared_session.SOURCE)


def counted_leaked(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict that every connection came back: the pools count some as leaked, or as out, to the end."""
    window, leaked = signals.metrics.window, signals.metrics.pool.leaked
    if leaked:
        says = f"the pools counted {counted(leaked, 'connection')} whose request had ended"
        yield Objection("the agent", says, "pool.jsonl sample.leaked")
    if window is None or window.end_s - LAST_SECOND_S < window.load_ended_s:
        return
    least: dict[tuple[int, str], int] = {}
    for sample in history.pools:
        if window.end_s - LAST_SECOND_S <= sample.t_s <= window.end_s:
            key = (sample.pid, sample.pool)
            least[key] = min(sample.checked_out, least.get(key, sample.checked_out))
    known = Counter((one.pid, one.pool) for one in history.checkouts if is_out(one, window.end_s))
    unknown = sum(max(0, count - known[key]) for key, count in least.items())
    if unknown:
        says = (
            f"the pools counted {counted(unknown, 'connection')} out at the end of the watch that no "
            "check-out accounts for"
        )
        yield Objection("the agent", says, "pool.jsonl sample.checked_out, checkout", "likely")


def left_open(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict that every connection came back: a transaction idles on a server after the load."""
    window = signals.metrics.window
    if window is None:
        return
    last = {
        sample.server: sample
        for sample in history.servers
        if sample.error is None and window.load_ended_s < sample.t_s <= window.end_s
    }
    for item in last.values():
        idle = sum(count for state, count in item.states.items() if state.startswith("idle in transaction"))
        if idle and (item.oldest_idle_in_xact_s or 0.0) >= OPEN_S:
            says = f"{counted(idle, 'transaction')} idled on the {item.server} after the load"
            yield Objection("the servers", says, "postgres.jsonl states, oldest_idle_in_xact_s")


def killed_unseen(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict that every connection came back: a killed process may have taken one that was not seen."""
    window = signals.metrics.window
    ended = fell_silent(history, window.end_s - LAST_SAMPLE_WITHIN_S) if window is not None else frozenset()
    if ended:
        were = counted_were(len(ended), "process")
        says = f"{were} killed, or stood still to the end: what it took last was not seen"
        yield Objection("the agent", says, "pool.jsonl process.exited_s, sample", "likely")


def ended_holding(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict that every connection came back: some went with their process, or are out in it."""
    window = signals.metrics.window
    if window is None:
        return
    gone = fell_silent(history, window.load_ended_s - LAST_SAMPLE_WITHIN_S)
    last = {
        (sample.pid, sample.pool): sample
        for sample in history.pools
        if sample.pid in gone and window.load_started_s <= sample.t_s
    }
    lost = [sample for sample in last.values() if sample.checked_out]
    if lost:
        out, pids = sum(sample.checked_out for sample in lost), {sample.pid for sample in lost}
        were = "1 of its processes was" if len(pids) == 1 else f"{len(pids)} of its processes were"
        says = f"under load {were} killed, or stood still, with connections out ({out} in all)"
        yield Objection("the service", says, "pool.jsonl sample.checked_out, t_s")


def silent_agent(signals: Signals, history: History) -> Iterator[Objection]:
    window = signals.metrics.window
    if window is None or not history.pools:
        return
    last_s = max(sample.t_s for sample in history.pools)
    if last_s < window.end_s - LAST_SAMPLE_WITHIN_S:
        says = f"no pool was seen for the last {window.end_s - last_s:.0f} s of the run"
        yield Objection("the agent", says, "pool.jsonl sample")
