"""Judges a run against its scenario (pure)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from rushhour.diagnosis import Diagnosis, diagnose
from rushhour.diagnosis.black_box import ALIKE
from rushhour.diagnosis.witnesses import service_death
from rushhour.metrics.measure import Metrics, measure
from rushhour.metrics.pools import PoolMetrics
from rushhour.metrics.requests import RequestMetrics
from rushhour.metrics.wording import counted
from rushhour.rundir import History
from rushhour.scenario.model import Scenario
from rushhour.scenario.thresholds import Threshold, parse_threshold
from rushhour.verdict.forecast import Forecast
from rushhour.verdict.headline import headline
from rushhour.verdict.judged import RAISED_NOTHING, judged_thresholds, raised_words, violated_words
from rushhour.verdict.lost import EVENTS, POOLS, has_foreign, less_sure, losses_behind, stays_violated
from rushhour.verdict.missing import missing_data, missing_pools
from rushhour.verdict.notes import notes
from rushhour.verdict.start import exhausted_at_start
from rushhour.verdict.trust import log_lines, void_reasons

Observed = Literal["healthy", "degraded", "exhausted", "unknown"]
Outcome = Literal["pass", "fail", "unknown"]


@dataclass(frozen=True, slots=True)
class ThresholdResult:
    """A judged threshold; `ok` is None when its metric has no data. verdict.json stores it as its line."""

    threshold: Annotated[Threshold, BeforeValidator(parse_threshold), Field(validation_alias="expr")]
    value: float | None
    ok: bool | None

    @property
    def expr(self) -> str:
        """The threshold as the scenario writes it: `p95 < 400ms`."""
        return self.threshold.expr


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on a run, as verdict.json stores it."""

    scenario: str
    release: str
    stack: str
    expected: str  # "healthy", "exhausted" or "exhausted (scope-never-removed)"
    observed: Observed
    verdict: Outcome
    headline: str  # what happened, in one sentence with numbers
    reasons: tuple[str, ...]  # why the run passed, failed or is unknown
    diagnosis: Diagnosis
    thresholds: tuple[ThresholdResult, ...] = ()
    metrics: dict[str, float | int | None] = field(default_factory=dict)
    notes: tuple[
        str, ...
    ] = ()  # what was seen and did not count: "the agent saw 3 leaked connections all the same"
    endpoints: dict[str, RequestMetrics] = field(default_factory=dict)
    forecast: Forecast | None = None  # for the scenario's `production:`
    no_forecast: str = ""  # why there is none, although the scenario names a production


def judge(scenario: Scenario, history: History, stack: str) -> Verdict:
    """Judge whether a run met the expectation of its scenario.

    `stack` is the name of the stack that the verdict states. docs/verdict.md explains the rules. Raises
    RunDataError when a row of requests.jsonl holds no latency histogram.
    """
    metrics = measure(scenario, history)
    diagnosis = less_sure(diagnose(history, metrics), history)
    judged = judged_thresholds(scenario)
    results = tuple(_result(threshold, metrics, history) for threshold in judged)
    void = void_reasons(scenario, history, metrics)
    missing = () if void else (*missing_data(scenario, history, metrics, judged), *_no_data(judged, metrics))
    violated = [result.threshold for result in results if result.ok is False]
    # An exception in the locustfile is not the service's fault, and fails the run whatever it expects.
    failed = tuple(
        _violated(threshold, metrics) for threshold in violated if threshold.metric != RAISED_NOTHING.metric
    )
    raised = tuple(
        raised_words(_violated(threshold, metrics), history)
        for threshold in violated
        if threshold.metric == RAISED_NOTHING.metric
    )
    observed = _observed(scenario, metrics, bool(failed), bool(missing))
    outcome: Outcome
    # What rows say that nobody wrote is no proof; what rows say beside lost ones is.
    death = None if has_foreign(history, EVENTS) else service_death(history)
    starved = None if has_foreign(history, EVENTS, POOLS) else exhausted_at_start(history, metrics, diagnosis)
    if death is not None and scenario.expect == "healthy":
        # The service was expected to stay healthy and died. Missing data cannot change that.
        observed = "exhausted" if observed == "exhausted" else "degraded"
        outcome = "fail"
        reasons = (f"the service died: {death}", *log_lines(history), *_seen(scenario, metrics, failed))
    elif starved and scenario.expect == "healthy":
        observed, outcome = "exhausted", "fail"
        reasons = (starved, *log_lines(history), *_seen(scenario, metrics, failed))
    elif void:
        observed = "exhausted" if observed == "exhausted" else "unknown"
        unseen = missing_pools(scenario, history, judged)
        seen = (*_seen(scenario, metrics, failed), *(f"seen until then: {text}" for text in raised))
        outcome, reasons = "unknown", (*void, *unseen, *seen)
    elif scenario.expect == "exhausted":
        outcome, reasons = _judge_exhausted(scenario, metrics, diagnosis, missing)
    elif scenario.expect == "degraded":
        outcome, reasons = _judge_degraded(scenario, metrics, diagnosis, failed, missing)
    else:
        outcome, reasons = _judge_healthy(failed, missing, len(judged))
    if raised and not void:
        held = outcome == "pass" and scenario.expect == "healthy"
        outcome, reasons = "fail", (*raised, *(() if held else reasons))
    return Verdict(
        scenario=scenario.name,
        release=scenario.release,
        stack=stack,
        expected=scenario.expect + (f" ({scenario.cause})" if scenario.cause else ""),
        observed=observed,
        verdict=outcome,
        headline=headline(scenario, metrics, diagnosis, observed=observed, verdict=outcome, reasons=reasons),
        reasons=reasons,
        diagnosis=diagnosis,
        thresholds=results,
        metrics=metrics.flat(),
        notes=notes(scenario, history, metrics, diagnosis, observed),
        endpoints=metrics.endpoints,
    )


