"""Rule: requests wait for a lock that a transaction of the service itself holds."""

from collections import Counter
from typing import Final

from rushhour.diagnosis.findings import Confidence, Evidence, Finding
from rushhour.diagnosis.lock_chains import IDLE, Chain, LockSignals
from rushhour.diagnosis.pressure import pressure_evidence
from rushhour.diagnosis.signals import LOCKED_S, Signals
from rushhour.diagnosis.sites import at
from rushhour.metrics.wording import counted
from rushhour.rundir import facts as f

CAUSE: Final = "own-lock-chain"
FIX: Final = (
    "Take the lock last and for a moment: update the row right before the commit, and wait for nothing else "
    "in between. Spread a row that everybody updates (per shard, or as inserts that a job adds up), and set "
    "`lock_timeout`, so that who waits gives its connection back. A larger pool only lengthens the queue."
)
FIX_CYCLE: Final = (
    "Use one session for the request: hand it to the helper that opens its own, or commit the first one "
    "before the second one writes. The server cannot see that its client waits for itself: set "
    "`lock_timeout`, so that such a wait ends."
)
FIX_DEADLOCK: Final = (
    "Take locks in one order everywhere: sort what a transaction updates by its key before the first update, "
    "or lock all of its rows at once (`SELECT ... ORDER BY id FOR UPDATE`). Repeat a transaction that the "
    "server has ended. A larger pool only lengthens the queue."
)

MOST: Final = 0.5  # of the waits for a lock
NEARLY_ALL: Final = 0.8
WORTH_SAYING: Final = 0.2  # of the connections that were out
LEFT_S: Final = 1.0  # a session that idles for this long in a transaction without a check-out was given back
MANY_SAMPLES: Final = 3  # of the server, once a second, with such a wait


def find(signals: Signals) -> Finding | None:
    """Return a finding if waits for own transactions kept most connections while customers had to wait."""
    if not felt(signals):
        return None
    locks = max(signals.locks, key=lambda locks: len(locks.own), default=None)
    if locks is None or not locks.own_samples:
        return _alike(signals)
    few = locks.own_samples < MANY_SAMPLES
    if len(locks.own) < MOST * len(locks.chains) or locks.share < (MOST if few else WORTH_SAYING):
        return None
    cycles = len(locks.cycles) >= MOST * len(locks.own)
    deadlocks = len(locks.deadlocks) >= MOST * len(locks.own)
    pressure = signals.pressure
    on_pool = pressure is not None and f.server_of(pressure.pool) == locks.server
    return Finding(
        cause=CAUSE,
        confidence="possible" if few else _confidence(locks, cycles or deadlocks),
        share=locks.share,
        summary=_cycle_summary(locks) if cycles else _summary(locks),
        fix=FIX_CYCLE if cycles else FIX_DEADLOCK if deadlocks else FIX,
        evidence=(
            *_evidence(locks),
            *(pressure_evidence(pressure) if pressure is not None and on_pool else ()),
        ),
    )


def _alike(signals: Signals) -> Finding | None:
    """Return a finding if changing sessions of the same program hold the locks, none of them a check-out.

    So it looks without the agent, and behind a pooler, where no pid of the server is that of a check-out.
    """
    locks = max(signals.locks, key=lambda locks: len(locks.chains), default=None)
    if locks is None or not locks.alike or signals.outside.idle_after_load:
        return None
    samples = {chain.t_s for chain in locks.chains}
    if len(samples) < max(MANY_SAMPLES, locks.samples * MOST):
        return None
    ends = {chain.last.blocked_by for chain in locks.chains}
    why = (
        "as behind a pooler or in a process without the agent" if signals.agent else "without the pool agent"
    )
    summary = (
        f"Sessions of the {locks.server} waited for locks in {len(samples)} of {locks.samples} samples, and "
        f"in the end for {len(ends)} sessions of the same name as theirs, {locks.chains[0].wait.name}: the "
        f"service seems to wait for its own transactions. The lines are not known, {why}."
    )
    return Finding(CAUSE, "possible", 1.0, summary, FIX)


def felt(signals: Signals) -> bool:
    """Return whether customers waited for a connection, or got no good answer."""
    everything, pressure = signals.metrics.all, signals.pressure
    failed = everything.http_5xx + everything.client_timeouts
    return (pressure is not None and pressure.hurt) or failed > 0 or bool(signals.metrics.pool.timeouts)


def _confidence(locks: LockSignals, cycles: bool) -> Confidence:
    """Return `certain` if the blocking transactions were seen idle at a line of the service or in a cycle."""
    seen = [chain for chain in locks.own if chain.blocker is not None]
    idle = [item for item in seen if (item.last.blocker_state or "").startswith(IDLE)]
    nearly_all = NEARLY_ALL * len(locks.chains)
    if locks.spell_s < LOCKED_S or locks.share < MOST or len(locks.own) < nearly_all:
        return "likely"
    return "certain" if cycles or len(idle) >= MOST * len(locks.own) else "likely"


def _summary(locks: LockSignals) -> str:
    own = locks.own
    text = f"Up to {locks.waiting_max} connections at once waited for a lock on the {locks.server}, for "
    text += f"{locks.spell_s:.0f} s: " if locks.spell_s else "moments at a time: "
    waiters = Counter(chain.held.site for chain in own if chain.held is not None)
    statements = Counter(chain.wait.statement for chain in own if chain.wait.statement)
    what = f"`{statements.most_common(1)[0][0]}`" if statements else "a statement"
    if waiters:
        what += f" on the connection taken at {at(waiters.most_common(1)[0][0])}"
    text += f"{what} waits for {_transaction(own)}."
    if len(locks.deadlocks) < MOST * len(own):
        return text
    return f"{text} They wait for each other: a deadlock, which the server ends with an error."


