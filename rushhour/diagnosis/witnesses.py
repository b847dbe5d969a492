"""What the witnesses of a run say against a cause (pure): the one place that decides what may be certain.

The witnesses are the agent (looks at holders, check-outs, time-outs, pools), the servers (what each backend
does), the answers that customers got, and the service's own life. A rule names a cause and says how sure it
is by its own numbers; here every witness that could contradict the cause is asked. docs/diagnosis.md has the
table.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from rushhour.diagnosis.findings import Confidence, Evidence
from rushhour.diagnosis.holds import HoldSignals
from rushhour.diagnosis.signals import Signals
from rushhour.diagnosis.sites import at
from rushhour.diagnosis.slow_backend import signs_of
from rushhour.metrics.pools import LAST_SAMPLE_WITHIN_S, leaked_at_end
from rushhour.metrics.wording import counted
from rushhour.rundir import History
from rushhour.rundir import facts as f

Witness = Literal["the agent", "the servers", "the answers", "the service"]

MOST: Final = 0.5  # of the looks, backends or connections
NEARLY_ALL: Final = 0.8
HARDLY_ANY: Final = 0.1
ENOUGH_LOOKS: Final = 20  # fewer say nothing about a share
MANY_SILENT: Final = 3  # samples without an answer: the server is in trouble of its own
OPEN_S: Final = 1.0  # a transaction that idles for less, after the load, is about to end

_LOCKS: Final = "postgres.jsonl lock_waits joined with pool.jsonl checkout.server_pid"
_RANK: Final[tuple[Confidence, ...]] = ("possible", "likely", "certain")


@dataclass(frozen=True, slots=True)
class Objection:
    """One witness's evidence against a cause."""

    witness: Witness
    says: str
    source: str  # where in the run's files a reader finds it
    at_most: Confidence = "possible"  # how sure the diagnosis may be all the same
    refutes: bool = False  # the cause cannot be right

    def as_evidence(self, cause: str) -> Evidence:
        """The same, as a number of the diagnosis."""
        meaning = f"{cause} is ruled out" if self.refutes else f"it speaks against {cause}"
        return Evidence(
            f"against {cause}, says {self.witness.removeprefix('the ')}", self.says, "", self.source, meaning
        )


def believed(confidence: Confidence, against: Iterable[Objection]) -> Confidence:
    """The rule's own confidence, lowered to what every witness allows."""
    return min((confidence, *(one.at_most for one in against)), key=_RANK.index)


def objections(cause: str, signals: Signals, history: History) -> tuple[Objection, ...]:
    """All that speaks against this cause in this run."""
    asked = _ASKED.get(cause, ())
    return tuple(found for ask in (*_ALWAYS, *asked) for found in ask(signals, history))


def service_death(history: History) -> str | None:
    """How and when the service died under load: `exit code 9, 12 s into the load`; None when it did not."""
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


def _elsewhere(signals: Signals, history: History) -> Iterator[Objection]:
    """Against a cause by which holders wait for the server."""
    del history
    holds = signals.holds
    if holds is not None and holds.looks >= ENOUGH_LOOKS and _away(holds) >= MOST:
        away = _away(holds)
        yield Objection(
            "the agent",
            f"{away:.0%} of the looks at holders found them at something else than the server",
            "pool.jsonl doing",
        )


def _away(holds: HoldSignals) -> float:
    return holds.elsewhere + holds.streaming + holds.sending


def _not_seen(signals: Signals, history: History) -> Iterator[Objection]:
    """Against whatever is named by where the holders were: most of them were not seen."""
    del history
    holds = signals.holds
    if holds is not None and holds.unseen >= MOST:
        says = f"{holds.unseen:.0%} of the looks could not find who works with the connection"
        yield Objection("the agent", says, "pool.jsonl doing.unseen")


