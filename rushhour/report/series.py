"""Defines the timeline's series, and shortens them without losing peaks."""

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

T = TypeVar("T")

Mark = Literal["line", "step", "area", "bar", "limit"]
Tone = Literal["blue", "orange", "green", "purple", "sky", "red", "grey"]

MAX_POINTS = 2000  # per series; more than a screen has columns
MAX_POINTS_TOGETHER = 100_000  # on a page, which then has less than 2 MB of them
LEAST_POINTS = 100  # per series, however many there are
GAP_S = 3.0  # samples come at least once a second; a longer pause is drawn as a gap


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a panel; a value of None is a gap. `width_s` is the width of a bar."""

    name: str
    mark: Mark
    tone: Tone
    t_s: tuple[float, ...]
    values: tuple[float | None, ...]
    width_s: float | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """Series with the same unit on the same axes; `floor_top` is the smallest top of the value axis."""

    key: str
    title: str
    unit: str
    series: tuple[Series, ...]
    log: bool = False
    floor_top: float = 1.0


@dataclass(frozen=True, slots=True)
class Moment:
    """An event that the timeline marks; `tone` is red for a failure."""

    t_s: float
    label: str
    detail: str = ""
    tone: Tone = "grey"


@dataclass(frozen=True, slots=True)
class Timeline:
    """All panels on a common time axis, in seconds since the load started.

    `shaded` holds the spans that are not judged: the warm-up, and the watch after the load.
    """

    end_s: float
    panels: tuple[Panel, ...]
    moments: tuple[Moment, ...]
    shaded: tuple[tuple[float, float, str], ...] = ()


Point = tuple[float, float | None]


def downsample(points: Sequence[Point], limit: int = MAX_POINTS) -> list[Point]:
    """Reduce points to about `limit`: the minimum, the maximum and the start of gaps of each bucket."""
    if len(points) <= limit:
        return list(points)
    size = math.ceil(len(points) / (limit // 2))
    kept: list[Point] = []
    for start in range(0, len(points), size):
        bucket = range(start, min(start + size, len(points)))
        known = [(value, at) for at in bucket if (value := points[at][1]) is not None]
        chosen = {at for at in bucket if points[at][1] is None and (at == 0 or points[at - 1][1] is not None)}
        if known:
            chosen |= {min(known)[1], max(known)[1]}
        kept += [points[at] for at in sorted(chosen)]
    return kept


def break_gaps(points: Iterable[Point], gap_s: float = GAP_S) -> list[Point]:
    """Insert a gap wherever two points are more than `gap_s` apart."""
    broken: list[Point] = []
    for t_s, value in points:
        if broken and t_s - broken[-1][0] > gap_s and broken[-1][1] is not None:
            broken.append((broken[-1][0] + gap_s / 2, None))
        broken.append((t_s, value))
    return broken


def peaks(points: Sequence[Point], width_s: float, limit: int = MAX_POINTS) -> tuple[list[Point], float]:
    """Merge bars of `width_s` into at most `limit`, keeping the maximum; return them and their width."""
    if len(points) <= limit:
        return list(points), width_s
    size = math.ceil(len(points) / limit)
    wider: list[Point] = []
    for start in range(0, len(points), size):
        bucket = points[start : start + size]
        middle = (bucket[0][0] + bucket[-1][0]) / 2
        wider.append((middle, max((value for _, value in bucket if value is not None), default=None)))
    return wider, width_s * size


def line(name: str, mark: Mark, tone: Tone, points: Iterable[Point], gap_s: float = GAP_S) -> Series:
    """Make a series of about `MAX_POINTS` points, with gaps where two are more than `gap_s` apart."""
    kept = downsample(break_gaps(points, gap_s))
    return Series(name, mark, tone, tuple(t for t, _ in kept), tuple(value for _, value in kept))


def bars(name: str, tone: Tone, points: Sequence[Point], width_s: float = 1.0) -> Series:
    """Make a series of at most `MAX_POINTS` bars."""
    kept, width = peaks(points, width_s)
    return Series(name, "bar", tone, tuple(t for t, _ in kept), tuple(value for _, value in kept), width)


def thin(panels: Sequence[Panel], together: int = MAX_POINTS_TOGETHER) -> tuple[Panel, ...]:
    """Reduce the points of a page to about `together`; every series keeps its minimum and its maximum."""
    series = [each for panel in panels for each in panel.series]
    if sum(len(each.t_s) for each in series) <= together:
        return tuple(panels)
    limit = max(together // len(series), LEAST_POINTS)

    def thinned(each: Series) -> Series:
        points = list(zip(each.t_s, each.values, strict=True))
        if each.width_s is None:
            kept, width_s = downsample(points, limit), None
        else:
            kept, width_s = peaks(points, each.width_s, limit)
        times, values = tuple(t for t, _ in kept), tuple(value for _, value in kept)
        return replace(each, t_s=times, values=values, width_s=width_s)

    return tuple(replace(panel, series=tuple(map(thinned, panel.series))) for panel in panels)


def carried_sum(
    samples: Iterable[T],
    time_of: Callable[[T], float],
    source_of: Callable[[T], Hashable],
    value_of: Callable[[T], float],
    stale_s: float = 1.5,
) -> list[Point]:
    """Return the sum over sources (processes, workers) at each sample.

    A source counts with its last value until it has had no sample for `stale_s`.
    """
    newest: dict[Hashable, tuple[float, float]] = {}
    points: list[Point] = []
    for sample in sorted(samples, key=time_of):
        now = time_of(sample)
        newest[source_of(sample)] = (now, value_of(sample))
        points.append((now, sum(value for seen, value in newest.values() if now - seen <= stale_s)))
    return points
