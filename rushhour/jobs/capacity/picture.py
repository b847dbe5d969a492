"""Draws figures of the steps over the rate of arrivals, as panels for an SVG (pure)."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from rushhour.jobs.capacity.facts import Search, Step
from rushhour.jobs.capacity.resources import GENERATOR, POOL
from rushhour.jobs.capacity.words import OUTCOMES

WIDTH, HEIGHT = 720, 190
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 14, 26
TONES: Final = ("blue", "orange", "green", "purple", "red", "grey")
MOST_PARTS: Final = 4
Drawn = Literal["holds", "gives", "unknown"]
_DRAWN: Final[dict[str, Drawn]] = {"holds": "holds", "gives": "gives", "leaks": "gives"}


@dataclass(frozen=True, slots=True)
class Dot:
    """A step: its place, its outcome (`holds`, `gives` or `unknown`) and its words."""

    x: float
    y: float
    outcome: Drawn
    label: str


@dataclass(frozen=True, slots=True)
class Curve:
    """The figures of a release or of a part; `path` joins the means of the steps that said something."""

    name: str
    tone: str
    path: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure over the rate. Ticks are places and texts; `knees` are the brackets, from x to x."""

    title: str
    curves: tuple[Curve, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    knees: tuple[tuple[float, float, str], ...]


Value = Callable[[Step], float | None]
Scale = Callable[[float], float]  # from a value to its place in the picture


def panels(searches: Sequence[Search]) -> tuple[Panel, ...]:
    """Return the panels of latency, wait for a connection and use of the parts, as far as there is data."""
    many = len(searches) > 1
    releases = [(search, TONES[number % len(TONES)]) for number, search in enumerate(searches)]
    latency = [(search, f"p95, {search.release}" if many else "p95", tone, _p95) for search, tone in releases]
    wait = [
        (search, f"wait, {search.release}" if many else "wait p99", tone, _wait) for search, tone in releases
    ]
    use: list[tuple[Search, str, str, Value]] = []
    for search in searches:
        for name in _parts(search, MOST_PARTS if not many else MOST_PARTS - 1):
            label = f"{name}, {search.release}" if many else name
            use.append((search, label, TONES[len(use) % len(TONES)], _share_of(name)))
    made = [
        _panel("Latency, p95 in ms", latency, searches, log=True),
        _panel("Wait for a connection, p99 in ms", wait, searches, log=True),
        _panel("Use of each part, in %", use, searches, log=False),
    ]
    return tuple(panel for panel in made if panel is not None)


def _p95(step: Step) -> float | None:
    return step.p95_ms


def _wait(step: Step) -> float | None:
    return step.wait_p99_ms


def _share_of(name: str) -> Value:
    def share(step: Step) -> float | None:
        return next((100 * part.share for part in step.resources if part.name == name), None)

    return share


def _parts(search: Search, most_parts: int) -> list[str]:
    """Return the parts with the highest use in any step, and always the fullest pool."""
    most: dict[str, float] = {}
    for step in search.steps:
        for part in step.resources:
            if part.name != GENERATOR or search.knee.kind == "at least":
                most[part.name] = max(most.get(part.name, 0.0), part.share)
    ordered = sorted(most, key=lambda name: -most[name])
    pool = next((name for name in ordered if name.startswith(POOL)), None)
    chosen = ordered[:most_parts]
    return chosen if pool is None or pool in chosen else [*chosen[:-1], pool]


def _panel(
    title: str,
    series: Sequence[tuple[Search, str, str, Value]],
    searches: Sequence[Search],
    *,
    log: bool,
) -> Panel | None:
    rates = [step.rate for search in searches for step in search.steps if step.rate > 0]
    values = [
        value for search, _, _, of in series for step in search.steps if (value := of(step)) is not None
    ]
    if not rates or not values:
        return None
    x_of = _scale(min(rates) / 1.1, max(rates) * 1.1, LEFT, WIDTH - RIGHT, log=True)
    lowest = max(min(values), 0.5) / 1.3 if log else 0.0
    highest = max(*values, 1.0) * 1.3 if log else max(*values, 100.0) * 1.05
    y_of = _scale(lowest, highest, HEIGHT - BOTTOM, TOP, log=log)
    return Panel(
        title,
        tuple(_curve(search, name, tone, (of, x_of, y_of)) for search, name, tone, of in series),
        tuple((x_of(tick), f"{tick:g}") for tick in _log_ticks(min(rates) / 1.1, max(rates) * 1.1)),
        tuple(
            (y_of(tick), f"{tick:g}")
            for tick in (_log_ticks(lowest, highest) if log else _even_ticks(highest))
        ),
        tuple(_knees(searches, x_of)),
    )


def _curve(search: Search, name: str, tone: str, how: tuple[Value, Scale, Scale]) -> Curve:
    value_of, x_of, y_of = how
    by_rate: dict[float, list[float]] = {}
    dots = []
    for step in search.steps:
        value = value_of(step)
        if value is None or step.rate <= 0:
            continue
        label = f"{name}: {value:,.0f} at {step.rate:g} a second ({OUTCOMES[step.outcome]})"
        outcome: Drawn = _DRAWN.get(step.outcome, "unknown")
        dots.append(Dot(x_of(step.rate), y_of(value), outcome, label))
        if outcome != "unknown":
            by_rate.setdefault(step.rate, []).append(value)
    places = [
        f"{x_of(rate):.1f},{y_of(sum(values) / len(values)):.1f}" for rate, values in sorted(by_rate.items())
    ]
    return Curve(name, tone, " ".join(places), tuple(dots))


def _knees(searches: Sequence[Search], x_of: Scale) -> Iterator[tuple[float, float, str]]:
    for search in searches:
        knee = search.knee
        if knee.kind == "knee" and knee.low is not None and knee.high is not None:
            yield x_of(knee.low), x_of(knee.high), search.release


def _scale(low: float, high: float, start: float, end: float, *, log: bool) -> Scale:
    """Return a function from values to places; values below the scale are put at its start."""

    def place(value: float) -> float:
        if log:
            share = math.log(max(value, low) / low) / math.log(high / low)
        else:
            share = (value - low) / (high - low)
        return round(start + (end - start) * min(max(share, 0.0), 1.0), 1)

    return place


def _log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten within the scale."""
    first = math.floor(math.log10(low))
    ticks = [digit * 10.0**power for power in range(first, first + 9) for digit in (1, 2, 5)]
    inside = [tick for tick in ticks if low <= tick <= high]
    return inside if len(inside) <= 9 else [tick for tick in inside if f"{tick:e}".startswith("1")]


def _even_ticks(highest: float) -> list[float]:
    step = 25.0 if highest <= 150 else 50.0 * math.ceil(highest / 400)
    return [step * number for number in range(int(highest / step) + 1)]