def _not_streaming(signals: Signals, history: History) -> Iterator[Objection]:
    """Against a cause by which the holders' responses were on their way."""
    del history
    holds = signals.holds
    if holds is not None and holds.looks and holds.streaming + holds.sending < MOST:
        says = f"{holds.streaming + holds.sending:.0%} of the looks at holders found a response on its way"
        yield Objection("the agent", says, "pool.jsonl doing.streaming, sending")


def _not_in_driver(signals: Signals, history: History) -> Iterator[Objection]:
    del history
    holds = signals.holds
    if holds is not None and holds.looks and holds.driver < MOST:
        yield Objection(
            "the agent",
            f"{holds.driver:.0%} of the looks at holders found them waiting for the server",
            "pool.jsonl doing",
        )


def _idle_server(signals: Signals, history: History) -> Iterator[Objection]:
    """Against a cause by which the connections are at work."""
    del history
    pressure = signals.pressure
    if pressure is not None and pressure.active_share is not None and pressure.active_share < MOST:
        says = f"{pressure.active_share:.0%} of the backends in a transaction ran a query"
        yield Objection("the servers", says, "postgres.jsonl states")


def _left_out(signals: Signals, history: History) -> Iterator[Objection]:
    del history
    if signals.pressure is not None and signals.pressure.left_out:
        says = f"{counted(signals.pressure.left_out, 'connection')} did not come back after the load"
        yield Objection("the agent", says, "pool.jsonl checkout")


def _busy_server(signals: Signals, history: History) -> Iterator[Objection]:
    """Against a cause by which the holders wait for anything but the server."""
    holds, pressure = signals.holds, signals.pressure
    if holds is None or pressure is None:
        return
    if holds.server_active is not None:
        if holds.server_active >= MOST:
            says = f"{holds.server_active:.0%} of the backends of these connections ran a query"
            source = "postgres.jsonl backends joined with pool.jsonl checkout.server_pid"
            yield Objection("the servers", says, source, refutes=holds.server_active >= NEARLY_ALL)
        return
    capacities = {one.pid: one.capacity or 0 for one in history.pools if one.pool == pressure.pool}
    active = [
        one.states.get("active", 0)
        for one in history.servers
        if one.server == pressure.pool and one.error is None and pressure.from_s <= one.t_s <= pressure.to_s
    ]
    total = sum(capacities.values())
    share = sum(active) / len(active) / total if active and total else 0.0
    if share >= MOST:
        says = f"{sum(active) / len(active):.1f} backends ran a query, on average, of {total} connections"
        yield Objection("the servers", says, "postgres.jsonl states", refutes=share >= NEARLY_ALL)


def _not_in_queue(signals: Signals, history: History) -> Iterator[Objection]:
    """Against a cause by which the holders wait in the queue for another connection."""
    del history
    holds, pressure = signals.holds, signals.pressure
    if holds is None or pressure is None:
        return
    waiting = holds.waiting_for_another
    unseen = holds.looks >= ENOUGH_LOOKS and waiting < HARDLY_ANY
    if holds.looks and waiting < MOST:
        says = f"{waiting:.0%} of {holds.looks:,} looks at holders found them in the queue"
        yield Objection("the agent", says, "pool.jsonl doing.queue", refutes=unseen)
    if holds.claimed > pressure.capacity:
        says = (
            f"by the time-outs, requests in the queue held {holds.claimed} connections at once, of a pool of "
            f"{pressure.capacity}: most of them held nothing"
        )
        yield Objection("the agent", says, "pool.jsonl timeout.holding, waited_s")


def _own_locks(signals: Signals, history: History) -> Iterator[Objection]:
    """Against a slow server: those who wait for a lock wait for the service's own transactions."""
    del history
    chains = [one for locks in signals.locks for one in locks.chains]
    own = [one for one in chains if one.own]
    if not own or len(own) < MOST * len(chains):
        return
    lines = Counter(at(one.blocker.site) for one in own if one.blocker is not None)
    where = f", mostly taken at {lines.most_common(1)[0][0]}" if lines else ""
    says = f"{len(own)} of {len(chains)} waits for a lock were for the service's own transactions{where}"
    alone = not any(signs_of(backend, locked=False) for backend in signals.backends)
    yield Objection("the servers", says, _LOCKS, refutes=alone and len(own) >= NEARLY_ALL * len(chains))


