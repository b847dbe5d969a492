"""traffic-comparison.json: how far the traffic of a run lies from the log that it was modelled after."""

from dataclasses import dataclass
from typing import Final, Literal

TRAFFIC_FILE: Final = "traffic-comparison.json"
VERSION: Final = 1

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
    chance: float = 0.0  # how far a run of this length may lie off by chance, in the unit of the bound

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
        """Whether it is within the bound; None: unknown, or off by no more than chance explains."""
        difference = self.difference
        if difference is None:
            return None
        if abs(difference) <= self.bound:
            return True
        return False if abs(difference) > self.bound + self.chance else None


@dataclass(frozen=True, slots=True)
class TrafficComparison:
    """All figures of a comparison."""

    rows: tuple[Row, ...]
    scale: float | None  # the source's rates are multiplied by it; None: not known, and so are the rates
    doubts: tuple[str, ...] = ()  # why the run says nothing: its verdict is unknown
    source: str = "an access log"  # what the run was compared with; never the name of a log
    source_requests: int = 0
    run_requests: int = 0
    version: int = VERSION

    @property
    def outcome(self) -> Literal["near", "far", "unknown"]:
        """Far where a figure is; unknown where none is far and one is not known, or the run says nothing."""
        if self.doubts:
            return "unknown"
        if any(row.ok is False for row in self.rows):
            return "far"
        return "unknown" if any(row.ok is None for row in self.rows) or not self.rows else "near"
