"""Parses thresholds such as `p95{GET /customers/:id/referrals} < 600ms`."""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Literal

from pydantic.dataclasses import dataclass

from rushhour.scenario.near import did_you_mean


class Unit(StrEnum):
    """The unit of a metric: how its bound is written, and how it is stored."""

    COUNT = "a whole number"
    SHARE = "a percentage (0.1%)"  # kept as a fraction of 1
    DURATION_MS = "a duration (400ms, 1.5s)"  # kept in ms
    DURATION_S = "a duration (500ms, 2s)"  # kept in s
    RATE = "a number a second (50 or 50/s)"
    CORES = "a number of CPU cores"


Source = Literal["requests", "generator", "pools", "postgres", "host"]


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """A metric that thresholds can use; `source` is the observer that provides its data."""

    name: str
    unit: Unit
    source: Source
    meaning: str
    per_endpoint: bool = False
    field: str = ""  # its name in verdict.json, if that has a unit

    @property
    def inside(self) -> bool:
        """Whether only the harness can measure it, and not a tester who only sends requests."""
        return self.source in ("pools", "postgres", "host")


METRICS: Final[Mapping[str, MetricSpec]] = {
    spec.name: spec
    for spec in (
        MetricSpec("p50", Unit.DURATION_MS, "requests", "median time to an answer", True, "p50_ms"),
        MetricSpec(
            "p90", Unit.DURATION_MS, "requests", "90th percentile of the time to an answer", True, "p90_ms"
        ),
        MetricSpec(
            "p95", Unit.DURATION_MS, "requests", "95th percentile of the time to an answer", True, "p95_ms"
        ),
        MetricSpec(
            "p99", Unit.DURATION_MS, "requests", "99th percentile of the time to an answer", True, "p99_ms"
        ),
        *(
            MetricSpec(
                f"p{rank}_due",
                Unit.DURATION_MS,
                "requests",
                f"{which} of the time from when a request was due to its answer",
                True,
                f"p{rank}_due_ms",
            )
            for rank, which in ((50, "median"), (95, "95th percentile"), (99, "99th percentile"))
        ),
        MetricSpec("requests", Unit.COUNT, "requests", "requests that ended", True),
        MetricSpec("achieved_rps", Unit.RATE, "requests", "requests answered 2xx or 3xx, a second", True),
        MetricSpec("throughput", Unit.RATE, "requests", "the same as achieved_rps", True, "achieved_rps"),
        MetricSpec("offered_rps", Unit.RATE, "generator", "requests sent a second, retries included"),
        MetricSpec("http_4xx", Unit.COUNT, "requests", "answers 4xx", True),
        MetricSpec("http_4xx_rate", Unit.SHARE, "requests", "answers 4xx, of all requests", True),
        MetricSpec("http_5xx", Unit.COUNT, "requests", "answers 5xx, pool time-outs among them", True),
        MetricSpec("http_5xx_rate", Unit.SHARE, "requests", "answers 5xx, of all requests", True),
        MetricSpec("client_timeouts", Unit.COUNT, "requests", "customers who gave up waiting", True),
        MetricSpec("connect_errors", Unit.COUNT, "requests", "connections refused, reset or closed", True),
        MetricSpec("unanswered_rate", Unit.SHARE, "requests", "requests without any answer, of all", True),
        MetricSpec(
            "generator_lateness_p99",
            Unit.DURATION_MS,
            "generator",
            "how late Locust's timers fired",
            field="generator_lateness_p99_ms",
        ),
        MetricSpec("locustfile_errors", Unit.COUNT, "generator", "exceptions that the locustfile raised"),
        MetricSpec("queuepool_timeouts", Unit.COUNT, "pools", "`QueuePool limit ... reached` raised"),
        MetricSpec(
            "leaked_connections",
            Unit.COUNT,
            "pools",
            "still out after their request, job or other unit of work, or back by chance",
        ),
        MetricSpec("pool_in_use_max", Unit.SHARE, "pools", "fullest pool: connections out, of its capacity"),
        MetricSpec("pool_waiters_max", Unit.COUNT, "pools", "fullest pool: most threads waiting at once"),
        MetricSpec(
            "pool_wait_p99",
            Unit.DURATION_MS,
            "pools",
            "99th percentile of the time that check-outs waited in a pool's queue",
            field="pool_wait_p99_ms",
        ),
        MetricSpec(
            "replica_lag_max",
            Unit.DURATION_S,
            "postgres",
            "most that the replica was behind",
            field="replica_lag_s_max",
        ),
        MetricSpec("primary_cpu_cores_mean", Unit.CORES, "host", "CPU of the primary"),
        MetricSpec("replica_cpu_cores_mean", Unit.CORES, "host", "CPU of the replica"),
        MetricSpec("service_cpu_cores_mean", Unit.CORES, "host", "CPU of the service"),
    )
}

OPERATORS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}

_LINE: Final = re.compile(
    r"(?P<metric>[^\s{<>=!~]+)\s*(?:\{(?P<endpoint>[^}]*)\})?\s*(?P<op>[<>=!~]+)\s*(?P<bound>.+)"
)
_ENDPOINT: Final = re.compile(r"[A-Z]+ /\S*")
_BOUND: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>\D*)")
_ONE: Final = Decimal(1)
# Decimal, so that 70% equals 21 / 30.
_SCALES: Final[Mapping[Unit, Mapping[str, Decimal]]] = {
    Unit.COUNT: {"": _ONE},
    Unit.SHARE: {"%": Decimal("0.01")},
    Unit.DURATION_MS: {"ms": _ONE, "s": Decimal(1000)},
    Unit.DURATION_S: {"ms": Decimal("0.001"), "s": _ONE},
    Unit.RATE: {"": _ONE, "/s": _ONE},
    Unit.CORES: {"": _ONE},
}