def with_alarms(verdict: Verdict, silent: Sequence[str], not_replayed: Sequence[str] = ()) -> Verdict:
    """Apply the scenario's `expect_alarms` to a verdict.

    A pass becomes a fail when one of these alarms was silent during failures (`silent`), and unknown when
    one could not be replayed (`not_replayed`). Both hold reasons as sentences.
    """
    if verdict.verdict != "pass" or not (silent or not_replayed):
        return verdict
    if not silent:
        headline = f"{verdict.headline}; but {not_replayed[0]}"
        reasons = (*not_replayed, *verdict.reasons)
        return replace(verdict, verdict="unknown", reasons=reasons, headline=headline)
    headline = f"{verdict.headline}; but {silent[0]}"
    return replace(verdict, verdict="fail", reasons=(*silent, *verdict.reasons), headline=headline)


def _result(threshold: Threshold, metrics: Metrics, history: History) -> ThresholdResult:
    value = metrics.value_of(threshold)
    ok = None if value is None else threshold.holds(value)
    if ok is None or value is None or (not ok and stays_violated(history, threshold, value)):
        return ThresholdResult(threshold, value, ok)
    return ThresholdResult(threshold, value, None if losses_behind(history, threshold) else ok)


def _violated(threshold: Threshold, metrics: Metrics) -> str:
    return violated_words(threshold, metrics.value_of(threshold) or 0)


def _no_data(judged: tuple[Threshold, ...], metrics: Metrics) -> tuple[str, ...]:
    found = []
    for threshold in judged:
        if metrics.value_of(threshold) is not None:
            continue
        reason = f"no data for {threshold.expr}"
        if threshold.endpoint is not None and threshold.endpoint not in metrics.endpoints:
            seen = ", ".join(metrics.endpoints) or "none"
            found.append(f"{reason}: no request to that endpoint; seen: {seen}")
        elif threshold.metric == "pool_in_use_max" and metrics.pool.in_use_max is not None:
            found.append(f"{reason}: pool {metrics.pool.name} has no limit")
        else:
            found.append(reason)
    return tuple(found)


def _timeouts(scenario: Scenario, metrics: Metrics) -> int:
    """Return the pool time-outs that count: only those in HTTP answers when `judge: http`."""
    return (metrics.pool.timeouts if scenario.judge == "all" else metrics.pool.timeouts_http) or 0


def _observed(scenario: Scenario, metrics: Metrics, failed: bool, missing: bool) -> Observed:
    """Classify the run by what was seen; `healthy` only when no data is missing."""
    if _timeouts(scenario, metrics):
        return "exhausted"
    if failed or (scenario.judge == "all" and metrics.pool.leaked):
        return "degraded"
    return "unknown" if missing else "healthy"


