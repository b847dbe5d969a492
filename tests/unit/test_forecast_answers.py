"""What a forecast says, in words and in reports, and of which runs it says nothing."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from rushhour.errors import InsufficientDataError, UsageError
from rushhour.forecast.answer import forecast
from rushhour.forecast.words import fit_words
from rushhour.judging.judge import with_forecast
from rushhour.judging.saved import read_verdict
from rushhour.report import terminal
from rushhour.report.forecast import rows
from rushhour.report.html import render_html
from rushhour.report.markdown import render_markdown
from rushhour.rundir import History, RunDir
from rushhour.scenario.model import Production, Scenario
from rushhour.verdict.forecast import Forecast, PoolForecast, Range
from rushhour.verdict.judge import Verdict, judge, verdict_json
from tests.unit import histories
from tests.unit.forecast_testers import PUSHED, RUSH_HOUR, few_testers, made, scenario
from tests.unit.histories import SITE


def test_a_healthy_release_holds() -> None:
    found = made(few_testers("none"), given=scenario(release="1.1.1"))
    assert found.exhausts == "no"
    assert found.cause is None
    assert "will not exhaust" in found.headline
    assert all(pool.capacity and pool.in_use_max.high <= pool.capacity for pool in found.pools)


def test_the_same_run_gives_the_same_forecast() -> None:
    assert made(few_testers(), repeats=3) == made(few_testers(), repeats=3)


def _full_in_the_warm_up() -> History:
    """All connections are out when the load begins to be measured, and nothing says why."""
    history = histories.incident(leaked=30)
    return dataclasses.replace(history, checkouts=(), pool_timeouts=())


def test_a_run_that_exhausted_its_pool_at_once_says_yes_without_a_time() -> None:
    given = scenario(load={"users": 800, "duration": 75.0, "warm_up": 45.0})
    history = histories.incident(leaked=30)
    verdict = dataclasses.replace(judge(given, history, "embedded"), verdict="fail")
    found = forecast("runs/x", given, history, verdict, PUSHED, repeats=1)
    assert (found.exhausts, found.cause, found.site) == ("yes", "scope-never-removed", SITE)
    assert found.exhausted_after_s is None
    assert "the run itself exhausted pool replica with 800 customers" in found.reasons[0]
    easier = dataclasses.replace(PUSHED, customers=100)
    with pytest.raises(InsufficientDataError):
        forecast("runs/x", given, history, verdict, easier, repeats=1)


@pytest.mark.parametrize(
    ("history", "words"),
    [
        (histories.without_agent(few_testers()), "no pool was seen"),
        (few_testers("thread", seconds=8), "3 measured were healthy"),
        (histories.cut_short(few_testers(), 0.5), "no load was measured"),
        (dataclasses.replace(few_testers(), generator=()), "no request of a customer was recorded"),
        (few_testers(seconds=12, users=2), "42 requests|35 requests"),
        (_full_in_the_warm_up(), "were healthy"),
    ],
    ids=["no agent", "too few seconds", "cut short", "no generator", "too few requests", "never healthy"],
)
def test_a_run_that_holds_too_little_is_refused_in_words(history: History, words: str) -> None:
    given = scenario(load={"users": 10, "duration": 75.0, "warm_up": 5.0})
    if words == "were healthy":
        given = scenario(load={"users": 800, "duration": 75.0, "warm_up": 45.0})
    verdict = dataclasses.replace(judge(given, history, "embedded"), verdict="pass")
    with pytest.raises(InsufficientDataError, match=words):
        forecast("runs/x", given, history, verdict, PUSHED, repeats=1)


def test_rows_without_requests_change_nothing() -> None:
    history = few_testers()
    empty = [
        dataclasses.replace(row, endpoint="GET /never", count=0, latency=row.latency)
        for row in history.requests[:40]
    ]
    verdict = judge(scenario(), history, "embedded")
    more = dataclasses.replace(history, requests=(*empty, *history.requests))
    assert forecast("runs/x", scenario(), more, verdict, PUSHED, repeats=2) == made(history, repeats=2)


def test_an_unknown_verdict_is_refused() -> None:
    history = dataclasses.replace(few_testers(), requests=())
    with pytest.raises(InsufficientDataError, match="verdict is unknown"):
        made(history)


def test_a_wrong_curve_is_refused_in_words() -> None:
    with pytest.raises(UsageError, match="day: '30 %' is not a time and a share"):
        made(few_testers(), _with_day("30 %"))


def _with_day(text: str) -> Production:
    changed = dataclasses.replace(PUSHED)
    object.__setattr__(changed, "day", text)  # as a scenario.json of another version might say
    return changed


def _judged(given: Scenario, history: History) -> Verdict:
    verdict = judge(given, history, "embedded")
    assert given.production is not None
    return dataclasses.replace(
        verdict, forecast=forecast("x", given, history, verdict, given.production, repeats=4)
    )


def test_every_report_shows_the_forecast_second(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    given = scenario(production={"customers": 800, "think_time": "10s", "day": RUSH_HOUR})
    verdict = _judged(given, few_testers())
    Console(width=250).print(terminal.summary(verdict, given, tmp_path))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("PASS")
    assert lines[1].startswith("EXHAUSTS  With 800 customers")
    assert "app/referrals.py:88" in lines[1]
    marked = render_markdown(given, verdict).splitlines()
    assert marked[2].startswith("**EXHAUSTS** With 800 customers")
    page = render_html(given, few_testers(), verdict, None)
    assert '<span class="bad">EXHAUSTS</span> With 800 customers' in page
    assert '<svg class="forecast"' in page
    assert "exhausted after" in page


def test_a_run_that_allows_no_forecast_says_why_second(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = scenario(production={"customers": 800}, agent=False)
    history = histories.without_agent(few_testers())
    verdict = with_forecast("x", given, history, judge(given, history, "embedded"))
    assert verdict.forecast is None
    Console(width=250).print(terminal.summary(verdict, given, tmp_path))
    assert (
        capsys.readouterr().out.splitlines()[1].startswith("No forecast for production: x: no pool was seen")
    )
    assert "No forecast for production: x: no pool was seen" in render_html(given, history, verdict, None)
    assert render_markdown(given, verdict).splitlines()[2].startswith("No forecast for production: x")


def test_json_of_a_verdict_with_a_forecast_is_read_again(tmp_path: Path) -> None:
    given = scenario(production={"customers": 800, "think_time": "10s", "day": RUSH_HOUR})
    verdict = _judged(given, few_testers())
    RunDir(tmp_path).write_json("verdict.json", verdict_json(verdict))
    assert json.loads((tmp_path / "verdict.json").read_text())["forecast"]["exhausts"] == "yes"
    again = read_verdict(RunDir(tmp_path))
    assert again is not None
    assert again.forecast is not None
    assert verdict.forecast is not None
    assert again.forecast.headline == verdict.forecast.headline


STORIES: dict[str, Callable[[], History]] = {
    "healthy": histories.healthy,
    "incident": histories.incident,
    "staging": histories.staging,
    "unclosed": histories.unclosed,
    "saturated": histories.saturated,
    "dead backend": histories.dead_backend,
}


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize(
    "kept", [75.0, pytest.param(30.0, marks=pytest.mark.long), pytest.param(15.0, marks=pytest.mark.long)]
)
def test_every_story_is_forecast_or_refused_in_words(story: str, kept: float) -> None:
    given = histories.scenario(production={"customers": 900, "day": "ramp over 10m"})
    history = histories.cut_short(STORIES[story](), kept) if kept < 75 else STORIES[story]()
    verdict = dataclasses.replace(judge(given, history, "embedded"), verdict="fail")
    told = with_forecast("x", given, history, verdict)
    if told.forecast is None:
        assert told.no_forecast.startswith("x: ")
    else:
        assert told.forecast.headline
        assert told.forecast.exhausts in {"yes", "no", "unsure"}
        if story == "healthy":
            assert told.forecast.exhausts == "no"
        if story in {"unclosed", "incident", "saturated"} and kept == 75:
            assert told.forecast.exhausts == "yes"
        if story in {"unclosed", "incident", "staging"}:
            assert told.forecast.exhausts != "no"


def test_words_are_no_surer_than_the_figures() -> None:
    pools = tuple(
        PoolForecast(name, 30, Range(most, most - 7, most + 7.5), None)
        for name, most in (("a", 8), ("b", 15))
    )
    assert fit_words(pools) == (
        "pool b, the fullest, is expected to have 15 of 30 connections out at the most (8 to 22)"
    )
    plain = Forecast("unsure", "", ("3 of 20 courses",), "", 1, 0.15, exhausted_after_s=Range(9, 8, 11))
    assert rows(plain)[0][0] == "if at all, exhausted after"
    assert rows(dataclasses.replace(plain, exhausts="yes"))[0][0] == "exhausted after"
