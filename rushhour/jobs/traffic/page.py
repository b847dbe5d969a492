"""traffic.html: the log and its model side by side; comparison.html: a log and a run's log (pure)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from rushhour.jobs.traffic.model import EndpointModel, TrafficModel, expected_visits
from rushhour.jobs.traffic.pauses import SHARES
from rushhour.jobs.traffic.words import facts, left_out_lines, moment
from rushhour.report import traffic
from rushhour.report.embed import asset
from rushhour.report.page import render_page
from rushhour.rundir.traffic import TrafficComparison

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
WIDTH: Final = 1000.0
HEIGHT: Final = 160.0
_NEXT_SHOWN: Final = 4


@dataclass(frozen=True, slots=True)
class Curve:
    """A line of the picture over time; `path` is SVG."""

    title: str
    top: str
    path: str


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """An endpoint in the log and in the model."""

    model: EndpointModel
    in_model: float | None  # its share of the requests that the model sends
    following: tuple[tuple[str, str, float], ...]  # how, endpoint, share of all answers
    think: tuple[tuple[float, float], ...]  # bars of the think time: share of the height, seconds


@dataclass(frozen=True, slots=True)
class Hour:
    """A cell of the week."""

    label: str
    strength: float  # 0 to 1
    seen: bool


def model_page(model: TrafficModel) -> str:
    """traffic.html."""
    content: dict[str, object] = {
        "what": "traffic",
        "model": model,
        "facts": list(facts(model)),
        "curves": _curves(model),
        "curve_from": moment(model.arrivals.curve[0][0]) if model.arrivals.curve else "",
        "curve_to": moment(model.arrivals.last_t),
        "week": _week(model),
        "zone": model.arrivals.timezone,
        "hours_known": sum(any(row) for row in model.arrivals.hours_seen) > 0,
        "rows": _rows(model),
        "sides": _sides(model),
        "left_out": list(left_out_lines(model)),
        "skipped": sorted(model.source.skipped.items(), key=lambda item: -item[1]),
    }
    return render_page("traffic.html.j2", content, package=__package__, css=asset("traffic.css", __package__))


def comparison_page(found: TrafficComparison, source: TrafficModel, run: TrafficModel) -> str:
    """comparison.html."""
    content: dict[str, object] = {
        "what": "comparison",
        "found": found,
        "tone": traffic.TONE[found.outcome],
        "headline": traffic.headline(found),
        "traffic_rows": [traffic.cells(row) for row in found.rows],
        "traffic_notes": traffic.notes(found),
        "notes": [*left_out_lines(source)],
        "run_notes": [*left_out_lines(run)],
    }
    return render_page(
        "comparison.html.j2", content, package=__package__, css=asset("traffic.css", __package__)
    )


def _curves(model: TrafficModel) -> list[Curve]:
    points = model.arrivals.curve
    if len(points) < 3:
        return []
    names = [("requests a second", 1)]
    if model.walks:
        names += [("new sessions a minute", 2), ("customers present", 3)]
    return [_curve(title, [point[at] for point in points]) for title, at in names]


def _curve(title: str, values: Sequence[float]) -> Curve:
    top = max(values) or 1.0
    step = WIDTH / (len(values) - 1)
    places = [f"{at * step:.1f},{HEIGHT * (1 - value / top):.1f}" for at, value in enumerate(values)]
    return Curve(title, f"{top:,.0f}" if top >= 10 else f"{top:.2g}", "M" + " L".join(places))


def _week(model: TrafficModel) -> list[tuple[str, list[Hour]]]:
    by_hour, seen = model.arrivals.by_hour, model.arrivals.hours_seen
    top = max(max(row) for row in by_hour) or 1.0
    return [
        (
            day,
            [
                Hour(f"{day} {hour:02}:00: {count:,.0f} requests an hour", count / top, bool(times))
                for hour, (count, times) in enumerate(zip(counts, of, strict=True))
            ],
        )
        for day, counts, of in zip(DAYS, by_hour, seen, strict=True)
        if any(of)
    ]


def _rows(model: TrafficModel) -> list[EndpointRow]:
    visits = expected_visits(model.endpoints) if model.walks else {}
    total = sum(visits.values())
    return [
        EndpointRow(
            endpoint,
            visits[endpoint.name] / total if total else None,
            tuple(_following(endpoint)) if model.walks else (),
            tuple(_think(endpoint, model.source.resolution_s)) if model.walks else (),
        )
        for endpoint in model.endpoints
    ]


def _following(one: EndpointModel) -> Iterator[tuple[str, str, float]]:
    if one.after is None:
        return
    ways = [("at once", name, one.after.at_once * share) for name, share in one.at_once.items()]
    ways += [("then", name, one.after.think * share) for name, share in one.think.items()]
    ways.append(("leaves", "", one.after.end))
    yield from sorted((way for way in ways if way[2] >= 0.005), key=lambda way: -way[2])[:_NEXT_SHOWN]


def _think(one: EndpointModel, resolution_s: float) -> Iterator[tuple[float, float]]:
    """The density between quantiles, for small bars: every bar has a twentieth of the think times."""
    if one.after is None or not one.after.think_s:
        return
    seconds = one.after.think_s[: SHARES.index(0.95) + 1]
    widths = [max(high - low, resolution_s / 2, 1e-3) for low, high in pairwise(seconds)]
    densest = max(1 / width for width in widths)
    for width, high in zip(widths, seconds[1:], strict=False):
        yield 1 / width / densest, high


def _sides(model: TrafficModel) -> list[tuple[str, str, str]]:
    """Figures of the log beside those that the model makes of it."""
    peak, seen = model.arrivals.peak, model.arrivals
    if not model.walks:
        return []
    begun = seen.sessions
    rows: list[tuple[str, float | None, float | None, str]] = [
        ("sessions a minute, at the peak", peak.sessions_per_minute, peak.sessions_per_minute, ",.0f"),
        ("customers present", peak.concurrency, model.users, ",.0f"),
        (
            "requests in a session",
            seen.requests / begun if begun and model.sampled == 1 else None,
            model.session_requests,
            ".1f",
        ),
    ]
    return [(name, _figure(log, form), _figure(made, form)) for name, log, made, form in rows]


def _figure(value: float | None, form: str) -> str:
    return "unknown" if value is None else format(value, form)
