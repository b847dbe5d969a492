"""Rule: a server is slow or does not answer; connections wait for it, and not for each other."""

from rushhour.diagnosis.backend import STUCK_S, BackendSignals, backend_evidence
from rushhour.diagnosis.findings import Evidence, Finding
from rushhour.diagnosis.holds import HoldSignals
from rushhour.diagnosis.objection import ENOUGH_LOOKS
from rushhour.diagnosis.pressure import PressureSignals
from rushhour.diagnosis.signals import LOCKED_S, Signals
from rushhour.rundir import facts as f

CAUSE = "slow-or-dead-backend"
FIX = (
    "Find out what the server was doing: its log, locks and disk. In the service, bound every wait for it: "
    "`connect_timeout`, TCP keepalives (`keepalives_idle`, `tcp_user_timeout`), `statement_timeout` and "
    "`lock_timeout`, so that requests fail at once and give their connections back, and other routes live on."
)
FIX_OPENING = (
    "Find out what opening or testing a connection waits for, and why that is needed so often: something "
    "ends or drops connections that idle (then `pool_recycle` below its time, and TCP keepalives), "
    "`pool_recycle` is too short, or the resolution of a name, TLS, a pooler or a hook takes its time."
)

MOST = 0.5  # of the time that its pool was full
UNANSWERED_S = 1.5  # samples come once a second, so a spell is known to within one at each end
QUEUED_S = 2.0  # a shorter queue in front of a full pool is nobody's trouble
MANY_LOST = 3  # errors, besides a spell of silence that they explain
MANY_SLOW_CREATES = 3


def find(signals: Signals) -> Finding | None:
    """Return a finding if customers felt an effect, and a server showed a sign of trouble of its own."""
    behind = signals.behind_leak  # its queries wait for what leaked, not for the server
    whose = {
        locks.server: locks.whose for locks in signals.locks if len(locks.others) * 2 > len(locks.chains)
    }
    signed = [
        (
            signs_of(
                backend,
                locked=backend is not behind and not _may_be_own(signals, backend.server),
                whose=whose.get(backend.server, "") if signals.agent else "",
            ),
            backend,
        )
        for backend in signals.backends
    ]
    signs, backend = max(signed, key=lambda pair: (len(pair[0]), pair[1].full), default=((), None))
    if not signs or backend is None or not _felt(signals, backend):
        return None
    pressure = signals.pressure
    on_pool = pressure is not None and f.server_of(pressure.pool) == backend.server
    return Finding(
        cause=CAUSE,
        confidence="certain" if len(signs) > 1 else "likely",
        share=_share(pressure, signals.holds, backend) if pressure is not None and on_pool else 1.0,
        summary=f"The {backend.server} was slow or did not answer: {', '.join(signs)}.{_or_the_way(backend)}",
        fix=f"{FIX_OPENING} {FIX}" if opening_alone(backend) else FIX,
        evidence=(
            *backend_evidence(backend),
            *(
                (Evidence("full for", round(pressure.full_s, 1), "s", "pool.jsonl sample.checked_out"),)
                if pressure is not None and on_pool
                else ()
            ),
        ),
        amplifiers=tuple(
            f"requests that waited for the {backend.server} held {count} connections of pool {pool}: it "
            f"drains as "
            "well, though its own server is well"
            for pool, count in backend.dragged.items()
        ),
    )


def _share(pressure: PressureSignals, holds: HoldSignals | None, backend: BackendSignals) -> float:
    """Return the share of the connections out that wait for the server: to be opened, or for an answer.

    Where it is only slow to open them, those that are open do not. Where it was not observed, and opened none
    for most of the time, they may.
    """
    dead = not pressure.observed and backend.connecting_s >= MOST * pressure.full_s
    if opening_alone(backend) and not dead:
        return pressure.connecting_share
    in_driver = holds.driver if holds is not None and holds.looks >= ENOUGH_LOOKS else 1.0
    return pressure.connecting_share + pressure.busy_share * in_driver


def _may_be_own(signals: Signals, server: str) -> bool:
    """Return whether, without the agent, the holders of the locks look like the waiting sessions."""
    return not signals.agent and any(locks.unknown for locks in signals.locks if locks.server == server)


def signs_of(backend: BackendSignals, locked: bool, whose: str = "") -> tuple[str, ...]:
    """Describe what the server did; its lock waits only if `locked`, held by `whose` session."""
    signs = []
    if backend.silent_s >= STUCK_S:
        signs.append(f"it gave the observer no answer for {backend.silent_s:.0f} s")
    if backend.connecting_s >= STUCK_S:
        signs.append(
            f"up to {backend.connecting_max} connections were stuck in connect, ping or reset "
            f"for {backend.connecting_s:.0f} s"
        )
    if slow_to_open(backend.slow_creates, backend.creates):
        signs.append(f"{backend.slow_creates} of {backend.creates} connections took over 1 s to open")
    if backend.unanswered_s >= UNANSWERED_S:
        signs.append(
            f"up to {backend.unanswered_max} requests waited for it while it waited for them, for "
            f"{backend.unanswered_s:.0f} s: nothing passes between them"
        )
    if signs and backend.lost >= MANY_LOST:
        signs.append(f"the service logged {backend.lost} lost or refused connections")
    if backend.standby_s >= LOCKED_S:
        signs.append(
            f"up to {backend.standby_max} commits waited for a synchronous standby, for "
            f"{backend.standby_s:.0f} s"
        )
    if locked and backend.lock_waits_s >= LOCKED_S:
        signs.append(
            f"up to {backend.lock_waits_max} backends waited for a lock, for {backend.lock_waits_s:.0f} s"
            + (f", and that for the transaction of {whose}" if whose else "")
        )
    return tuple(signs)


def slow_to_open(slow: int, creates: int) -> bool:
    """Return whether so many of the connections that were opened took over a second that it is a sign."""
    return slow >= MANY_SLOW_CREATES and slow * 2 >= creates


def opening_alone(backend: BackendSignals) -> bool:
    """Return whether nothing was seen of a server with a sign but that connections to it are slow to open."""
    return not seen_slow(backend) and backend.unanswered_s < UNANSWERED_S


def seen_slow(backend: BackendSignals) -> bool:
    """Return whether it was seen at the server itself."""
    return backend.silent_s >= STUCK_S or backend.lock_waits_s >= LOCKED_S or backend.standby_s >= LOCKED_S


def _or_the_way(backend: BackendSignals) -> str:
    """Name the other candidate, where only opening a connection was slow."""
    if not opening_alone(backend):
        return ""
    return (
        " Only opening or testing connections was seen to be slow. The server need not be why: so is what "
        "lies on the way (the resolution of its name, TLS, a pooler, a proxy, a firewall that drops "
        "connections which idled), or a hook that fetches a password."
    )


def _felt(signals: Signals, backend: BackendSignals) -> bool:
    everything = signals.metrics.all
    failed = everything.http_5xx + everything.client_timeouts
    pressure = signals.pressure
    queued = pressure is not None and pressure.queued and pressure.full_s >= QUEUED_S
    return (backend.full and queued) or failed > 0 or bool(signals.metrics.pool.timeouts)
