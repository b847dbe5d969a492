"""Void runs never pass: what voids a run says nothing about its release."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.scenario.model import Scenario
from rushhour.verdict.judge import Verdict, judge
from tests.unit import histories as h

Change = Callable[[History], History]


def judged(scenario: Scenario, history: History) -> Verdict:
    return judge(scenario, history, "embedded")


def with_event(name: str, **detail: Any) -> Change:
    def change(history: History) -> History:
        event = f.Event(h.STARTED_S + 40, name, detail)
        return dataclasses.replace(history, events=(*history.events, event))

    return change


def without_event(*names: str) -> Change:
    def change(history: History) -> History:
        return dataclasses.replace(
            history, events=tuple(event for event in history.events if event.name not in names)
        )

    return change


def with_generator(seconds: range, **changes: Any) -> Change:
    """Change the samples of the load generator in these seconds of the load."""

    def change(history: History) -> History:
        return dataclasses.replace(
            history,
            generator=tuple(
                dataclasses.replace(sample, **changes) if sample.t_s - h.STARTED_S in seconds else sample
                for sample in history.generator
            ),
        )

    return change


def ended_early(history: History) -> History:
    events = tuple(
        dataclasses.replace(event, t_s=h.STARTED_S + 50) if event.name == f.LOAD_ENDED else event
        for event in history.events
    )
    return dataclasses.replace(history, events=events)


def silent_worker(history: History) -> History:
    lost = tuple(
        dataclasses.replace(sample, worker="worker-1", users=400)
        for sample in history.generator
        if sample.t_s < h.STARTED_S + 40
    )
    return dataclasses.replace(history, generator=(*history.generator, *lost))


def all_4xx(history: History) -> History:
    rows = tuple(dataclasses.replace(row, outcome=f.Outcome.HTTP_4XX) for row in history.requests)
    return dataclasses.replace(history, requests=rows)


def with_other_work(cores: float) -> Change:
    """Add samples of a machine with two cores, on which other processes use `cores`."""

    def change(history: History) -> History:
        own: dict[float, float] = {}
        for sample in history.host:
            own[sample.t_s] = own.get(sample.t_s, 0.0) + sample.cpu_cores
        machine = tuple(
            f.HostSample(t_s, "machine", used + cores, 4000.0, 90, limit_cores=2.0)
            for t_s, used in own.items()
        )
        return dataclasses.replace(history, host=(*history.host, *machine))

    return change


VOID: list[tuple[str, Change, str]] = [
    (
        "killed",
        lambda run: h.cut_short(run, 60),
        "no run_ended event; the last of it was seen 60 s into a load",
    ),
    ("killed before the load", lambda run: h.cut_short(run, -1), "cut short before the load started"),
    ("interrupted", with_event(f.INTERRUPTED, signal="SIGINT"), "the run was interrupted"),
    ("broken stack", with_event(f.STACK_BROKE, what="replica ended"), "the stack broke: replica ended"),
    ("no load", without_event(f.LOAD_STARTED), "the load never started"),
    (
        "nothing ended",
        lambda run: dataclasses.replace(run, requests=()),
        "no request ended after the warm-up",
    ),
    ("short load", ended_early, "the load ended after 50 s, and should have lasted 75 s"),
    ("few users", with_generator(range(75), users=700), "only 700 of 800 customers ever came"),
    ("wrong requests", all_4xx, "requests were answered 4xx: the customers ask for what does not exist"),
    (
        "redirects",
        with_generator(range(75), redirected=60),
        "requests were redirected, so the figures are another page",
    ),
    ("silence", lambda run: dataclasses.replace(run, generator=()), "wrote nothing about itself"),
    ("late", with_generator(range(20, 40), lateness_p99_ms=350.0), "fired 350 ms late at p99 (bound 100 ms)"),
    ("stall", with_generator(range(30, 31), lateness_max_ms=3500.0), "stood still for 3.5 s (bound 2 s)"),
    ("starved", with_generator(range(20, 40), cpu_cores=0.97), "local used 0.9 cores or more in 20 of 65 s"),
    ("crowded", with_other_work(0.8), "busy with other work: 0.80 of its 2 cores on average (bound 0.5)"),
    (
        "no files",
        with_generator(range(30, 32), no_file=4),
        "could not send 8 requests (local): no file could be opened for a connection",
    ),
    ("no ports", with_generator(range(30, 31), no_port=1), "could not send 1 request (local): no local port"),
    (
        "no memory",
        with_generator(range(2), no_memory=1),
        "(local): the system had no memory for a connection",
    ),
    ("lost worker", silent_worker, "Locust's worker-1 fell silent"),
    (
        "recorder",
        with_event(f.OBSERVER_FAULT, observer="recorder", error="worker-1 was lost"),
        "the load generator: worker-1 was lost",
    ),
]


@pytest.mark.parametrize(("change", "why"), [case[1:] for case in VOID], ids=[case[0] for case in VOID])
@pytest.mark.parametrize(
    ("scenario", "history"),
    [(h.scenario(), h.healthy()), (h.scenario(), h.incident()), (h.rush_hour(), h.incident())],
    ids=["gate-healthy", "gate-incident", "rush-hour"],
)
def test_a_void_run_is_unknown_whatever_was_seen(
    change: Change, why: str, scenario: Scenario, history: History
) -> None:
    verdict = judged(scenario, change(history))
    assert verdict.verdict == "unknown"
    assert verdict.observed in {"unknown", "exhausted"}
    found = verdict.reasons[0]
    assert why in found
    assert verdict.headline == f"{scenario.name} (release 1.1): {found}"


def test_other_work_below_the_bound_passes() -> None:
    assert judged(h.scenario(), with_other_work(0.3)(h.healthy())).verdict == "pass"


def test_a_run_cut_short_lists_what_was_seen_until_then() -> None:
    verdict = judged(h.scenario(), h.cut_short(h.incident(), 73))
    assert verdict.observed == "exhausted"
    assert "seen until then: leaked_connections == 0 does not hold: 30" in verdict.reasons


def test_the_last_lines_of_a_service_that_broke_are_among_the_reasons() -> None:
    lines = ["Traceback (most recent call last):", "RuntimeError: no such table: shop"]
    change = with_event(f.STACK_BROKE, what="service ended with exit code 3; the last lines:", log_tail=lines)
    verdict = judged(h.scenario(), change(h.healthy()))
    assert verdict.reasons[:3] == (
        "the stack broke: service ended with exit code 3; the last lines:",
        "| Traceback (most recent call last):",
        "| RuntimeError: no such table: shop",
    )
    assert verdict.headline.endswith("exit code 3; the last lines")
