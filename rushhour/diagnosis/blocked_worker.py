"""Rule: an event loop stands still while a callback waits or computes."""

from typing import Final

from rushhour.diagnosis.findings import Confidence, Evidence, Finding
from rushhour.diagnosis.objection import ENOUGH_LOOKS
from rushhour.diagnosis.processes import ProcessSignals
from rushhour.diagnosis.signals import Signals
from rushhour.diagnosis.sites import at

CAUSE = "blocked-worker"
FIX_DRIVER = (
    "Use a driver that yields: with gevent, psycopg 3 or psycopg2 with a wait callback (psycogreen); with "
    "eventlet, psycopg2 or PyMySQL after `eventlet.monkey_patch()`; with asyncio, an asynchronous driver, or "
    "a thread for what blocks. Or take a worker with threads: for requests that wait for a database, "
    "gunicorn's gthread is as good."
)
FIX_WAIT = (
    "Wait in a way that yields: `await asyncio.sleep(...)` instead of `time.sleep(...)`, an asynchronous "
    "HTTP client instead of a blocking one; or hand what blocks to a thread (`asyncio.to_thread`, "
    "`run_in_threadpool`, or under FastAPI a path operation that is a plain `def`)."
)
FIX_COMPUTE = (
    "Take what computes out of the event loop: into a thread if it gives way to others "
    "(`asyncio.to_thread`), else into a process of its own; or do less of it per request."
)

MOST: Final = 0.5  # of the looks at the loop
NEARLY_ALL: Final = 0.8  # of the looks that found it blocked


def find(signals: Signals) -> Finding | None:
    """Return a finding if most looks at an event loop found it in a callback that does not yield.

    A blocking driver does so at many lines; anything else that blocks a loop most of the time is a single
    line.
    """
    processes = signals.processes
    if processes.loop_share < MOST:
        return None
    if not _by_driver(processes) and processes.loop_there < MOST * processes.loop_blocked:
        return None
    return Finding(
        cause=CAUSE,
        confidence=_confidence(processes),
        share=1.0 - _leaked_share(signals),
        summary=_summary(signals),
        fix=_fix(processes),
        evidence=_evidence(signals),
    )


def _leaked_share(signals: Signals) -> float:
    """Return the share of the pool that had leaked: whoever asks it for a connection then blocks the loop."""
    leak = signals.leak
    return min(1.0, leak.leaked / leak.capacity) if leak is not None and leak.capacity else 0.0


def _by_driver(processes: ProcessSignals) -> bool:
    return processes.loop_driver >= MOST * processes.loop_blocked


def _confidence(processes: ProcessSignals) -> Confidence:
    if processes.loop_samples < ENOUGH_LOOKS:
        return "possible"
    if _by_driver(processes):
        return "certain"
    waits = processes.loop_driver + processes.loop_waits >= NEARLY_ALL * processes.loop_blocked
    at_one_line = processes.loop_there >= NEARLY_ALL * processes.loop_blocked
    return "certain" if waits and at_one_line else "likely"


def _fix(processes: ProcessSignals) -> str:
    if _by_driver(processes):
        return FIX_DRIVER
    return FIX_WAIT if processes.loop_waits >= processes.loop_computes else FIX_COMPUTE


def _what(processes: ProcessSignals) -> tuple[str, str]:
    if _by_driver(processes):
        return (
            "waiting for the database, or for a connection to it",
            "one request's query holds up every other",
        )
    if processes.loop_waits >= processes.loop_computes:
        return "in a wait that does not yield", "while one request waits there, no other runs"
    return "computing", "while one request computes there, no other runs"


def _summary(signals: Signals) -> str:
    processes, pool = signals.processes, signals.metrics.pool
    doing, so = _what(processes)
    where = f", mostly at {at(processes.loop_site)}" if processes.loop_site is not None else ""
    longest = (
        f", for up to {processes.loop_longest_s:.1f} s look after look"
        if processes.loop_longest_s >= 1
        else ""
    )
    return (
        f"{processes.loop_share:.0%} of the looks at the event loop found all of it {doing}{where}{longest}: "
        f"{so}, with {pool.most_out()}."
    )


def _evidence(signals: Signals) -> tuple[Evidence, ...]:
    processes, pool = signals.processes, signals.metrics.pool
    found = [
        Evidence(
            "looks that found the event loop blocked",
            f"{processes.loop_blocked:,} of {processes.loop_samples:,}",
            source="pool.jsonl loop",
            meaning="nothing else can run then",
        ),
        *(
            Evidence(f"of these, {words}", looks, source=f"pool.jsonl loop.{name}")
            for name, words, looks in (
                ("driver", "in a call of a driver", processes.loop_driver),
                ("waits", "in another wait", processes.loop_waits),
                ("computes", "computing", processes.loop_computes),
            )
            if looks
        ),
    ]
    if processes.loop_site is not None:
        found.append(Evidence("mostly at", at(processes.loop_site), source="pool.jsonl loop.site"))
    if processes.loop_longest_s:
        longest = round(processes.loop_longest_s, 1)
        found.append(Evidence("longest at one line", longest, "s", "pool.jsonl loop.longest_s"))
    if pool.in_use_max is not None:
        found.append(
            Evidence("most connections out", pool.in_use_max, source="pool.jsonl sample.checked_out")
        )
    return tuple(found)
