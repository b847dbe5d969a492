"""History -> who held connections, and which were still out: tables under the timeline."""

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
    """A call site's use of a pool over the whole run, warm-up included."""

    site: f.CallSite
    pool: str
    endpoint: str | None
    checkouts: int
    held_s: float  # connection-seconds, those still out at the end included
    max_hold_s: float
    out: int  # at the end
    leaked: int  # of them, with their unit of work ended


@dataclass(frozen=True, slots=True)
class StillOut:
    """One connection that was out when the load ended."""

    pool: str
    site: f.CallSite
    endpoint: str | None
    thread: str
    server_pid: int | None
    age_s: float
    ended_ago_s: float | None  # since its unit of work ended; None: it was still running
    unit: str  # what that was: `request`, `job`


def suspects(diagnosis: Diagnosis) -> tuple[HeldSite, ...]:
    """Call sites to show with a diagnosis: those with connections out, else the heaviest; none if healthy."""
    if diagnosis.cause == "none":
        return ()
    return (
        tuple(site for site in diagnosis.call_sites if site.held or site.leaked) or diagnosis.call_sites[:1]
    )


def top_holders(history: History, window: Window) -> list[Holder]:
    """Call sites by connection-seconds up to the end of the watch, the heaviest first."""
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
    """Each connection that was out when the watch ended, or its process did; the oldest first."""
    ends = process_ends(history, window)
    rows = []
    for live in history.checkouts:
        if not is_out(live, window.end_s):
            continue
        end_s = ends.get(live.pid, window.end_s)
        ended_s = live.request_ended_s
        ended_ago_s = None if ended_s is None or ended_s > window.end_s else max(0.0, end_s - ended_s)
        age_s = max(0.0, end_s - live.taken_s)
        rows.append(
            StillOut(
                live.pool,
                live.site,
                live.endpoint,
                live.thread,
                live.server_pid,
                age_s,
                ended_ago_s,
                noun(unit_of(live)),
            )
        )
    return sorted(rows, key=lambda row: -row.age_s)
