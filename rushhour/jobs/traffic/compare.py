"""How far the access log of a run lies from the log that its customers were modelled after (pure)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from rushhour.jobs.traffic.model import FEWEST_THINKS, EndpointModel, TrafficModel

MIX_POINTS: Final = 2.0
SESSIONS: Final = 0.05
THINK: Final = 0.10
CONCURRENCY: Final = 0.10

Kind = Literal["mix", "sessions", "think", "concurrency"]


@dataclass(frozen=True, slots=True)
class Row:
    """A figure of both logs; None where a log does not show it."""

    kind: Kind
    what: str
    source: float | None
    run: float | None
    bound: float  # points for a mix, else a share of the source
    unit: str

    @property
    def difference(self) -> float | None:
        """Points for a mix, else a share of the source."""
        if self.source is None or self.run is None:
            return None
        if self.kind == "mix":
            return (self.run - self.source) * 100
        return self.run / self.source - 1 if self.source else None

    @property
    def ok(self) -> bool | None:
        """Whether it is within the bound; None: unknown."""
        difference = self.difference
        return None if difference is None else abs(difference) <= self.bound


@dataclass(frozen=True, slots=True)
class Comparison:
    """All figures."""

    rows: tuple[Row, ...]
    scale: float
    doubts: tuple[str, ...] = ()  # why the run says nothing: its verdict is unknown

    @property
    def outcome(self) -> Literal["near", "far", "unknown"]:
        """Far where a figure is; unknown where none is far and one is not known, or the run says nothing."""
        if self.doubts:
            return "unknown"
        if any(row.ok is False for row in self.rows):
            return "far"
        return "unknown" if any(row.ok is None for row in self.rows) or not self.rows else "near"


def compare(
    source: TrafficModel, run: TrafficModel, scale: float = 1.0, doubts: Sequence[str] = ()
) -> Comparison:
    """Compare the log that a model was made from with the log of a run; `scale` is the scenario's."""
    return Comparison(tuple(_rows(source, run, scale)), scale, tuple(doubts))


def _rows(source: TrafficModel, run: TrafficModel, scale: float) -> Iterator[Row]:
    there = {one.name: one for one in run.endpoints}
    for one in source.endpoints:
        share = there[one.name].share if one.name in there else 0.0
        yield Row("mix", one.name, one.share, share, MIX_POINTS, "%")
    seen = source.arrivals
    rate = seen.mean_sessions_per_minute if source.replayed else seen.peak.sessions_per_minute
    yield Row(
        "sessions",
        "sessions a minute",
        rate * scale if rate is not None else None,
        run.arrivals.mean_sessions_per_minute if run.walks else None,
        SESSIONS,
        "",
    )
    coarse_s = max(source.source.resolution_s, run.source.resolution_s)
    for one in source.endpoints:
        if _thinks(one) >= FEWEST_THINKS and one.name in there and _resolved(one.median_think_s, coarse_s):
            other = there[one.name]
            median_s = other.median_think_s if _thinks(other) >= FEWEST_THINKS else None
            yield Row("think", f"think time after {one.name}", one.median_think_s, median_s, THINK, "s")
    peak = source.arrivals.peak.concurrency
    yield Row(
        "concurrency",
        "customers present at the peak",
        peak * scale if peak is not None and source.walks else None,
        run.arrivals.peak.concurrency if run.walks else None,
        CONCURRENCY,
        "",
    )


def _resolved(median_s: float | None, resolution_s: float) -> bool:
    """Whether time stamps of this resolution can show that a median lies within the bound."""
    return median_s is not None and median_s * THINK >= resolution_s / 2


def _thinks(one: EndpointModel) -> int:
    return one.after.thinks if one.after else 0


def figure(row: Row, value: float | None) -> str:
    """A figure in words."""
    if value is None:
        return "unknown"
    if row.kind == "mix":
        return f"{value:.1%}"
    return f"{value:.1f} s" if row.unit == "s" else f"{value:,.0f}"


def difference(row: Row) -> str:
    """The difference in words."""
    found = row.difference
    if found is None:
        return "unknown"
    return f"{found:+.1f} points" if row.kind == "mix" else f"{found:+.1%}"


def bound(row: Row) -> str:
    """The bound in words."""
    return f"{row.bound:g} points" if row.kind == "mix" else f"{row.bound:.0%}"