def _locks_of_others(signals: Signals, history: History) -> Iterator[Objection]:
    """Against the service's own lock: those who wait, wait for somebody else, or for nobody that is known."""
    del history
    chains = [one for locks in signals.locks for one in locks.chains]
    others = sum(not one.own for one in chains)
    if signals.agent and others and others >= HARDLY_ANY * len(chains):
        whose = next((locks.whose for locks in signals.locks if locks.others), "")
        says = f"{others} of {len(chains)} waits for a lock were for another session, mostly {whose}"
        yield Objection("the servers", says, _LOCKS, refutes=others >= MOST * len(chains))
    leaked = sum(one.leaked for one in chains)
    if leaked >= MOST * len(chains):
        says = f"{leaked} of {len(chains)} waits for a lock were for transactions that had leaked"
        yield Objection("the agent", says, "pool.jsonl checkout.request_ended_s", refutes=True)


def _at_work(signals: Signals, history: History) -> Iterator[Objection]:
    """Against waits for a lock: backends that do not wait for one, or a server that answers nothing."""
    pressure = signals.pressure
    if pressure is None:
        return
    running = locked = total = silent = 0
    for one in history.servers:
        if one.server == f.server_of(pressure.pool) and pressure.from_s <= one.t_s <= pressure.to_s + 1:
            silent += one.error is not None
            for backend in one.backends:
                if backend.state != "idle":
                    waits = (backend.wait or "").startswith("Lock:")
                    total += 1
                    locked += waits
                    running += backend.state == "active" and not waits
    # In a cycle each that waits has another one that idles, waited for: half of them wait.
    if total and locked < (MOST - HARDLY_ANY) * total:
        says = f"{locked} of {total} backends in a transaction waited for a lock; {running} ran a query"
        yield Objection("the servers", says, "postgres.jsonl backends", refutes=running >= NEARLY_ALL * total)
    if silent >= MANY_SILENT:
        says = f"{counted(silent, 'sample')} got no answer"
        yield Objection("the servers", says, "postgres.jsonl error")


def _not_at_locks(signals: Signals, history: History) -> Iterator[Objection]:
    """Against waits for a lock: most holders are seen at something else than the server."""
    del history
    holds = signals.holds
    if holds is None or holds.looks < ENOUGH_LOOKS:
        return
    # In a cycle each wait has a holder that waits for it: one of two is in the driver.
    away = holds.queue + holds.streaming + holds.elsewhere
    if away > MOST and holds.driver < MOST - HARDLY_ANY:
        says = f"{away:.0%} of the looks at holders found them at something else than the server"
        yield Objection("the agent", says, "pool.jsonl doing")


def _idle_loop_server(signals: Signals, history: History) -> Iterator[Objection]:
    """Against an event loop that waits for the server all the time."""
    window, processes = signals.metrics.window, signals.processes
    if processes.loop_driver < MOST * processes.loop_blocked:
        return  # it waits for something else
    samples = [
        one
        for one in history.servers
        if one.error is None and window is not None and window.measures(one.t_s)
    ]
    seconds = {int(one.t_s) for one in samples}
    if not seconds:
        return
    active = sum(one.states.get("active", 0) for one in samples) / len(seconds)
    if active < HARDLY_ANY:
        says = f"{active:.2g} backends ran a query, on average: the servers had next to nothing to do"
        yield Objection("the servers", says, "postgres.jsonl states")


