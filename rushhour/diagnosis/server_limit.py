"""Rule: the pools of all processes together exceed the server's limit of connections."""

from rushhour.diagnosis.findings import Evidence, Finding
from rushhour.diagnosis.objection import HARDLY_ANY
from rushhour.diagnosis.processes import ProcessSignals
from rushhour.diagnosis.signals import Signals
from rushhour.diagnosis.sites import at

CAUSE = "server-limit"
FIX = (
    "Make a budget: processes x (pool_size + max_overflow), over all services of the server, has to stay "
    "below "
    "max_connections less what is reserved. Use one engine per process. Where more processes are needed than "
    "connections fit, put a pooler such as pgbouncer between them and the server."
)

ENGINE_FIX = (
    "Create the engine once per process, at import or at start-up, and use it in every request or task; an "
    "engine that must be short-lived needs `dispose()` in a `finally`, or `poolclass=NullPool`. Of engines "
    "per tenant keep few, and dispose of each that a cache drops."
)

PER_REQUEST = 0.2  # engines per request: from here on for each request of some endpoint, or each tenant
NEARLY_EACH = 0.8
NEAR = 5  # reserved for superusers, and the observer's own


def find(signals: Signals) -> Finding | None:
    """Return a finding if the service's log says that the server refused connections (SQLSTATE 53300)."""
    processes = signals.processes
    refused = processes.log_kinds.get("server_limit", 0)
    if not refused:
        return None
    full = {
        name: (most, limit)
        for name, (most, limit) in processes.limits.items()
        if limit and most >= limit - NEAR
    }
    return Finding(
        cause=CAUSE,
        confidence="certain" if full else "likely",
        share=min(1.0 - _leaked_share(signals), _share_of_refusals(signals, refused)),
        summary=_summary(processes, refused, full),
        fix=FIX if processes.engines_site is None else f"{ENGINE_FIX} {FIX}",
        evidence=(
            *_engines_evidence(processes),
            Evidence("connections that the server refused", refused, source="events.jsonl log_errors.kinds"),
            *(
                Evidence(
                    f"most connections of the {name} at once",
                    most,
                    source="postgres.jsonl connections",
                    meaning=f"max_connections {limit}, some of them reserved",
                )
                for name, (most, limit) in full.items()
            ),
            *(
                (
                    Evidence(
                        "connections that the pools of all processes may open to one server",
                        processes.pools_want,
                        source="pool.jsonl sample.size, max_overflow",
                    ),
                )
                if processes.pools_want is not None
                else ()
            ),
        ),
    )


def _leaked_share(signals: Signals) -> float:
    """Return the share of the server's connections that leaked from a pool without a limit of its own.

    Without the agent: of those that stay idle in a transaction after the load.
    """
    leak, leaked = signals.leak, 0
    if not signals.agent:
        leaked = max(signals.outside.idle_after_load.values(), default=0)
    elif leak is not None and leak.capacity is None:
        leaked = leak.leaked
    most = max((most for most, _ in signals.processes.limits.values()), default=0)
    return min(1.0, leaked / most) if most else 0.0


def _share_of_refusals(signals: Signals, refused: int) -> float:
    """Return 1, or less where nearly all who got no connection waited in vain for a pool that was full.

    A pool that is full has all its connections, so that the server refused it none of them.
    """
    share = turned_away_by_server(signals, refused)
    return 1.0 if share >= HARDLY_ANY else share


def turned_away_by_server(signals: Signals, refused: int) -> float:
    """Return the share of refused connections among these and the pools' time-outs."""
    late = signals.metrics.pool.timeouts or 0
    return refused / (refused + late) if refused else 0.0


def _engines(processes: ProcessSignals) -> str:
    site, made = processes.engines_site, processes.engines_made
    where = "?" if site is None else at(site)
    share = processes.engines_per_request or 0.0
    if share >= PER_REQUEST:
        each = "each request" if share >= NEARLY_EACH else "each request, or each tenant"
        return f"an engine is created for {each}, at {where}: {made:,} engines, each with a pool of its own"
    return f"{made:,} engines were created at {where}, each with a pool of its own"


def _engines_evidence(processes: ProcessSignals) -> tuple[Evidence, ...]:
    if processes.engines_site is None:
        return ()
    per = processes.engines_per_request
    return (
        Evidence(
            "engines created at one line",
            processes.engines_made,
            source="pool.jsonl engines.made",
            meaning=at(processes.engines_site) + ("" if per is None else f", {per:.2f} for each request"),
        ),
    )


def _summary(processes: ProcessSignals, refused: int, full: dict[str, tuple[int, int]]) -> str:
    text = f"The server refused {refused:,} connections"
    if full:
        text += ", with " + ", ".join(
            f"{most} of max_connections {limit} in use on the {name}" for name, (most, limit) in full.items()
        )
    if processes.engines_site is not None:
        text += f"; {_engines(processes)}"
    elif processes.pools_want is not None:
        text += f"; the pools of all processes together may open {processes.pools_want} to one server"
    return text + "."
