"""Tests that the numbers in a run's terminal summary, summary.md and report agree."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from rushhour.metrics.measure import measure
from rushhour.metrics.window import find_window
from rushhour.report.holders import still_out, top_holders
from rushhour.report.html import render_html
from rushhour.report.markdown import render_markdown
from rushhour.report.terminal import summary
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.scenario.model import Scenario
from rushhour.verdict.judge import Verdict, judge
from tests.unit import histories as h
from tests.unit.test_report_files import Tags

WARM_UP_S = 10.0


def full_in_the_warm_up() -> History:
    """The pool is full in the warm-up; later at most one connection is out."""
    story = h.Story()
    story.requests(h.LIST, 10, 12.0)
    story.pool("replica", lambda t_s: h.Level(h.CAPACITY if t_s < 3 else 1))
    return story.history()


def never_seen_out() -> History:
    """Check-outs are too short for any sample to see one."""
    story = h.Story()
    story.requests(h.LIST, 10, 2.0)
    story.pool("replica", lambda t_s: h.Level(0, checkouts=int(t_s * 10)))
    return story.history()


def stopped_before_the_drain(history: History) -> History:
    """Interrupt the run: stopping the service returns the leaked connections seconds after the load."""
    cut = h.cut_short(history, 60.0)
    stop_s = h.STARTED_S + 66.0
    last = {sample.pool: sample for sample in cut.pools}
    return replace(
        cut,
        checkouts=tuple(
            out if out.returned_s is not None else replace(out, returned_s=stop_s, returned_by="close")
            for out in cut.checkouts
        ),
        pools=(
            *cut.pools,
            *(replace(sample, t_s=stop_s, checked_out=0, leaked=0) for sample in last.values()),
        ),
        events=(*cut.events, f.Event(stop_s + 1.0, f.INTERRUPTED, {})),
    )


def two_processes(history: History) -> History:
    """Add the same pools, idle, in a second process."""
    idle = (
        replace(sample, pid=1, checked_out=0, live=0, leaked=0, waiting=0, timeouts=0)
        for sample in history.pools
    )
    return replace(history, pools=tuple(sorted((*history.pools, *idle), key=lambda sample: sample.t_s)))


STORIES: dict[str, Callable[[], History]] = {
    "incident": h.incident,
    "unclosed": h.unclosed,
    "saturated": h.saturated,
    "dead backend": h.dead_backend,
    "healthy": h.healthy,
    "staging": h.staging,
    "full in the warm-up": full_in_the_warm_up,
    "never seen out": never_seen_out,
}
CHANGES: dict[str, Callable[[History], History]] = {
    "whole": lambda history: history,
    "cut short": lambda history: h.cut_short(history, 50.0),
    "stopped": stopped_before_the_drain,
    "two processes": two_processes,
    "without agent": h.without_agent,
}


def pages(scenario: Scenario, history: History, verdict: Verdict, tmp: str) -> dict[str, str]:
    """Return the text of each report, without line breaks."""
    console = Console(width=300, emoji=False, markup=False)
    with console.capture() as captured:
        console.print(summary(verdict, scenario, Path(tmp)))
    html = render_html(scenario, history, verdict, None)
    html = re.sub(r'<details class="about">.*?</details>', "", html, flags=re.DOTALL)
    texts = {
        "terminal": captured.get(),
        "summary.md": render_markdown(scenario, verdict),
        "report": Tags(html).text,
    }
    return {name: " ".join(text.replace("\\", "").split()) for name, text in texts.items()}


@pytest.mark.long
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("story", STORIES)
def test_numbers_in_terminal_summary_and_report_agree(story: str, change: str) -> None:
    history = CHANGES[change](STORIES[story]())
    scenario = h.scenario()
    verdict = judge(scenario, history, "embedded")
    metrics, window = measure(scenario, history), find_window(history, WARM_UP_S)
    assert window is not None
    for name, text in pages(scenario, history, verdict, "runs/x").items():
        for part, whole in re.findall(r"(?<![\d.,/-])(\d[\d,]*) of (\d[\d,]*)(?![\d.,%-])", text):
            assert int(part.replace(",", "")) <= int(whole.replace(",", "")), (name, part, whole)
        if "came back" in text and "every connection came back" in text.lower():
            assert not metrics.pool.leaked, name
        for answered in re.findall(r"([^;.]*) requests were answered with", text):
            assert "since the load began" in answered, name  # others are counted after the warm-up
        if "no later request uses them" in text:
            assert "later requests use what" not in text, name
        for at_most in re.findall(r"at most \d+(?: of \d+)? connections? out[^;.,]*", text):
            assert "(sampled)" in at_most, (name, at_most)
        assert not re.search(r"at most 0\b", text), name
        if re.search(r"pool (\w+) (was )?full", text) and not (metrics.pool.in_use_share or 0.0) >= 1.0:
            assert "during the warm-up" in text, name
        assert "after the warm-up of 10 s" in text, name


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("story", STORIES)
def test_diagnosis_and_report_count_the_same_connections(story: str, change: str) -> None:
    history = CHANGES[change](STORIES[story]())
    verdict, window = judge(h.scenario(), history, "embedded"), find_window(history, WARM_UP_S)
    assert window is not None
    of_diagnosis = {
        (site.file, site.line, site.pool): (site.held, site.leaked, site.held_s, site.max_hold_s)
        for site in verdict.diagnosis.call_sites
    }
    rows = top_holders(history, window)
    of_report = {
        (row.site.file, row.site.line, row.pool): (row.out, row.leaked, row.held_s, round(row.max_hold_s, 3))
        for row in rows
    }
    assert of_diagnosis.items() <= of_report.items()
    out = still_out(history, window)
    assert (len(out), sum(connection.ended_ago_s is not None for connection in out)) == (
        sum(row.out for row in rows),
        sum(row.leaked for row in rows),
    )
    watched_s = window.end_s
    for row in rows:
        assert row.max_hold_s <= watched_s
        assert row.held_s <= max(row.checkouts, row.out) * watched_s
    assert all(connection.age_s <= watched_s for connection in out)


def test_connections_returned_by_stopping_the_service_are_leaked() -> None:
    verdict = judge(h.scenario(), stopped_before_the_drain(h.incident()), "embedded")
    assert verdict.verdict == "unknown"
    assert verdict.metrics["leaked_connections"] == 30
    assert verdict.diagnosis.cause == "scope-never-removed"
    assert all(site.max_hold_s <= 60.0 for site in verdict.diagnosis.call_sites)


def test_a_pool_that_was_full_only_in_the_warm_up_is_a_note_with_numbers() -> None:
    verdict = judge(h.scenario(), full_in_the_warm_up(), "embedded")
    assert "pool replica was full during the warm-up (30 of 30), and not after it" in verdict.notes
    assert "at most 1 of 30 connections out (sampled)" in verdict.diagnosis.summary


def test_a_pool_without_sampled_check_outs_is_described_as_sampled() -> None:
    verdict = judge(h.scenario(), never_seen_out(), "embedded")
    assert "no connection of 30 out in any sample" in verdict.diagnosis.summary


def test_the_headline_names_the_capacity_only_for_one_pool_of_one_process() -> None:
    assert "30 of 30 connections held" in judge(h.scenario(), h.incident(), "embedded").headline
    assert (
        " of 30 connections held" not in judge(h.scenario(), two_processes(h.incident()), "embedded").headline
    )


def test_timeouts_that_no_answer_shows_are_not_counted_as_requests() -> None:
    history = h.incident()
    late = tuple(replace(sample, timeouts=sample.timeouts * 3) for sample in history.pools)
    verdict = judge(h.scenario(), replace(history, pools=late), "embedded")
    assert "pool time-outs in 5,215 requests" in verdict.headline
    assert "requests timed out" not in verdict.headline
