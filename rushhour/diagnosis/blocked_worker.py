"""An event loop that stands still while one of its requests waits for the server."""

from rushhour.diagnosis.findings import Evidence, Finding
from rushhour.diagnosis.signals import Signals
from rushhour.diagnosis.sites import at

CAUSE = "blocked-worker"
FIX = (
    "Use a driver that yields: with gevent, psycopg 3 or psycopg2 with a wait callback (psycogreen); with "
    "asyncio, an "
    "asynchronous driver, or a thread for what blocks. Or take a worker with threads: for requests that "
    "wait for a "
    "database, gunicorn's gthread is as good."
)

MOST = 0.5  # of the looks at the loop


def find(signals: Signals) -> Finding | None:
    """Looks at an event loop, most of which found the whole of it in a blocking call of the driver."""
    processes = signals.processes
    if processes.loop_share < MOST:
        return None
    where = f", mostly at {at(processes.loop_site)}" if processes.loop_site is not None else ""
    pool = signals.metrics.pool
    return Finding(
        cause=CAUSE,
        confidence="certain",
        share=1.0,
        summary=(
            f"{processes.loop_share:.0%} of the looks at the event loop found all of it waiting for the "
            f"database"
            f"{where}: one request's query holds up every other, while at most {pool.in_use_max} of "
            f"{pool.capacity} "
            "connections were ever out."
        ),
        fix=FIX,
        evidence=(
            Evidence(
                "looks that found the event loop in a call of the driver",
                f"{processes.loop_blocked:,} of {processes.loop_samples:,}",
                source="pool.jsonl loop",
                meaning="nothing else can run then",
            ),
            *(
                (Evidence("mostly at", at(processes.loop_site), source="pool.jsonl loop.site"),)
                if processes.loop_site is not None
                else ()
            ),
            *(
                (Evidence("most connections out", pool.in_use_max, source="pool.jsonl sample.checked_out"),)
                if pool.in_use_max is not None
                else ()
            ),
        ),
    )
