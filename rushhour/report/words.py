"""Formats counts, durations and metrics for all reports."""

from collections.abc import Sequence
from typing import Final

from rushhour.diagnosis import Evidence
from rushhour.process import printable
from rushhour.rundir.masking import mask_urls
from rushhour.scenario.model import Scenario
from rushhour.scenario.thresholds import in_words
from rushhour.verdict.judge import ThresholdResult, Verdict

VERDICT_STYLE: Final = {"pass": "bold green", "fail": "bold red", "unknown": "bold yellow"}

UNKNOWN: Final = "-"

Number = float | int | None


def clean(text: object) -> str:
    """Return text for a terminal, a page or XML: no control characters, and no password in a URL.

    Older runs, and those of strangers, were written without either in mind.
    """
    return printable.clean(mask_urls(str(text)))


def count(value: Number) -> str:
    """Format a count: `12,345`; an unknown one is a hyphen, never 0."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def ms(value: Number) -> str:
    """Format milliseconds: `8.2 ms`, `41 ms`, `2.00 s`, `30.0 s`."""
    if value is None:
        return UNKNOWN
    if value >= 1000:
        return f"{value / 1000:,.{1 if value >= 10_000 else 2}f} s"
    return f"{value:.{0 if value >= 10 else 1}f} ms"


def seconds(value: Number) -> str:
    """Format seconds: `12 ms`, `4.2 s`, `3 min 10 s`."""
    if value is None:
        return UNKNOWN
    if 0 < value < 0.1:
        return ms(value * 1000)
    if value < 120:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def held(connection_s: float) -> str:
    """Format connection-seconds: `1,577`, `0.4`."""
    return f"{connection_s:,.{0 if connection_s >= 10 else 1}f}"


def cores(value: Number) -> str:
    return UNKNOWN if value is None else f"{value:.2f}"


def share(part: Number, whole: Number) -> str:
    """Format a part of a whole: `30/30`; an unknown number is a hyphen."""
    return f"{count(part)}/{count(whole)}"


def metric(name: str, value: Number) -> str:
    """Format a metric of verdict.json with the unit that its name ends in."""
    if value is None:
        return "no data"
    for ending, unit in (("_ms", "ms"), ("_s", "s"), ("_s_max", "s"), ("_rps", "requests/s")):
        if name.endswith(ending):
            return f"{value:,.6g} {unit}"
    if name.endswith("_rate"):
        return f"{value:.4%}"
    if "_cores" in name:
        return f"{value:.2f} cores"
    return f"{value:,.6g}" if isinstance(value, float) else f"{value:,}"


def threshold_value(result: ThresholdResult) -> str:
    """Format the value of a judged threshold, in the unit of its metric."""
    return "no data" if result.value is None else in_words(result.threshold.metric, result.value)


def evidence_value(evidence: Evidence) -> str:
    """Format the value of a piece of evidence with its unit."""
    value = clean(evidence.value) if isinstance(evidence.value, str) else f"{evidence.value:,.6g}"
    return f"{value} {clean(evidence.unit)}".rstrip()


def over_what(scenario: Scenario) -> str:
    """Say which part of a run the figures cover."""
    warm_up = scenario.load.warm_up
    measured = f"after the warm-up of {warm_up:g} s" if warm_up else "over the whole load"
    return (
        f"Figures and thresholds are taken {measured}; check-outs, connection-seconds and connections still "
        "out over the whole run, until the watch ended."
    )


def compared(pairs: Sequence[tuple[Scenario, Verdict]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return heads and rows of the table that compares the scenarios of a suite."""
    heads: tuple[str, ...] = (
        "scenario",
        "release",
        "users",
        "requests",
        "4xx",
        "5xx",
        "pool time-outs",
        "pool max",
        "leaked",
        "p95",
        "CPU primary",
        "CPU replica",
        "observed",
        "verdict",
    )
    rows: list[tuple[str, ...]] = []
    for scenario, verdict in pairs:
        get = verdict.metrics.get
        rows.append(
            (
                clean(scenario.name),
                clean(verdict.release),
                scenario.load.short(),
                count(get("requests")),
                count(get("http_4xx")),
                count(get("http_5xx")),
                count(get("queuepool_timeouts")),
                share(get("pool_in_use_max"), get("pool_capacity")),
                count(get("leaked_connections")),
                ms(get("p95_ms")),
                cores(get("primary_cpu_cores_mean")),
                cores(get("replica_cpu_cores_mean")),
                verdict.observed,
                verdict.verdict,
            )
        )
    return heads, rows
