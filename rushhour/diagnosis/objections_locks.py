"""Objections from waits for locks, and from their absence (pure)."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from rushhour.diagnosis.lock_chains import program
from rushhour.diagnosis.objection import ENOUGH_LOOKS, HARDLY_ANY, MOST, NEARLY_ALL, Objection
from rushhour.diagnosis.pressure import server_samples
from rushhour.diagnosis.signals import Signals
from rushhour.diagnosis.sites import at
from rushhour.diagnosis.slow_backend import signs_of
from rushhour.metrics.wording import counted
from rushhour.rundir import History

MANY_SILENT: Final = 3  # samples without an answer: the server is in trouble of its own

_LOCKS: Final = "postgres.jsonl lock_waits joined with pool.jsonl checkout.server_pid"


def own_locks(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict a slow server: the waits for a lock are for the service's own transactions."""
    del history
    chains = [chain for locks in signals.locks for chain in locks.chains]
    own = [chain for chain in chains if chain.own]
    if not own or len(own) < MOST * len(chains):
        return
    lines = Counter(at(chain.blocker.site) for chain in own if chain.blocker is not None)
    where = f", mostly taken at {lines.most_common(1)[0][0]}" if lines else ""
    says = f"{len(own)} of {len(chains)} waits for a lock were for the service's own transactions{where}"
    alone = not any(signs_of(backend, locked=False) for backend in signals.backends)
    yield Objection("the servers", says, _LOCKS, refutes=alone and len(own) >= NEARLY_ALL * len(chains))


def locks_alike(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict a slow server: who holds the locks may be of the service, in a way that is not seen."""
    del history
    chains = [chain for locks in signals.locks for chain in locks.chains]
    alike = sum(not chain.own and chain.alike for chain in chains)
    if signals.agent and alike >= MOST * len(chains) > 0:
        yield Objection("the servers", _says_alike(alike, len(chains)), _LOCKS)


def _says_alike(alike: int, chains: int) -> str:
    return (
        f"{alike} of {chains} waits for a lock were for sessions that call themselves as those that wait, "
        "and that are no check-out: they may be of the service all the same, as behind a pooler or in a "
        "process without the agent"
    )


def locks_of_others(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict a lock of the service's own: the waits are for another session, or an unknown session."""
    del history
    chains = [chain for locks in signals.locks for chain in locks.chains]
    others = sum(not chain.own and not chain.alike for chain in chains)
    alike = sum(not chain.own and chain.alike for chain in chains)
    if signals.agent and others and others >= HARDLY_ANY * len(chains):
        whose = next((locks.whose for locks in signals.locks if locks.others), "")
        says = f"{others} of {len(chains)} waits for a lock were for another session, mostly {whose}"
        yield Objection("the servers", says, _LOCKS, refutes=others >= MOST * len(chains))
    elif signals.agent and alike >= HARDLY_ANY * len(chains) > 0:
        yield Objection("the agent", _says_alike(alike, len(chains)), _LOCKS)
    leaked = sum(chain.leaked for chain in chains)
    if leaked >= MOST * len(chains):
        says = f"{leaked} of {len(chains)} waits for a lock were for transactions that had leaked"
        yield Objection("the agent", says, "pool.jsonl checkout.request_ended_s", refutes=True)


def through_others(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict a lock of the service's own: those who wait do so behind another program that waits too."""
    del history
    chains = [chain for locks in signals.locks for chain in locks.chains]
    names = Counter(
        program(chain.through.name, chain.through.pid)
        for chain in chains
        if chain.own and chain.through is not None
    )
    if names and names.total() >= MOST * len(chains):
        says = (
            f"{names.total()} of {len(chains)} waits for a lock were behind {names.most_common(1)[0][0]}, "
            "which waits for the service itself: without it they would not wait"
        )
        yield Objection("the servers", says, _LOCKS, "likely")


def at_work(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict waits for a lock: the backends do not wait for a lock, or the server does not answer."""
    pressure = signals.pressure
    if pressure is None:
        return
    running = locked = total = silent = 0
    for sample in server_samples(history, pressure.pool, pressure.from_s, pressure.to_s):
        silent += sample.error is not None
        for backend in sample.backends:
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


def not_at_locks(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict waits for a lock: most holders do something else than wait for the server."""
    del history
    holds = signals.holds
    if holds is None or holds.looks < ENOUGH_LOOKS:
        return
    # In a cycle each wait has a holder that waits for it: one of two is in the driver.
    away = holds.queue + holds.streaming + holds.elsewhere
    if away > MOST and holds.driver < MOST - HARDLY_ANY:
        says = f"{away:.0%} of the looks at holders found them at something else than the server"
        yield Objection("the agent", says, "pool.jsonl doing")
