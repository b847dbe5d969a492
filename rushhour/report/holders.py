"""Builds the report's tables of call sites that held connections and of connections still out."""

from dataclasses import dataclass

from rushhour.diagnosis import Diagnosis, HeldSite
from rushhour.diagnosis.sites import process_ends, ranked_sites
from rushhour.diagnosis.units import noun, unit_of
from rushhour.metrics.pools import is_out
from rushhour.metrics.window import Window
from rushhour.rundir import History
from rushhour.rundir import facts as f


@dataclass(frozen=True, slots=True)
class Holder:
    """How one call site used a pool over the whole run, including the warm-up."""

    site: f.CallSite
    pool: str
    endpoint: str | None
    checkouts: int
    held_s: float  # connection-seconds, including connections still out at the end
    max_hold_s: float
    out: int  # connections out at the end of the watch
    leaked: int  # connections out although their unit of work had ended


@dataclass(frozen=True, slots=True)
class StillOut:
    """A connection that was out at the end of the watch."""

    pool: str
    site: f.CallSite
    endpoint: str | None
    thread: str
    server_pid: int | None
    age_s: float
    ended_ago_s: float | None  # time since its unit of work ended; None when still running
    unit: str  # kind of the unit of work: `request`, `job`


def suspects(diagnosis: Diagnosis) -> tuple[HeldSite, ...]:
    """Return the call sites to show with a diagnosis.

    These are the sites with connections out or leaked, else the one with the most connection-seconds; none
    for the cause `none`.
    """
    if diagnosis.cause == "none":
        return ()
    return (
        tuple(site for site in diagnosis.call_sites if site.held or site.leaked) or diagnosis.call_sites[:1]
    )


def top_holders(history: History, window: Window) -> list[Holder]:
    """Return call sites by connection-seconds until the end of the watch, the highest first."""
    return [
        Holder(
            site,
            pool,
            endpoint,
            tally.checkouts,
            round(tally.held_s, 3),
            tally.max_hold_s,
            tally.held,
            tally.leaked,
        )
        for (site, endpoint, pool), tally in ranked_sites(history, window)
    ]


def still_out(history: History, window: Window) -> list[StillOut]:
    """Return the connections that were out when the watch or their process ended, the oldest first."""
    ends = process_ends(history, window)
    rows = []
    for checkout in history.checkouts:
        if not is_out(checkout, window.end_s):
            continue
        end_s = ends.get(checkout.pid, window.end_s)
        ended_s = checkout.request_ended_s
        ended_ago_s = None if ended_s is None or ended_s > window.end_s else max(0.0, end_s - ended_s)
        age_s = max(0.0, end_s - checkout.taken_s)
        rows.append(
            StillOut(
                checkout.pool,
                checkout.site,
                checkout.endpoint,
                checkout.thread,
                checkout.server_pid,
                age_s,
                ended_ago_s,
                noun(unit_of(checkout)),
            )
        )
    return sorted(rows, key=lambda row: -row.age_s)
