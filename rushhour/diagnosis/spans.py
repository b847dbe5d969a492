"""Times that do not overlap, and how much of another time they are (pure)."""

from bisect import bisect
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

Span = tuple[float, float]  # from, to, in seconds


@dataclass(frozen=True)
class Spans:
    """Times that do not overlap, in order; see `merged`."""

    spans: tuple[Span, ...]

    @cached_property
    def _starts(self) -> tuple[float, ...]:
        return tuple(start for start, _ in self.spans)

    @cached_property
    def _before_s(self) -> tuple[float, ...]:
        """How long the spans before each one are in all; at last, how long all are."""
        return (0.0, *accumulate(end - start for start, end in self.spans))

    @property
    def total_s(self) -> float:
        return self._before_s[-1]

    def within_s(self, from_s: float, to_s: float) -> float:
        """Return how much of a time lies within the spans."""
        return self._until_s(to_s) - self._until_s(from_s) if to_s > from_s else 0.0

    def _until_s(self, t_s: float) -> float:
        at = bisect(self._starts, t_s) - 1
        return 0.0 if at < 0 else self._before_s[at] + min(t_s, self.spans[at][1]) - self.spans[at][0]


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return the times that lie within any of these, in order and without overlaps."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return tuple(found)
