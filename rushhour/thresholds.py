"""Thresholds, one line each: `p95{GET /customers/:id/referrals} < 600ms`."""

from typing import Any

from pydantic.dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Threshold:
    """A bound on one metric."""

    expr: str
    metric: str
    endpoint: str | None
    operator: str
    bound: float  # ms for percentiles, s for lag, a fraction of 1 for rates and shares


def parse_threshold(value: Any) -> Any:
    """Raises ValueError that names the value and the allowed set."""
    raise NotImplementedError
