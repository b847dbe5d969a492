"""Reads a step of the search from its run directory (pure)."""

import math
from collections.abc import Sequence
from typing import Final

from rushhour.jobs.capacity.facts import Outcome, Step
from rushhour.jobs.capacity.resources import resources_of
from rushhour.jobs.capacity.sure import how_sure
from rushhour.judging.judge import read_scenario
from rushhour.judging.saved import read_verdict
from rushhour.metrics.window import Window, find_window
from rushhour.rundir import History, RunDir, load_history
from rushhour.rundir import facts as f
from rushhour.scenario.arrivals import peak
from rushhour.scenario.model import Scenario
from rushhour.scenario.thresholds import Threshold, in_words
from rushhour.verdict.judge import Verdict

# Connections that these leave behind add up: a lower rate of arrivals only delays the end of the pool.
LEAKS: Final = frozenset({"scope-never-removed", "unclosed-path", "abandoned-stream"})
GENERATOR: Final = "the load generator"  # with this begin the reasons that it voided a run for
OTHERS: Final = "the machine was busy with other work"
STEADY: Final = 1.15  # the most by which the second half's customers may exceed the first half's


def step_of(run: RunDir) -> Step:
    """Read the step that a run was. Raises RunDataError when the run was not judged, or is damaged."""
    scenario, history, verdict = read_scenario(run), load_history(run), read_verdict(run)
    return make_step(run.path.name, scenario, history, verdict)


def make_step(name: str, scenario: Scenario, history: History, verdict: Verdict | None) -> Step:
    """Return the step of a run's scenario, history and verdict."""
    rate = peak(scenario.load.arrivals) if scenario.load.arrivals else 0.0
    if verdict is None:
        return Step(rate, "unknown", name, ("the run was not judged",))
    window = find_window(history, scenario.load.warm_up)
    metrics = verdict.metrics
    outcome = outcome_of(verdict)
    site = verdict.diagnosis.call_sites[0] if verdict.diagnosis.call_sites else None
    fullest = _fullest(history, window)
    tightest, used = _tightest(verdict)
    return Step(
        rate=rate,
        outcome=outcome,
        run=name,
        reasons=verdict.reasons,
        sure=how_sure(verdict, history, window) if outcome in {"holds", "gives"} else None,
        requests_per_s=metrics.get("offered_rps"),
        arrived_per_s=metrics.get("arrivals_per_s"),
        present=metrics.get("users_mean"),
        p95_ms=metrics.get("p95_ms"),
        tightest=tightest,
        used=used,
        pool=None if fullest is None else fullest.pool,
        pool_in_use=None if fullest is None else fullest.checked_out,
        pool_capacity=None if fullest is None else fullest.capacity,
        wait_p99_ms=metrics.get("pool_wait_p99_ms"),
        timeouts=_whole(metrics.get("queuepool_timeouts")),
        resources=resources_of(scenario, history, window, metrics),
        cause=verdict.diagnosis.cause,
        site=f"{site.file}:{site.line} {site.function}" if site else None,
        steady=_steady(history, window),
        cpu_ms=_cpu_ms(metrics.get("service_cpu_cores_mean"), metrics.get("achieved_rps")),
    )


def outcome_of(verdict: Verdict) -> Outcome:
    """Return what a judged run means for the search."""
    if (verdict.metrics.get("leaked_connections") or 0) > 0 or (
        verdict.verdict == "fail" and verdict.diagnosis.cause in LEAKS
    ):
        return "leaks"
    if verdict.verdict == "pass":
        return "holds"
    if verdict.verdict == "fail":
        return "gives"
    if any(reason.startswith(OTHERS) for reason in verdict.reasons):
        return "unknown"  # whatever fell behind had too little CPU because of others
    return "generator" if verdict.reasons and verdict.reasons[0].startswith(GENERATOR) else "unknown"


def _cpu_ms(cores: float | None, answered_per_s: float | None) -> float | None:
    return None if cores is None or not answered_per_s else cores / answered_per_s * 1e3


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _tightest(verdict: Verdict) -> tuple[str, float | None]:
    """Return the threshold with the smallest margin and its value, and what share of its bound was used."""
    judged = [
        (_used(result.threshold, result.value), result.threshold, result.value)
        for result in verdict.thresholds
        if result.value is not None and result.threshold.bound > 0
    ]
    if not judged:
        return "", None
    used, threshold, value = max(judged, key=lambda entry: entry[0])
    return f"{threshold.expr}: {in_words(threshold.metric, value)}", used


def _used(threshold: Threshold, value: float) -> float:
    """Return the share of a bound that a value uses: above 1 it is violated."""
    share = value / threshold.bound
    return share if threshold.operator in {"<", "<=", "=="} else 2 - share


def _fullest(history: History, window: Window | None) -> f.PoolSample | None:
    samples = [sample for sample in history.pools if window and window.measures(sample.t_s)]
    return max(
        samples,
        key=lambda sample: (sample.checked_out / (sample.capacity or math.inf), sample.waiting),
        default=None,
    )


def _steady(history: History, window: Window | None) -> bool | None:
    """Return whether the number of customers present had stopped to grow when the load was measured."""
    if window is None:
        return None
    present: dict[int, int] = {}
    for sample in history.generator:
        if window.in_whole_second(sample.t_s):
            present[sample.t_s] = present.get(sample.t_s, 0) + sample.users
    counts = [present[t_s] for t_s in sorted(present)]
    half = len(counts) // 2
    if half < 2:
        return None
    before, after = _mean(counts[:half]), _mean(counts[half:])
    noise = 3 * math.sqrt(max(before, 1.0) / 2)  # halves of a Poisson process differ by chance
    return after <= max(STEADY * before, before + noise)


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values)
