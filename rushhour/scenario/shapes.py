"""The number of customers at each moment of a run (pure); `load/plugin.py` passes it to Locust."""

import math
from bisect import bisect_right
from typing import Final

# A shape is a piecewise linear function: points of (share of the duration, share of the peak).
_LINES: Final[dict[str, tuple[tuple[float, float], ...]]] = {
    # A day: quiet morning, lunch, a calmer afternoon, then the evening peak, which stays to the end.
    "rush-hour": (
        (0.00, 0.10),
        (0.08, 0.15),
        (0.16, 0.40),
        (0.22, 0.40),
        (0.28, 0.25),
        (0.50, 1.00),
        (1.00, 1.00),
    ),
    "ramp": ((0.0, 0.0), (0.8, 1.0), (1.0, 1.0)),
    # Low, peak, low: shows the recovery as well.
    "spike": ((0.0, 0.2), (0.4, 0.2), (0.4, 1.0), (0.7, 1.0), (0.7, 0.2), (1.0, 0.2)),
    "steady": ((0.0, 1.0), (1.0, 1.0)),
    # A long plateau, then few customers: connections still checked out then have leaked.
    "soak": ((0.00, 0.1), (0.05, 1.0), (0.95, 1.0), (0.97, 0.1), (1.00, 0.1)),
}

SHAPES: Final = tuple(_LINES)

# Push notifications, as shares of the duration: many customers act at once, on top of the peak.
_PUSHES: Final[dict[str, tuple[float, ...]]] = {"rush-hour": (0.53,)}


def points_of(shape: str) -> tuple[tuple[float, float], ...]:
    """Return a shape as points of (share of the duration, share of the peak). Raises KeyError."""
    return _LINES[shape]


def users_at(shape: str, t_s: float, peak: int, duration_s: float) -> int:
    """Return the number of customers at `t_s` seconds, from 1 to `peak`. Raises KeyError."""
    line = _LINES[shape]
    x = min(max(t_s / duration_s, 0.0), 1.0)
    # bisect_right: at a jump, the value after the jump is used.
    right = bisect_right([point[0] for point in line], x)
    if right == len(line):
        share = line[-1][1]
    else:
        (x0, y0), (x1, y1) = line[right - 1], line[right]
        share = y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return min(max(round(share * peak), 1), peak)


def step_towards(users: int, wanted: int, most: float) -> int:
    """Return the next number of customers from `users` towards `wanted`, a step of 1 to `most`."""
    step = max(1, math.floor(most))
    return min(wanted, users + step) if wanted > users else max(wanted, users - step)


def pushes(shape: str, duration_s: float) -> tuple[float, ...]:
    """Return the times of push notifications, in seconds from the start of the load."""
    return tuple(share * duration_s for share in _PUSHES.get(shape, ()))
