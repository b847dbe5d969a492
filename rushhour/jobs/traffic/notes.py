"""What the model leaves out, and what the log cannot show (pure)."""

from collections.abc import Iterator, Sequence
from typing import Final

from rushhour.jobs.traffic.arrivals import SHORTEST_S, Arrivals
from rushhour.jobs.traffic.clockwork import ByClock
from rushhour.jobs.traffic.endpoints import MOST_NODES, PathTree
from rushhour.jobs.traffic.model import EndpointModel, Note
from rushhour.jobs.traffic.record import ReadingReport
from rushhour.jobs.traffic.sessions import MOST_MOVES

SESSIONS: Final = "sessions, think times and transitions"
THINK_TIMES: Final = "think times"
RATES: Final = "rates and the number present"
COARSE_S: Final = 0.5  # time stamps of this and more hide what happens within a second


def left_out_notes(tree: PathTree) -> Iterator[Note]:
    """Requests that are no part of the model."""
    out = tree.left_out
    if out.static:
        ordered = sorted(out.static.items(), key=lambda item: (-item[1], item[0]))
        kinds = ", ".join(f".{extension} {count:,}" for extension, count in ordered[:5])
        yield Note("static files", sum(out.static.values()), f"a web server or a CDN answers them ({kinds})")
    if out.bots:
        yield Note("requests of bots", out.bots, "crawlers and probes are no customers")
    if out.missing:
        yield Note(
            "requests for paths that do not exist", out.missing, "404 or 410, and no other request found them"
        )
    if out.outside:
        yield Note("requests to other paths", out.outside, "no route of the service takes them")
    if out.methods:
        yield Note(
            "requests with other methods",
            out.methods,
            "GET, POST, PUT, PATCH, DELETE, HEAD and OPTIONS are modelled",
        )


def limits(
    arrivals: Arrivals,
    report: ReadingReport,
    endpoints: Sequence[EndpointModel],
    *,
    visitors: int,
    walks: bool,
    endless: str | None,
    by_clock: ByClock,
    failed_only: bool,
    sampled: int,
    routes_known: bool,
    full: bool = False,
    uncounted: int = 0,
) -> Iterator[Note]:
    """What could not be modelled, and why."""
    span_s = arrivals.last_t - arrivals.first_t
    yield from _of_sessions(arrivals, report, visitors=visitors, walks=walks, endless=endless)
    yield from _of_clocks(by_clock)
    if arrivals.peak.sessions_per_minute is None:
        yield Note(RATES, None, f"the log spans {span_s:.0f} s; they need {SHORTEST_S:g} s")
    if failed_only:
        yield Note("how customers behave while the service works", None, "every answer in the log is a 5xx")
    if report.resolution_s >= COARSE_S and walks:
        yield Note(
            "what happens within a second",
            None,
            "the log has whole seconds: requests of a page are sent one after the other, and pauses of less "
            "than 2 s are uncertain",
        )
    if walks and all(endpoint.p50_s is None for endpoint in endpoints):
        yield Note("durations", None, "the log has none, so think times contain the time of the answer")
    doubtful = [
        endpoint.name for endpoint in endpoints if endpoint.after is not None and not endpoint.after.certain
    ]
    if doubtful and walks:
        yield Note(
            "the ends of sessions",
            None,
            f"the log is too short to tell an end from a long pause after {', '.join(doubtful[:5])}"
            + (f" and {len(doubtful) - 5} more" if len(doubtful) > 5 else ""),
        )
    if any(endpoint.queries > 0 for endpoint in endpoints):
        count = sum(endpoint.queries * endpoint.requests for endpoint in endpoints)
        yield Note(
            "queries", round(count), "their values belong to customers; QUERIES of customers.py takes yours"
        )
    if bodies := [endpoint for endpoint in endpoints if endpoint.method in ("POST", "PUT", "PATCH")]:
        yield Note(
            "bodies",
            sum(endpoint.requests for endpoint in bodies),
            "no log has them; BODIES of customers.py takes yours",
        )
    if arrivals.beyond:
        yield Note(
            "requests of another time", arrivals.beyond, "their clock is a day and more off that of the rest"
        )
    if sampled > 1:
        yield Note(
            "visitors", None, f"one of {sampled} was followed, to stay within the memory; rates count all"
        )
    if full:
        yield Note(
            "places in paths",
            None,
            f"there are more than {MOST_NODES:,}, so that words of further ones count as values; the "
            "service's routes keep them apart",
        )
    if uncounted:
        yield Note(
            "moves from endpoint to endpoint",
            uncounted,
            f"they are of more than {MOST_MOVES:,} different pairs",
        )
    if not routes_known:
        yield Note(
            "certainty about templates",
            None,
            "they are learnt; --app, --openapi or --scenarios gives the service's own routes",
        )


def _of_clocks(by_clock: ByClock) -> Iterator[Note]:
    if by_clock.visitors:
        yield Note(
            "requests by the clock",
            by_clock.total,
            f"{by_clock.visitors:,} visitors ask the same at equal intervals until the log ends, as monitors "
            "and timers do; the rates of requests count them",
        )


def _of_sessions(
    arrivals: Arrivals, report: ReadingReport, *, visitors: int, walks: bool, endless: str | None
) -> Iterator[Note]:
    """Why there are no sessions or no think times."""
    if endless is not None:
        yield Note(
            SESSIONS,
            None,
            f"{endless} at once: some visitors do not leave while it lasts (crawlers and monitors that are "
            "not known as such, many people behind one address, no addresses); take their lines out, or "
            "name with --session what tells visitors apart",
        )
        return
    if visitors < 2:
        by = report.visitors_by or "nothing in a line"
        yield Note(
            SESSIONS,
            None,
            f"every request is of one visitor (told apart by {by}); --session names what tells them apart",
        )
    elif not walks and not arrivals.sessions:
        yield Note(SESSIONS, None, "none begins in the part of the log that is looked at")
    elif not walks:
        yield Note(THINK_TIMES, None, "no visitor sent a second request after a pause")