def _judge_healthy(
    failed: tuple[str, ...], missing: tuple[str, ...], judged: int
) -> tuple[Outcome, tuple[str, ...]]:
    """Fail on a violated threshold even when other data is missing; pass only when none is missing."""
    if failed:
        return "fail", (*failed, *missing)
    if missing:
        return "unknown", missing
    return "pass", (f"all {judged} thresholds hold",)


def _judge_exhausted(
    scenario: Scenario, metrics: Metrics, diagnosis: Diagnosis, missing: tuple[str, ...]
) -> tuple[Outcome, tuple[str, ...]]:
    if missing:
        return "unknown", missing
    timeouts = _timeouts(scenario, metrics)
    if not timeouts:
        reason = (
            "expected exhaustion did not come: no pool time-out in "
            f"{counted(metrics.all.requests, 'request')}, {_fullest(metrics.pool)}"
        )
        return "fail", (reason,)
    came = f"exhaustion came as expected: {counted(timeouts, 'pool time-out')}"
    return _judge_cause(scenario, diagnosis, came)


def _fullest(pool: PoolMetrics) -> str:
    """Say how full the fullest pool was."""
    if pool.in_use_max is None:
        return "the pools were not seen from inside"
    return f"the {pool.name} pool had {pool.most_out()}"


def _judge_degraded(
    scenario: Scenario,
    metrics: Metrics,
    diagnosis: Diagnosis,
    failed: tuple[str, ...],
    missing: tuple[str, ...],
) -> tuple[Outcome, tuple[str, ...]]:
    """Pass on a violated threshold, a leaked connection or a pool time-out."""
    if missing:
        return "unknown", missing
    signs = [*failed]
    if timeouts := _timeouts(scenario, metrics):
        signs.append(counted(timeouts, "pool time-out"))
    if metrics.pool.leaked:
        signs.append(counted(metrics.pool.leaked, "leaked connection"))
    if not signs and not scenario.agent:
        found = f"the diagnosis is {diagnosis.cause} ({diagnosis.confidence})"
        return "unknown", (f"without the agent no trouble was seen; {found}",)
    if not signs:
        return "fail", (
            "expected trouble did not come: every threshold holds, and every connection came back",
        )
    return _judge_cause(scenario, diagnosis, f"trouble came as expected: {'; '.join(signs)}")


def _judge_cause(scenario: Scenario, diagnosis: Diagnosis, came: str) -> tuple[Outcome, tuple[str, ...]]:
    """Compare the diagnosed cause with the expected one; `came` is the reason that trouble was seen.

    Without the agent, a cause that cannot be seen from outside is unknown, and a wrong cause still fails.
    """
    if scenario.cause is None:
        return "pass", (came,)
    found = f"{diagnosis.cause} ({diagnosis.confidence})"
    if diagnosis.cause == scenario.cause:
        return "pass", (f"{came}, cause {found}",)
    if not scenario.agent and diagnosis.cause == "none":
        return "unknown", (f"{came}; without the agent the cause {scenario.cause} was not seen",)
    if not scenario.agent and scenario.cause in ALIKE.get(diagnosis.cause, ()):
        return "unknown", (f"{came}; without the agent {scenario.cause} looks like {diagnosis.cause}",)
    return "fail", (f"expected cause {scenario.cause}, and the diagnosis is {found}", came)


def _seen(scenario: Scenario, metrics: Metrics, failed: tuple[str, ...]) -> tuple[str, ...]:
    """List the trouble that an undecided run had shown until it ended."""
    found = [f"seen until then: {text}" for text in failed]
    timeouts = _timeouts(scenario, metrics)
    if timeouts and not failed:
        found.append(f"seen until then: {counted(timeouts, 'pool time-out')}")
    if metrics.pool.leaked and scenario.judge == "all" and not failed:
        found.append(f"seen until then: {counted(metrics.pool.leaked, 'leaked connection')}")
    return tuple(found)


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """Return the content of verdict.json; floats are rounded to six significant digits."""
    thresholds = [
        {"expr": result.expr, "value": result.value, "ok": result.ok} for result in verdict.thresholds
    ]
    content: dict[str, Any] = _rounded(asdict(verdict) | {"thresholds": thresholds})
    return content


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value