def _leak_in_use(signals: Signals, history: History, used_by_later: int = 0) -> Iterator[Objection]:
    """Against a leak: whose connection still runs a query when the watch ends is still at work."""
    window = signals.metrics.window
    if window is None or signals.leak is None:
        return
    pool = signals.leak.pool
    leaked = {out.server_pid for out in leaked_at_end(history, window) if out.pool == pool and out.server_pid}
    seen = [
        one for one in history.servers if one.server == pool and one.error is None and one.t_s <= window.end_s
    ]
    if not leaked or not seen or seen[-1].t_s < window.load_ended_s:
        return
    active = sum(one.pid in leaked and one.state == "active" for one in seen[-1].backends) - used_by_later
    if active > 0:
        says = f"{active} of their {len(leaked)} backends still ran a query after the load"
        yield Objection("the servers", says, "postgres.jsonl backends")


def _kept_in_use(signals: Signals, history: History) -> Iterator[Objection]:
    """Against a session kept by a thread: as above, but a later request of the thread uses what it kept.

    Such a request may run on when its customer has given up, and so after the load.
    """
    yield from _leak_in_use(signals, history, used_by_later=signals.outside.given_up)


def _leak_unseen(signals: Signals, history: History) -> Iterator[Objection]:
    """Against a leak of more connections than the pools themselves count as out."""
    window, leak = signals.metrics.window, signals.leak
    if window is None or leak is None:
        return
    last = {one.pid: one for one in history.pools if one.pool == leak.pool and one.t_s <= window.end_s}
    out = sum(one.checked_out for one in last.values())
    if last and leak.leaked > out:
        says = f"{leak.leaked} leaked, while the pools counted {out} connections out"
        yield Objection("the agent", says, "pool.jsonl sample.checked_out")


def _left_open(signals: Signals, history: History) -> Iterator[Objection]:
    """Against 'every connection came back': a transaction that idles on a server after the load."""
    window = signals.metrics.window
    if window is None:
        return
    last = {
        one.server: one
        for one in history.servers
        if one.error is None and window.load_ended_s < one.t_s <= window.end_s
    }
    for one in last.values():
        idle = sum(count for state, count in one.states.items() if state.startswith("idle in transaction"))
        if idle and (one.oldest_idle_in_xact_s or 0.0) >= OPEN_S:
            says = f"{counted(idle, 'transaction')} idled on the {one.server} after the load"
            yield Objection("the servers", says, "postgres.jsonl states, oldest_idle_in_xact_s")


def _silent_agent(signals: Signals, history: History) -> Iterator[Objection]:
    window = signals.metrics.window
    if window is None or not history.pools:
        return
    last_s = max(one.t_s for one in history.pools)
    if last_s < window.end_s - LAST_SAMPLE_WITHIN_S:
        says = f"no pool was seen for the last {window.end_s - last_s:.0f} s of the run"
        yield Objection("the agent", says, "pool.jsonl sample")


def _failed_answers(signals: Signals, history: History) -> Iterator[Objection]:
    del history
    everything = signals.metrics.all
    failed = everything.http_5xx + everything.client_timeouts
    if failed:
        says = f"{failed:,} of {everything.requests:,} requests were answered 5xx, or not in time"
        yield Objection("the answers", says, "requests.jsonl", "likely")


_Ask = Callable[[Signals, History], Iterator[Objection]]
_ALWAYS: Final[tuple[_Ask, ...]] = (_service_died, _agent_failed)
_ASKED: Final[dict[str, tuple[_Ask, ...]]] = {
    "scope-never-removed": (_kept_in_use, _leak_unseen),
    "unclosed-path": (_leak_in_use, _leak_unseen),
    "held-across-external-wait": (_busy_server, _not_seen),
    "held-while-streaming": (_busy_server, _not_seen, _not_streaming),
    "abandoned-stream": (_busy_server, _not_seen),
    "nested-checkout": (_not_in_queue, _busy_server, _not_seen),
    "saturation": (_idle_server, _not_in_driver, _left_out),
    "slow-or-dead-backend": (_elsewhere, _own_locks),
    "own-lock-chain": (_at_work, _not_at_locks, _locks_of_others),
    "blocked-worker": (_idle_loop_server,),
    "none": (_left_open, _silent_agent, _failed_answers),
}
