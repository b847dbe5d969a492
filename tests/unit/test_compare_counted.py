"""Failures that only one of two runs has: when their count says that the release changed."""

import dataclasses
from pathlib import Path
from random import Random

import pytest

from rushhour.jobs.compare import Judgement, compare_runs, read_measured
from rushhour.jobs.compare.comparison import _change as change_of
from rushhour.jobs.compare.counted import Failures, judge_failures
from rushhour.jobs.compare.judging import RESAMPLES, differs, measure_of
from rushhour.jobs.compare.render import headline
from rushhour.jobs.compare.rows import Sampled
from rushhour.scenario.model import Scenario
from tests.unit import histories
from tests.unit.saved_runs import save

RATE = measure_of("http_5xx_rate")


def spread(seconds: int, requests: int, failed: int, seed: int = 1) -> Failures:
    """Failures at random seconds."""
    counts, dice = [0] * seconds, Random(seed)  # noqa: S311 - the same runs each time
    for _ in range(failed):
        counts[dice.randrange(seconds)] += 1
    return Failures(tuple(counts), (requests // seconds,) * seconds)


def stall(seconds: int, requests: int, failed: int, lasts: int = 1) -> Failures:
    """Failures in neighbouring seconds."""
    counts = [failed // lasts if at < lasts else 0 for at in range(seconds)]
    return Failures(tuple(counts), (requests // seconds,) * seconds)


def none_of(seconds: int, requests: int) -> Failures:
    return Failures((0,) * seconds, (requests // seconds,) * seconds)


@pytest.mark.parametrize("seconds", [7, 10, 25, 60])
@pytest.mark.parametrize("seed", range(5))
def test_failures_in_hundreds_of_requests_that_are_gone_are_better(seconds: int, seed: int) -> None:
    before, after = spread(seconds, 300, 12, seed), none_of(seconds, 310)
    judged = judge_failures(RATE, before, after)
    assert judged is not None
    assert judged[0] is Judgement.BETTER, judged
    assert "12 requests of" in judged[1]
    turned = judge_failures(RATE, after, before)
    assert turned is not None
    assert turned[0] is Judgement.WORSE


@pytest.mark.parametrize("seconds", [10, 25, 60])
@pytest.mark.parametrize("lasts", [1, 2, 3])
@pytest.mark.parametrize("failed", [12, 300])
def test_a_stall_of_few_seconds_proves_no_change(seconds: int, lasts: int, failed: int) -> None:
    judged = judge_failures(RATE, none_of(seconds, 3000), stall(seconds, 3000, failed, lasts))
    assert judged is not None
    assert judged[0] is Judgement.NO_EVIDENCE, judged
    assert f"in {lasts} of {seconds} s" in judged[1]


@pytest.mark.parametrize("failed", [1, 2, 4])
def test_few_failures_prove_no_change(failed: int) -> None:
    judged = judge_failures(RATE, none_of(30, 600), spread(30, 600, failed))
    assert judged is not None
    assert judged[0] is Judgement.NO_EVIDENCE


def test_failures_in_every_second_prove_a_change_however_they_grow() -> None:
    growing = Failures((1, 3, 6, 10, 15, 22, 30, 40), (100,) * 8)
    judged = judge_failures(RATE, growing, none_of(8, 800))
    assert judged is not None
    assert judged[0] is Judgement.BETTER


def test_failures_in_both_runs_or_in_none_are_left_to_intervals() -> None:
    assert judge_failures(RATE, spread(30, 600, 9), spread(30, 600, 2)) is None
    assert judge_failures(RATE, none_of(30, 600), none_of(30, 600)) is None


def test_chance_alone_is_seldom_called_a_change() -> None:
    """Each failure falls into either run: the two are of the same release."""
    called = 0
    for seed in range(400):
        dice = Random(seed)  # noqa: S311 - the same runs each time
        sides = [[0] * 30, [0] * 30]
        for _ in range(dice.randint(1, 12)):
            sides[dice.randrange(2)][dice.randrange(30)] += 1
        judged = judge_failures(RATE, *(Failures(tuple(side), (20,) * 30) for side in sides))
        called += judged is not None and judged[0] in (Judgement.WORSE, Judgement.BETTER)
    assert called <= 8


def test_short_runs_are_said_to_be_short_first_and_their_failures_are_counted(tmp_path: Path) -> None:
    short = scenario_of(11)
    result = compare_runs(
        read_measured(save(tmp_path / "before", histories.incident(), short)),
        read_measured(save(tmp_path / "after", histories.healthy(), short)),
    )
    assert result.outcome == "unknown"
    assert headline(result).startswith(
        "too short to compare: 11 and 11 measured seconds, and each run needs 20"
    )
    assert "at least 20 are needed" in result.doubts[0]
    (rate,) = [change for change in result.changes if change.metric == "http_5xx_rate"]
    assert rate.before
    assert not rate.after
    assert "none of" in rate.why


def scenario_of(measured_s: int) -> Scenario:
    """A scenario of the histories whose warm-up leaves so many seconds."""
    usual = histories.scenario(release="1.1.1")
    warm_up = usual.load.duration - measured_s
    return dataclasses.replace(usual, load=dataclasses.replace(usual.load, warm_up=warm_up))


@pytest.mark.parametrize("metric", ["achieved_rps", "p95_ms", "http_5xx_rate", "replica_cpu_cores_mean"])
def test_values_that_are_alike_are_never_called_a_change(metric: str) -> None:
    measure = measure_of(metric, 0.0)
    for was in (0.0, 0.04, 82.2, 1500.0):
        for now in (was, was + 0.9 * measure.least, was - 0.9 * measure.least):
            for judgement in (Judgement.WORSE, Judgement.BETTER, Judgement.MORE, Judgement.LESS):
                assert not differs(measure, was, now, judgement)
        higher = differs(measure, was, was + 3 * measure.least, Judgement.WORSE)
        assert higher == (measure.worse == "higher")
    assert differs(measure, 1.0, 9.0, Judgement.MORE)
    assert differs(measure, 9.0, 1.0, Judgement.LESS)
    assert not differs(measure, 9.0, 1.0, Judgement.MORE)


def test_an_interval_that_the_values_contradict_is_no_evidence(tmp_path: Path) -> None:
    """The interval comes from the rows, the values from the verdict: worse: 82.2/s -> 82.2/s says nothing."""
    run = read_measured(save(tmp_path / "run", histories.healthy()))
    row = Sampled("achieved_rps", None, lambda totals: None, lambda verdict: 82.2)
    resampled: tuple[list[float | None], list[float | None]] = ([82.2] * RESAMPLES, [40.0] * RESAMPLES)
    change = change_of(row, run, run, resampled, 0.1)
    assert change.judgement is Judgement.NO_EVIDENCE
    assert (change.before, change.after) == (82.2, 82.2)
