"""Objections from what a server did meanwhile: it answered others, or its backends waited (pure)."""

from collections import Counter
from collections.abc import Iterator
from statistics import fmean
from typing import Final

from rushhour.diagnosis.backend import STUCK_S
from rushhour.diagnosis.objection import MOST, Objection
from rushhour.diagnosis.outside import BUSY_CORES, STARVED_SHARE
from rushhour.diagnosis.pressure import server_samples, without_other_pools
from rushhour.diagnosis.signals import Signals
from rushhour.diagnosis.slow_backend import UNANSWERED_S, opening_alone, seen_slow, signs_of, slow_to_open
from rushhour.rundir import History
from rushhour.rundir import facts as f

# Waits of a query that no CPU or disk of the server ends: for another transaction, server or client.
_NOT_AT_WORK: Final = ("Lock:", "Client:", "BufferPin:", "Extension:", "IPC:SyncRep", "IPC:RecoveryConflict")


def on_the_way(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict a slow server: nothing was seen of it but that connections to it are slow to open.

    Whatever lies between the service and the server makes them slow as well.
    """
    del history
    signed = [backend for backend in signals.backends if signs_of(backend, locked=True)]
    if not signed or any(seen_slow(backend) for backend in signed):
        return
    if not slow_to_open_alone(signals):
        says = "it answered the observer all the while: what is lost may be lost on the way to it"
        yield Objection("the servers", says, "postgres.jsonl error", "likely")
        return
    says = (
        "only opening or testing a connection was slow, and no silence of the server was seen: a name that "
        "is resolved slowly, TLS, a pooler, a proxy, a firewall, a hook that fetches a password, or a lack "
        "of CPU is as slow"
    )
    yield Objection("the servers", says, "postgres.jsonl error, pool.jsonl times.create_us")


def slow_to_open_alone(signals: Signals) -> bool:
    """Return whether servers show no other sign of trouble than connections that are slow to open."""
    signed = [backend for backend in signals.backends if signs_of(backend, locked=True)]
    return bool(signed) and all(opening_alone(backend) for backend in signed)


def slow_while_it_ran(signals: Signals) -> bool:
    """Return whether a server shows signs of trouble that do not come from processes that stood still."""
    return any(
        seen_slow(backend)
        or backend.connecting_ran_s >= STUCK_S
        or backend.unanswered_ran_s >= UNANSWERED_S
        or slow_to_open(
            backend.slow_creates_ran, backend.creates - backend.slow_creates + backend.slow_creates_ran
        )
        for backend in signals.backends
    )


def without_cpu(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict a slow server: who waits for its answer may wait for CPU, and reads it late."""
    window, pressure = signals.metrics.window, signals.pressure
    if window is None:
        return
    from_s, to_s = window.measured_from_s, window.load_ended_s
    if pressure is not None:
        from_s, to_s = pressure.from_s, pressure.to_s
    here = [sample for sample in history.host if from_s <= sample.t_s <= to_s]
    machine = [
        one.cpu_cores / one.limit_cores for one in here if one.component == f.MACHINE and one.limit_cores
    ]
    service = [one.cpu_cores for one in here if one.component == "service"]
    if machine and fmean(machine) >= STARVED_SHARE:
        says = f"{fmean(machine):.0%} of the machine's CPU was in use"
    elif service and fmean(service) >= BUSY_CORES:
        says = f"the service used {fmean(service):.1f} cores"
    else:
        return
    yield Objection("the service", f"{says}: answers may be read late", "host.jsonl cpu_cores, limit_cores")


def not_at_work(signals: Signals, history: History) -> Iterator[Objection]:
    """Contradict connections at work: most backends wait, so that more of them would do no more work."""
    pressure = signals.pressure
    if pressure is None:
        return
    samples = server_samples(history, pressure.pool, pressure.from_s, pressure.to_s)
    backends = [
        backend
        for sample in without_other_pools(history, pressure.pool, samples)
        for backend in sample.backends
        if backend.state != "idle"
    ]
    idle = sum(backend.state.startswith("idle") for backend in backends)
    waits = Counter(
        backend.wait
        for backend in backends
        if backend.state == "active" and backend.wait is not None and backend.wait.startswith(_NOT_AT_WORK)
    )
    if waits and waits.total() + idle >= MOST * len(backends):
        [(most, _)] = waits.most_common(1)
        what = "for a lock" if most.startswith("Lock:") else f"mostly at {most}"
        says = f"{waits.total()} of {len(backends)} backends in a transaction waited {what}"
        if idle:
            says += f", and {idle} idled"
        yield Objection("the servers", says, "postgres.jsonl backends")
