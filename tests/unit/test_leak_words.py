"""A leak is worded by the unit of work that ended, wherever it is said."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rushhour.diagnosis import units
from rushhour.jobs.attach.findings import Findings
from rushhour.jobs.attach.words import summary as attach_summary
from rushhour.metrics.measure import measure
from rushhour.observe.live import in_words
from rushhour.report.html import render_html
from rushhour.report.markdown import render_markdown
from rushhour.report.terminal import summary
from rushhour.rundir import facts as f
from rushhour.verdict.judge import judge
from tests.unit import histories as h
from tests.unit.test_report_files import Tags

JOB = f.CallSite("app/jobs.py", 52, "job")
# unit -> endpoint and `lost` of its check-outs; what the headline, a call site's line and the table say
UNITS: dict[str, tuple[str | None, str | None, str, str, str]] = {
    "request": (h.ROUTE, None, "held by requests that had ended", "after their request had ended", "request"),
    "unknown route": (
        None,
        None,
        "held by requests that had ended",
        "after their request had ended",
        "request",
    ),
    "websocket": (
        "WEBSOCKET /live",
        None,
        "held by websockets that had closed",
        "after their websocket had closed",
        "websocket",
    ),
    "job": (None, "owner-idle", "kept by threads that wait for their next job", "after their job had", "job"),
    "owner": (
        None,
        "owner-ended",
        "out after the threads, greenlets or tasks that took them had ended",
        "after the thread, greenlet or task that took them had ended",
        "thread, greenlet or task",
    ),
    "label": (
        "celery send_mail",
        None,
        "out after what they were taken for had ended",
        "after what they were taken for had ended",
        "unit of work",
    ),
}


def story(endpoint: str | None, lost: str | None) -> h.Story:
    """Five connections that stay out, of a pool of 30."""
    made = h.Story()
    made.requests(h.LIST, 20, 30)
    for number in range(5):
        more: dict[str, Any] = {"site": JOB, "endpoint": endpoint, "owner": number, "lost": lost}
        made.checkout(number, 20.0 + number, f"pool-1_{number}", **more)
    made.site(checkouts=5, held_s=0.0, site=JOB, endpoint=endpoint)
    made.pool("replica", lambda t: h.Level(out=5 if t > 25 else 0, leaked=5 if t > 26 else 0, checkouts=5))
    made.server("replica", {"idle": 1}, range(77))
    made.cpu("replica", 0.1)
    return made


@pytest.mark.parametrize("unit", UNITS)
def test_every_page_words_a_leak_by_its_unit_of_work(unit: str) -> None:
    endpoint, lost, headline, site, noun = UNITS[unit]
    scenario, history = h.scenario(), story(endpoint, lost).history()
    verdict = judge(scenario, history, "embedded")
    console = Console(width=300, emoji=False, markup=False)
    with console.capture() as captured:
        console.print(summary(verdict, scenario, Path("x")))
    page = Tags(render_html(scenario, history, verdict, None)).text
    markdown = render_markdown(scenario, verdict)
    assert f"5 of 30 connections {headline}" in verdict.headline
    for text in (captured.get(), markdown, page):
        assert site in " ".join(text.split())
    assert f"{noun} ended" in page
    if noun != "request":
        said = " ".join((captured.get() + markdown).split())
        assert "their request" not in said
        assert "requests that" not in said


@pytest.mark.parametrize("unit", UNITS)
def test_agent_exec_words_a_leak_by_the_same_rules(unit: str) -> None:
    endpoint, lost, _, site, _ = UNITS[unit]
    history = story(endpoint, lost).history()
    findings = Findings(5.0)
    findings.feed([*history.processes, *history.pools, *history.checkouts])
    (line,) = (line for line in attach_summary(findings) if line.startswith("LEAK"))
    assert f"out {site}" in line


@pytest.mark.parametrize(("count", "words"), [(1, "after its request had"), (3, "after their request had")])
def test_one_connection_is_worded_alone(count: int, words: str) -> None:
    assert units.after_what(units.REQUEST, count).startswith(words)
    assert " them" not in units.held_by(units.OWNER, 1)


def test_several_kinds_without_a_majority_are_not_called_requests() -> None:
    assert units.most_of([units.REQUEST, units.JOB]) == units.OTHER
    assert units.most_of([units.REQUEST, units.JOB, units.JOB]) == units.JOB
    assert units.most_of([]) == units.REQUEST


def test_the_live_line_of_a_websocket_does_not_speak_of_requests() -> None:
    detail = {"pool": "replica", "site": "a.py:1 x", "endpoint": "WEBSOCKET /live", "leaked": 3}
    assert in_words(f.Event(1.0, f.LEAK_DETECTED, detail)) == (
        "leak in pool replica: a.py:1 x, WEBSOCKET /live, 3 out after their websocket had closed"
    )


@pytest.mark.parametrize(
    ("ended_s", "returned_s", "leaked"),
    [(None, None, 0), (30.0, None, 1), (30.0, 30.0, 0), (31.0, 30.0, 0), (30.0, 31.0, 1)],
)
def test_a_run_and_agent_exec_ask_the_same_of_a_check_out(
    ended_s: float | None, returned_s: float | None, leaked: int
) -> None:
    """Given back with its request, or before: no leak; given back later by garbage collection: one."""
    made = h.Story()
    by = None if returned_s is None else "gc" if leaked else "close"
    made.checkout(1, 20.0, "t", request_ended_s=ended_s, returned_s=returned_s, returned_by=by)
    made.pool("replica", lambda t: h.Level(1))
    history = made.history()
    findings = Findings(500.0)
    findings.feed([*history.pools, *history.checkouts])
    assert findings.leaks == leaked
    assert measure(h.scenario(), history).pool.leaked == leaked
