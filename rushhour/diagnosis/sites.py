"""Computes which call sites held connections, and for how long (pure)."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from rushhour.diagnosis.findings import HeldSite
from rushhour.diagnosis.units import most_of, unit_of
from rushhour.metrics.pools import LAST_SAMPLE_WITHIN_S, has_outlived, is_out
from rushhour.metrics.window import Window
from rushhour.rundir import History
from rushhour.rundir import facts as f

LISTED: Final = 10
_VARIABLE: Final = re.compile(r"<[^>]*>|\{[^}]*\}|:\w+")

SiteKey = tuple[f.CallSite, str | None, str]  # site, endpoint, pool


@dataclass(frozen=True, slots=True)
class HeldCheckout:
    """A check-out, as it stood when the watch ended."""

    out: f.CheckOut
    still_out: bool
    held_s: float  # until it came back, its process ended or the watch ended
    outlived: bool  # its unit of work ended before it came back

    @property
    def leaked(self) -> bool:
        """Whether it never came back after the end of its unit of work."""
        return self.outlived and self.still_out

    @property
    def collected(self) -> bool:
        """Whether only garbage collection brought it back after the end of its unit of work."""
        return self.outlived and not self.still_out and self.out.returned_by == "gc"


@dataclass(slots=True)
class SiteTally:
    """The totals of a call site, endpoint and pool."""

    checkouts: int = 0
    held_s: float = 0.0
    max_hold_s: float = 0.0
    held: int = 0
    leaked: int = 0
    collected: int = 0
    units: list[str] = field(default_factory=list)  # of the leaked and the collected


def plain_endpoint(endpoint: str) -> str:
    """Return a common spelling of `/customers/<int:id>` (the service) and `/customers/:id` (the load)."""
    return _VARIABLE.sub(":id", endpoint)


def may_be_of(name: str, route: str) -> bool:
    """Whether the name that customers gave a request may be that of a route: also a path with its values.

    So it is where a locustfile gives no names: `GET /items/17?page=2`, for `GET /items/<int:id>`.
    """
    path = r"[^/?]+".join(re.escape(part) for part in _VARIABLE.split(route))
    return plain_endpoint(name) == plain_endpoint(route) or bool(re.fullmatch(rf"{path}(\?.*)?", name))


def at(site: f.CallSite | HeldSite) -> str:
    """Describe a call site: `app/referrals.py:88 list_referrals`."""
    return f"{site.file}:{site.line} {site.function}"


def held_sites(history: History, window: Window | None) -> tuple[HeldSite, ...]:
    """Return the ten call sites that held most connection-seconds, most first.

    A connection that is out counts until the watch ended, or until its process did.
    """
    if window is None:
        return ()
    return tuple(
        HeldSite(
            file=site.file,
            line=site.line,
            function=site.function,
            endpoint=endpoint,
            pool=pool,
            held=tally.held,
            leaked=tally.leaked,
            collected=tally.collected,
            held_s=round(tally.held_s, 3),
            max_hold_s=round(tally.max_hold_s, 3),
            unit=most_of(tally.units),
        )
        for (site, endpoint, pool), tally in ranked_sites(history, window)[:LISTED]
    )


def ranked_sites(history: History, window: Window) -> list[tuple[SiteKey, SiteTally]]:
    """Return all call sites by connection-seconds until the watch ended, warm-up included; most first."""
    tallies: defaultdict[SiteKey, SiteTally] = defaultdict(SiteTally)
    for total in _last_totals(history, window):
        tally = tallies[total.site, total.endpoint, total.pool]
        tally.checkouts += total.checkouts
        tally.held_s += total.held_s
        tally.max_hold_s = max(tally.max_hold_s, total.max_hold_s)
    for held in held_checkouts(history, window):
        tally = tallies[held.out.site, held.out.endpoint, held.out.pool]
        tally.checkouts = max(tally.checkouts, 1)
        if held.still_out:  # the seconds of the others are in the total of the call site already
            tally.held_s += held.held_s
        tally.held += held.still_out
        tally.leaked += held.leaked
        tally.collected += held.collected
        if held.leaked or held.collected:
            tally.units.append(unit_of(held.out))
        tally.max_hold_s = max(tally.max_hold_s, held.held_s)
    return sorted(tallies.items(), key=lambda tally: (-tally[1].held_s, tally[0][0].file, tally[0][0].line))


def held_checkouts(history: History, window: Window) -> Iterator[HeldCheckout]:
    """Judge each notable check-out at the end of the watch; `agent exec` does so too, at any moment."""
    ends = process_ends(history, window)
    for out in history.checkouts:
        if out.taken_s > window.end_s:
            continue
        still_out = is_out(out, window.end_s)
        until_s = ends.get(out.pid, window.end_s) if still_out else (out.returned_s or out.taken_s)
        yield HeldCheckout(
            out=out,
            still_out=still_out,
            held_s=max(0.0, until_s - out.taken_s),
            outlived=has_outlived(out, window.end_s),
        )


def process_ends(history: History, window: Window) -> dict[int, float]:
    """Return until when each process of the service was seen, no later than the end of the watch."""
    last: dict[int, float] = {}
    for sample in history.pools:
        last[sample.pid] = max(sample.t_s, last.get(sample.pid, 0.0))
    return {
        pid: window.end_s if seen_s >= window.end_s - LAST_SAMPLE_WITHIN_S else seen_s
        for pid, seen_s in last.items()
    }


def checkouts_at(history: History, window: Window, keys: set[SiteKey]) -> int | None:
    """Count all check-outs of these call sites, notable or not; None if the agent wrote no totals."""
    totals = [
        total for total in _last_totals(history, window) if (total.site, total.endpoint, total.pool) in keys
    ]
    return sum(total.checkouts for total in totals) if totals else None


def checkouts_elsewhere(history: History, window: Window, keys: set[SiteKey], pool: str) -> int:
    """Count check-outs of the same endpoints and pool at all other call sites."""
    routes = {plain_endpoint(endpoint) for _, endpoint, _ in keys if endpoint is not None}
    return sum(
        total.checkouts
        for total in _last_totals(history, window)
        if total.pool == pool
        and total.endpoint is not None
        and plain_endpoint(total.endpoint) in routes
        and (total.site, total.endpoint, total.pool) not in keys
    )


def _last_totals(history: History, window: Window) -> list[f.SiteTotal]:
    """Return the totals as the watch ended: stopping the service gives back what had leaked."""
    last: dict[tuple[int, SiteKey], f.SiteTotal] = {}
    for site in history.sites:
        if site.t_s <= window.end_s:
            last[site.pid, (site.site, site.endpoint, site.pool)] = site
    return list(last.values())