def _transaction(own: tuple[Chain, ...]) -> str:
    """Describe `the transaction that app/x.py:3 f opened, which idles at app/x.py:9 f for up to 4.2 s`."""
    sites = Counter(chain.blocker.site for chain in own if chain.blocker is not None)
    left = [chain for chain in own if chain.blocker is None and _is_left(chain.last)]
    if len(left) > MOST * len(own):
        return (
            "connections that are back in their pool and keep a lock all the same, for up to "
            f"{_longest(left, idle=True):.1f} s: an advisory lock of the session outlives its transaction, "
            "and without a reset (`pool_reset_on_return=None`) so does every lock"
        )
    if not sites:
        return "transactions of the service itself, too short to be seen one by one"
    [(site, _)] = sites.most_common(1)
    there = [chain for chain in own if chain.blocker is not None and chain.blocker.site == site]
    text = f"the transaction that {at(site)} opened"
    idle = [item for item in there if (item.last.blocker_state or "").startswith(IDLE)]
    if len(idle) < MOST * len(there):
        return f"{text}, which runs queries itself, for up to {_longest(there, idle=False):.1f} s"
    line = line_of(idle)
    stands = f" at {at(line)}" if line is not None else ""
    return f"{text}, which idles{stands} for up to {_longest(idle, idle=True):.1f} s"


def _is_left(wait: f.LockWait) -> bool:
    """Return whether a blocking session does nothing, for longer than between two statements."""
    state = wait.blocker_state or ""
    return state == IDLE or (state.startswith(IDLE) and (wait.blocker_state_s or 0.0) >= LEFT_S)


def line_of(chains: list[Chain]) -> f.CallSite | None:
    """Return the line at which the owners of the blocking transactions were seen outside of the driver."""
    lines = Counter(
        chain.blocker.stands_at
        for chain in chains
        if chain.blocker is not None and chain.blocker.stands_at is not None
    )
    return lines.most_common(1)[0][0] if lines else None


def _longest(chains: list[Chain], *, idle: bool) -> float:
    ages = (chain.last.blocker_state_s if idle else chain.last.blocker_xact_s for chain in chains)
    return max((age for age in ages if age is not None), default=0.0)


def _cycle_summary(locks: LockSignals) -> str:
    pairs = Counter(
        apart(cycle.blocker, cycle.held)
        for cycle in locks.cycles
        if cycle.blocker is not None and cycle.held is not None and cycle.held.owner == cycle.blocker.owner
    )
    longest_s = max((cycle.wait.waited_s or 0.0 for cycle in locks.cycles), default=0.0)
    requests = len({cycle.last.blocked_by for cycle in locks.cycles})
    text = (
        f"The service waits for itself: {counted(requests, 'time')} a request or job waited, for up to "
        f"{longest_s:.1f} s, for a lock that it holds with another connection of its own"
    )
    if pairs:
        [((first, second), _)] = pairs.most_common(1)
        text += f"; the first was taken at {first}, and waits at the second, taken at {second}"
    return f"{text}. The {locks.server} sees no deadlock, for it knows nothing of what its client waits for."


def apart(first: f.CheckOut, second: f.CheckOut) -> tuple[str, str]:
    """Return the lines of two check-outs: the innermost callers that differ, if one line made both."""
    for item, other in zip(first.stack, second.stack, strict=False):
        if item != other:
            return item, other
    return at(first.site), at(second.site)


def _evidence(locks: LockSignals) -> tuple[Evidence, ...]:
    source = "postgres.jsonl lock_waits joined with pool.jsonl checkout.server_pid"
    own = locks.own
    found = [
        Evidence(
            "waits for a lock that end at a running transaction of the service",
            f"{len(own)} of {len(locks.chains)}",
            source=source,
            meaning=f"in {locks.own_samples} of {counted(locks.samples, 'sample')} of the {locks.server}",
        ),
        Evidence(
            "connections that waited so, or were waited for, of those out",
            round(locks.share * 100, 1),
            "%",
            source,
        ),
        Evidence("most of them at once", locks.waiting_max, source=source),
    ]
    idle = [chain for chain in own if (chain.last.blocker_state or "").startswith(IDLE)]
    found.append(
        Evidence(
            "of those waits, the transaction waited for idled",
            f"{len(idle)} of {len(own)}",
            source="postgres.jsonl lock_waits.blocker_state",
            meaning=f"for up to {_longest(idle, idle=True):.1f} s",
        )
    )
    if locks.cycles:
        found.append(
            Evidence(
                "of those waits, its owner waits for itself",
                f"{len(locks.cycles)} of {len(own)}",
                source="pool.jsonl checkout.owner joined with postgres.jsonl lock_waits",
            )
        )
    if locks.deadlocks:
        found.append(
            Evidence(
                "of those waits, they lead in a circle",
                f"{len(locks.deadlocks)} of {len(own)}",
                source="postgres.jsonl lock_waits",
                meaning="a deadlock",
            )
        )
    if locks.others:
        found.append(Evidence("waits for somebody else's session", len(locks.others), meaning=locks.whose))
    return tuple(found)