@dataclass(frozen=True, slots=True)
class Threshold:
    """A bound on a metric."""

    expr: str
    metric: str
    endpoint: str | None
    operator: str
    bound: float  # in the unit that the metric's `Unit` is kept in

    def holds(self, value: float) -> bool:
        """Return whether a value of the metric, in the same unit, is within the bound."""
        return OPERATORS[self.operator](value, self.bound)


def in_words(metric: str, value: float) -> str:
    """Format a value of a metric for people: "0.26%", "412 ms", "15"."""
    match METRICS[metric].unit:
        case Unit.SHARE:
            return f"{value * 100:.3g}%"
        case Unit.DURATION_MS:
            return f"{value:,.0f} ms" if value >= 10 else f"{value:.2g} ms"
        case Unit.DURATION_S:
            return f"{value:.3g} s"
        case Unit.RATE:
            return f"{value:,.4g}/s"
        case Unit.CORES:
            return f"{value:.2f} cores"
        case Unit.COUNT:
            return f"{value:,.0f}"


def parse_threshold(value: Any) -> Threshold:
    """Parse a line such as `p95 < 400ms`, or a threshold read back from scenario.json.

    Raises ValueError with the value and what is allowed.
    """
    if isinstance(value, Threshold):
        return value
    if isinstance(value, Mapping):
        return _read_back(value)
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a threshold; write one as in `p95 < 400ms`")  # noqa: TRY004 - pydantic collects ValueErrors only
    parts = _LINE.fullmatch(value.strip())
    if parts is None:
        raise ValueError(
            f"{value!r} is not a threshold; write `metric operator bound`, as in `p95 < 400ms` "
            "or `p95{GET /customers/:id/referrals} < 600ms`"
        )
    spec = _metric(parts["metric"], value)
    bound = _bound(parts["bound"].strip(), spec, value)
    _check_operator(parts["op"], spec, bound, value)
    return Threshold(value.strip(), spec.name, _endpoint(parts["endpoint"], spec, value), parts["op"], bound)


def _read_back(value: Mapping[Any, Any]) -> Threshold:
    expected = {field.name for field in fields(Threshold)}
    if set(value) != expected or not isinstance(value["expr"], str):
        raise ValueError(f"{dict(value)!r} is not a threshold; write it as one line, as in `p95 < 400ms`")
    return parse_threshold(value["expr"])


def _metric(name: str, line: str) -> MetricSpec:
    spec = METRICS.get(name)
    if spec is None:
        near = did_you_mean(name, METRICS)
        hint = f"; {near.rstrip()}" if near else ""
        raise ValueError(f"unknown metric {name!r} in {line!r}{hint} (known: {', '.join(METRICS)})")
    return spec


def _endpoint(text: str | None, spec: MetricSpec, line: str) -> str | None:
    if text is None:
        return None
    if not spec.per_endpoint:
        known = ", ".join(name for name, each in METRICS.items() if each.per_endpoint)
        raise ValueError(f"{spec.name} is not known per endpoint, in {line!r}; these are: {known}")
    try:
        return endpoint_of(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is not an endpoint, in {line!r}; write its method and path, as in "
            "{GET /customers/:id/referrals}"
        ) from None


def endpoint_of(text: str) -> str:
    """Return `GET /x` with single spaces. Raises ValueError if the text is not a method and a path."""
    endpoint = " ".join(text.split())
    if not _ENDPOINT.fullmatch(endpoint):
        raise ValueError(
            f"{text!r} is not an endpoint; write its method and path, as in GET /customers/:id/referrals"
        )
    return endpoint


def _bound(text: str, spec: MetricSpec, line: str) -> float:
    parts = _BOUND.fullmatch(text)
    scales = _SCALES[spec.unit]
    unit = parts["unit"].strip() if parts else ""
    if parts is None or unit not in scales:
        wrong = f"unit {unit!r}" if unit else f"bound {text!r}"
        raise ValueError(f"{wrong} does not fit {spec.name}, in {line!r}; it takes {spec.unit}")
    number = Decimal(parts["number"])
    if spec.unit is Unit.COUNT and number != number.to_integral_value():
        raise ValueError(f"bound {text!r} does not fit {spec.name}, in {line!r}; it takes {spec.unit}")
    bound = float(number * scales[unit])
    if not math.isfinite(bound) or (spec.unit is Unit.SHARE and bound > 1.0):
        raise ValueError(f"bound {text!r} is out of range, in {line!r}; {spec.name} takes {spec.unit}")
    return bound


def _check_operator(symbol: str, spec: MetricSpec, bound: float, line: str) -> None:
    """Raise ValueError for an unknown operator, or a bound that can never hold or never fail."""
    if symbol not in OPERATORS:
        raise ValueError(f"unknown operator {symbol!r} in {line!r}; known: {', '.join(OPERATORS)}")
    if symbol == "==" and spec.unit is not Unit.COUNT and bound > 0:
        raise ValueError(
            f"{spec.name} is measured, not counted: `==` would never hold, in {line!r}; use <, <=, > or >="
        )
    top = 1.0 if spec.unit is Unit.SHARE else math.inf
    if (symbol == "<" and bound == 0) or (symbol == ">" and bound == top):
        raise ValueError(f"{line!r} can never hold: {spec.name} is never {symbol} {bound:g}")
    if (symbol == ">=" and bound == 0) or (symbol == "<=" and bound == top):
        raise ValueError(f"{line!r} always holds, so it checks nothing")
