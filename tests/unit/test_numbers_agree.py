"""No two sentences of a run's terminal summary, summary.md and report contradict each other."""

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
    """A burst at the start fills the pool; once it is measured, one connection is out at most."""
    story = h.Story()
    story.requests(h.LIST, 10, 12.0)
    story.pool("replica", lambda t_s: h.Level(h.CAPACITY if t_s < 3 else 1))
    return story.told()


def never_seen_out() -> History:
    """Check-outs so short that no sample finds one."""
    story = h.Story()
    story.requests(h.LIST, 10, 2.0)
    story.pool("replica", lambda t_s: h.Level(0, checkouts=int(t_s * 10)))
    return story.told()


def stopped_before_the_drain(history: History) -> History:
    """Interrupted: stopping the service gives back what had leaked, seconds after the load."""
    cut = h.cut_short(history, 60.0)
    stop_s = h.STARTED_S + 66.0
    last = {sample.pool: sample for sample in cut.pools}
    return replace(
        cut,
        checkouts=tuple(
            out if out.returned_s is not None else replace(out, returned_s=stop_s, returned_by="close")
            for out in cut.checkouts
        ),
        pools=(*cut.pools, *(replace(one, t_s=stop_s, checked_out=0, leaked=0) for one in last.values())),
        events=(*cut.events, f.Event(stop_s + 1.0, f.INTERRUPTED, {})),
    )


def two_processes(history: History) -> History:
    """The same pools once more, idle, in a second process."""
    idle = (
        replace(one, pid=1, checked_out=0, live=0, leaked=0, waiting=0, timeouts=0) for one in history.pools
    )
    return replace(history, pools=tuple(sorted((*history.pools, *idle), key=lambda one: one.t_s)))


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
    """What each page says, without line breaks."""
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


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("story", STORIES)
def test_no_two_sentences_contradict_each_other(story: str, change: str) -> None:
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
        (one.file, one.line, one.pool): (one.held, one.leaked, one.held_s, one.max_hold_s)
        for one in verdict.diagnosis.call_sites
    }
    rows = top_holders(history, window)
    of_report = {
        (one.site.file, one.site.line, one.pool): (one.out, one.leaked, one.held_s, round(one.max_hold_s, 3))
        for one in rows
    }
    assert of_diagnosis.items() <= of_report.items()
    out = still_out(history, window)
    assert (len(out), sum(one.ended_ago_s is not None for one in out)) == (
        sum(one.out for one in rows),
        sum(one.leaked for one in rows),
    )
    watched_s = window.end_s
    for one in rows:
        assert one.max_hold_s <= watched_s
        assert one.held_s <= max(one.checkouts, one.out) * watched_s
    assert all(one.age_s <= watched_s for one in out)


def test_what_a_stopping_service_gives_back_had_leaked() -> None:
    """The run was interrupted: its connections came back because the service was stopped."""
    verdict = judge(h.scenario(), stopped_before_the_drain(h.incident()), "embedded")
    assert verdict.verdict == "unknown"
    assert verdict.metrics["leaked_connections"] == 30
    assert verdict.diagnosis.cause == "scope-never-removed"
    assert all(one.max_hold_s <= 60.0 for one in verdict.diagnosis.call_sites)


def test_a_pool_that_was_full_in_the_warm_up_alone_is_noted_with_its_numbers() -> None:
    verdict = judge(h.scenario(), full_in_the_warm_up(), "embedded")
    assert "pool replica was full during the warm-up (30 of 30), and not after it" in verdict.notes
    assert "at most 1 of 30 connections out (sampled)" in verdict.diagnosis.summary


def test_a_pool_whose_check_outs_no_sample_caught_is_not_called_unused() -> None:
    verdict = judge(h.scenario(), never_seen_out(), "embedded")
    assert "no connection of 30 out in any sample" in verdict.diagnosis.summary


def test_a_capacity_is_named_only_where_it_is_of_what_leaked() -> None:
    assert "30 of 30 connections held" in judge(h.scenario(), h.incident(), "embedded").headline
    assert (
        " of 30 connections held" not in judge(h.scenario(), two_processes(h.incident()), "embedded").headline
    )


def test_time_outs_that_no_customer_saw_are_not_called_their_requests() -> None:
    history = h.incident()
    late = tuple(replace(one, timeouts=one.timeouts * 3) for one in history.pools)
    verdict = judge(h.scenario(), replace(history, pools=late), "embedded")
    assert "pool time-outs in 5,215 requests" in verdict.headline
    assert "requests timed out" not in verdict.headline
