"""History -> who held connections, and which were still out: tables under the timeline."""

from collections import Counter, defaultdict
from dataclasses import dataclass

from rushhour.diagnosis import Diagnosis, HeldSite
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
    leaked: int  # of them, with their request ended


@dataclass(frozen=True, slots=True)
class StillOut:
    """One connection that was out when the load ended."""

    pool: str
    site: f.CallSite
    endpoint: str | None
    thread: str
    server_pid: int | None
    age_s: float
    ended_ago_s: float | None  # since its request ended; None: the request was still running


def suspects(diagnosis: Diagnosis) -> tuple[HeldSite, ...]:
    """Call sites to show with a diagnosis: those with connections out, else the heaviest; none if healthy."""
    if diagnosis.cause == "none":
        return ()
    return (
        tuple(site for site in diagnosis.call_sites if site.held or site.leaked) or diagnosis.call_sites[:1]
    )


_Key = tuple[f.CallSite, str, str | None]


def top_holders(history: History, end_s: float) -> list[Holder]:
    """Call sites by connection-seconds up to `end_s` (since the anchor), the heaviest first."""
    totals: dict[tuple[int, _Key], f.SiteTotal] = {}
    for row in history.sites:
        totals[row.pid, (row.site, row.pool, row.endpoint)] = row
    held: dict[_Key, float] = defaultdict(float)
    longest: dict[_Key, float] = defaultdict(float)
    checkouts: Counter[_Key] = Counter()
    out: Counter[_Key] = Counter()
    leaked: Counter[_Key] = Counter()
    for (_, key), row in totals.items():
        held[key] += row.held_s
        longest[key] = max(longest[key], row.max_hold_s)
        checkouts[key] += row.checkouts
    for live in _out_at(history, end_s):
        key = (live.site, live.pool, live.endpoint)
        age_s = end_s - live.taken_s
        if live.returned_s is None:  # a hold that came back later is in its site's total already
            held[key] += age_s
        longest[key] = max(longest[key], age_s)
        checkouts[key] = max(checkouts[key], 1)
        out[key] += 1
        leaked[key] += _ended(live, end_s)
    rows = [Holder(*key, checkouts[key], held[key], longest[key], out[key], leaked[key]) for key in checkouts]
    return sorted(rows, key=lambda row: (-row.held_s, row.site.file, row.site.line))


def still_out(history: History, end_s: float) -> list[StillOut]:
    """Each connection that was out at `end_s` (since the anchor), the oldest first."""
    rows = [
        StillOut(
            live.pool,
            live.site,
            live.endpoint,
            live.thread,
            live.server_pid,
            end_s - live.taken_s,
            end_s - live.request_ended_s
            if _ended(live, end_s) and live.request_ended_s is not None
            else None,
        )
        for live in _out_at(history, end_s)
    ]
    return sorted(rows, key=lambda row: -row.age_s)


def _out_at(history: History, at_s: float) -> list[f.CheckOut]:
    return [
        c for c in history.checkouts if c.taken_s <= at_s and (c.returned_s is None or c.returned_s > at_s)
    ]


def _ended(live: f.CheckOut, at_s: float) -> bool:
    return live.request_ended_s is not None and live.request_ended_s <= at_s
