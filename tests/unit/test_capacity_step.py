"""A step of the search, read from what a run holds: its outcome, what was used up, how sure it is."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from rushhour.jobs.capacity.again import knee_again
from rushhour.jobs.capacity.climb import Ladder, Times, step_scenario, step_seconds, think_time_of
from rushhour.jobs.capacity.command import one_service_only
from rushhour.jobs.capacity.facts import Knee, Resource, Search, Step
from rushhour.jobs.capacity.measured import make_step
from rushhour.jobs.capacity.page import beside, render_search
from rushhour.jobs.capacity.picture import panels
from rushhour.jobs.capacity.resources import THREADS, gives_first, next_limit
from rushhour.jobs.capacity.store import as_objects, write_all
from rushhour.jobs.capacity.words import first_limit, meaning, rows, sentence, with_capacity
from rushhour.process.guard import Guard
from rushhour.run import RunContext, Screen
from rushhour.rundir import History, RunDir
from rushhour.rundir import facts as f
from rushhour.scenario.arrivals import RatePoint
from rushhour.scenario.file import load_scenarios
from rushhour.scenario.model import SCENARIO
from rushhour.scenario.rules import contradictions
from rushhour.verdict.judge import judge
from tests.unit import histories as h
from tests.unit.arrivals_run import arriving, open_gate
from tests.unit.test_verdict_trust import with_other_work
from tests.unit.test_webui_session import FakeStack


def step(history: History, per_s: float = 10.0, **changes: Any) -> Step:
    scenario = open_gate(per_s, **changes)
    return make_step("run", scenario, history, judge(scenario, history, "embedded"))


def test_a_step_that_holds_has_its_figures() -> None:
    found = step(arriving())
    assert (found.rate, found.outcome, found.cause) == (10.0, "holds", "none")
    assert (found.arrived_per_s, found.present, found.requests_per_s) == (10.0, 40.0, 80.0)
    assert (found.pool, found.pool_in_use, found.pool_capacity) == ("replica", 12, 30)
    assert found.sure is not None
    assert found.sure > 0.99
    assert found.steady is True
    assert found.tightest == "p95 < 400ms: 34 ms" or "pool_in_use_max" in found.tightest


def test_a_saturated_step_gives_way_and_its_servers_cpu_gives_first() -> None:
    found = step(arriving(history=h.saturated()))
    assert found.outcome == "gives"
    assert found.timeouts == 20
    first = gives_first(found.resources)
    assert first is not None
    assert (first.name, first.evidence) == ("CPU of the replica", "0.49 of 0.5 cores on average")
    assert found.sure == 1.0  # a count that was violated is a fact


def test_a_full_pool_before_idle_servers_gives_first() -> None:
    history = h.saturated()
    idle = tuple(
        dataclasses.replace(sample, cpu_cores=0.1) if sample.component == "replica" else sample
        for sample in history.host
    )
    first = gives_first(step(arriving(history=dataclasses.replace(history, host=idle))).resources)
    assert first is not None
    assert first.name == "pool replica"
    assert "30 of 30" in first.evidence


def test_locks_give_first_where_busy_backends_wait_for_them() -> None:
    history = h.saturated()
    waits = {"Lock:tuple": 27, "Lock:transactionid": 1}
    locked = tuple(
        dataclasses.replace(sample, waits=waits) if sample.states.get("active") == 29 else sample
        for sample in history.servers
    )
    first = gives_first(step(arriving(history=dataclasses.replace(history, servers=locked))).resources)
    assert first is not None
    assert first.name == "locks"


@pytest.mark.parametrize("history", [h.incident(), h.staging()], ids=["exhausted", "few"])
def test_a_release_that_leaks_is_named_by_its_leak(history: History) -> None:
    found = step(arriving(history=history))
    assert found.outcome == "leaks"
    assert found.cause == "scope-never-removed"
    assert found.site == "app/referrals.py:88 list_referrals"
    search = Search("gate", "1.1", "embedded", (found,), Knee("leak", None, 10.0), 1.0, 10.0, 20.0)
    assert sentence(search) == (
        "gate (release 1.1) has no capacity: it leaks connections (scope-never-removed) at "
        "app/referrals.py:88 list_referrals, seen at 10 customers a second, so any rate exhausts its pool"
    )


def test_a_generator_that_fell_behind_is_the_limit_and_other_work_is_unknown() -> None:
    assert step(arriving(due_late_p99_ms=400.0)).outcome == "generator"
    assert step(arriving(cpu_cores=0.97)).outcome == "generator"
    assert step(h.cut_short(arriving(), 60)).outcome == "unknown"
    crowded = with_other_work(1.2)(arriving(due_late_p99_ms=400.0))
    assert step(crowded).outcome == "unknown"  # others took the generator's CPU


def slow_seconds(slow: int, of: int) -> History:
    """Lists that take 1 s in `slow` of each `of` seconds, and 34 ms in the others."""
    history = arriving()
    rows = tuple(
        dataclasses.replace(row, latency=h.request_row(0, "", row.count, 1000, f.Outcome.OK).latency)
        if row.endpoint == h.LIST and row.t_s % of < slow
        else row
        for row in history.requests
    )
    return dataclasses.replace(history, requests=rows)


LIST_P95 = f"p95{{{h.LIST}}} < 600ms"


def test_a_step_near_its_bound_is_not_sure() -> None:
    near = step(slow_seconds(1, 20), thresholds=(LIST_P95,))
    clear = step(slow_seconds(1, 5), thresholds=(LIST_P95,))
    assert near.sure is not None
    assert clear.sure is not None
    assert 0.4 < near.sure < 0.8
    assert (clear.outcome, clear.sure > 0.97) == ("gives", True)


def test_a_percentile_of_too_few_requests_is_not_sure() -> None:
    history = arriving()
    few = tuple(row for row in history.requests if row.endpoint != h.LIST or row.t_s % 30 == 0)
    found = step(dataclasses.replace(history, requests=few), thresholds=(f"p99{{{h.LIST}}} < 600ms",))
    assert (found.outcome, found.sure) == ("holds", 0.5)


def test_a_step_whose_customers_still_gather_is_not_steady() -> None:
    history = arriving()
    growing = tuple(
        dataclasses.replace(sample, users=10 * (index + 1)) for index, sample in enumerate(history.generator)
    )
    assert step(dataclasses.replace(history, generator=growing)).steady is False


def test_what_would_be_next_is_where_its_use_reaches_all_of_it() -> None:
    parts = (Resource("pool replica", 0.8, ""), Resource("CPU of the service", 0.5, ""))
    full = Resource("pool replica", 1.0, "")
    assert next_limit(parts, (full,), 40.0) == ("CPU of the service", 80.0)
    assert next_limit(parts[:1], (full,), 40.0) is None


def test_a_pool_that_waited_for_its_server_is_not_what_would_be_next() -> None:
    holding = tuple(Resource(name, 0.8, "") for name in ("CPU of the replica", "pool replica"))
    giving = tuple(Resource(name, 1.0, "") for name in ("CPU of the replica", "pool replica"))
    service = Resource("CPU of the service", 0.4, "")
    assert next_limit((*holding, service), (*giving, service), 40.0) == ("CPU of the service", 100.0)


def test_a_steps_scenario_is_healthy_under_a_constant_rate() -> None:
    scenario = load_scenarios(Path("scenarios.yaml")).scenarios["replica-fault"]
    made = step_scenario(scenario, 40.0, Times(20, 12), think_time_of(scenario, None))
    assert made.load.arrivals == (RatePoint(0.0, 40.0),)
    assert (made.load.users, made.load.duration, made.load.warm_up) == (None, 32.0, 12.0)
    assert (made.load.think_time, made.expect, made.faults, made.cause) == (1.0, "healthy", (), None)


def test_a_step_is_measured_longer_where_its_percentiles_would_mean_little() -> None:
    scenario, times = open_gate(thresholds=("p99 < 1s",)), Times(step_s=20, warm_up_s=12)
    known = [dataclasses.replace(step(arriving()), requests_per_s=50.0, arrived_per_s=10.0)]
    assert step_seconds(scenario, 5.0, [], times) == 20  # nobody knows yet how many requests a customer sends
    assert step_seconds(scenario, 40.0, known, times) == 20
    assert step_seconds(scenario, 13.0, known, times) == 31  # 2,000 requests, of which 20 are slower
    assert step_seconds(scenario, 2.0, known, times) == 40
    assert step_seconds(open_gate(thresholds=("http_5xx == 0",)), 2.0, known, times) == 20


def found_search(release: str = "1.1.1") -> Search:
    held = dataclasses.replace(step(arriving()), rate=40.0, run="held")
    gave = dataclasses.replace(step(arriving(history=h.saturated())), rate=44.0, run="gave<script>")
    knee = Knee("knee", 40.0, 44.0, (2, 2), (2, 2))
    return Search("gate", release, "embedded", (held, gave, held, gave), knee, 1.0, 10.0, 20.0)


def test_a_search_ends_with_a_sentence_what_gives_first_and_what_is_next() -> None:
    search = found_search()
    assert sentence(search) == (
        "gate (release 1.1.1) carries 40 customers a second, and no more than 44: "
        "held in 2 of 2 steps at 40, gave way in 2 of 2 steps at 44"
    )
    first = first_limit(search)
    assert first is not None
    assert first.sentence == "The CPU of the replica gives first: 0.49 of 0.5 cores on average."
    assert any("pool of the replica: 30 of 30" in evidence for evidence in first.evidence)
    assert first.behind.startswith("Next would be the ")
    words = meaning(search)
    assert words is not None
    assert words.startswith("That is 80 requests a second, with 40 customers at once who think for 1 s")
    assert len(rows(search)) == 4


def test_a_search_is_kept_as_page_json_markdown_and_junit(tmp_path: Path) -> None:
    folder = RunDir(tmp_path / "capacity")
    folder.path.mkdir()
    judged = [(found_search(), "pass", "enough"), (found_search("1.0"), "unknown", "undecided")]
    page = write_all(folder, judged).read_text(encoding="utf-8")  # type: ignore[arg-type]
    assert "carries 40 customers a second" in page
    assert "Side by side" in page
    assert page.count("<svg") == 3
    assert "<script>gave" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert "src=" not in page
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "capacity.html",
        "capacity.json",
        "junit.xml",
        "summary.md",
    ]
    first, second = as_objects(judged)  # type: ignore[arg-type]
    assert (first["verdict"], first["knee"]["low"], first["confirmed"]) == ("pass", 40.0, True)
    assert second["release"] == "1.0"
    assert beside([found_search()])[0][:4] == ("1.1.1", "40/s", "44/s", "yes")


def test_the_picture_shows_a_step_that_said_nothing_apart_and_joins_only_the_others() -> None:
    search = found_search()
    held, gave = search.steps[:2]
    busy = dataclasses.replace(gave, outcome="unknown", p95_ms=9_000.0)
    [latency, *_] = panels([dataclasses.replace(search, steps=(held, gave, busy))])
    [curve] = latency.curves
    assert [dot.outcome for dot in curve.dots] == ["holds", "gives", "unknown"]
    assert curve.dots[2].label.endswith("(unknown)")
    assert curve.path == " ".join(f"{dot.x:.1f},{dot.y:.1f}" for dot in curve.dots[:2])


def test_more_requests_than_threads_wait_for_a_thread() -> None:
    crowded = step(
        arriving(history=h.saturated()), service={"threads": 4, "arguments": "--threads {threads}"}
    )
    [threads] = [part for part in crowded.resources if part.name == THREADS]
    assert threads.share == 1.0
    assert re.fullmatch(r"all 4 had a request, and \d+ waited for a thread, on average", threads.evidence)


def scattered(*shares: tuple[float, float]) -> Search:
    """A search whose steps used so much of their tightest bound at a rate; its knee is at 50 to 55."""
    steps = tuple(Step(rate, "holds" if used < 1 else "gives", "run", (), used=used) for rate, used in shares)
    return Search(
        "gate", "1.1.1", "embedded", steps, Knee("knee", 50.0, 55.0, (2, 2), (2, 2)), 1.0, 10.0, 20.0
    )


def test_another_search_is_expected_as_far_off_as_the_steps_scatter() -> None:
    exact = [(rate, (rate / 52.5) ** 4) for rate in (40.0, 50.0, 50.0, 55.0, 55.0, 70.0)]
    assert knee_again(scattered(*exact)) == pytest.approx((50.0, 55.0))  # never less than the bracket
    noisy = [
        (rate, used * factor)
        for (rate, used), factor in zip(exact, (1.6, 0.7, 1.1, 0.9, 1.5, 0.7), strict=True)
    ]
    found = knee_again(scattered(*noisy))
    assert found is not None
    assert found[0] < 48
    assert found[1] > 57
    assert found[0] * found[1] == pytest.approx(50 * 55, rel=0.01)


def test_few_steps_or_no_rising_line_do_not_say_where_another_search_would_end() -> None:
    assert knee_again(scattered((50.0, 0.8), (50.0, 0.9), (55.0, 1.1), (55.0, 1.2))) is None
    falling = [(40.0, 1.5), (50.0, 1.2), (50.0, 1.1), (55.0, 0.9), (70.0, 0.5)]
    assert knee_again(scattered(*falling)) is None
    far = [(5.0, 0.1), (10.0, 0.2), (20.0, 0.4), (50.0, 0.9), (200.0, 9.0)]
    assert knee_again(scattered(*far)) is None
    assert knee_again(dataclasses.replace(found_search(), knee=Knee("at least", 40.0))) is None


def test_the_page_of_a_search_without_a_step_says_so() -> None:
    search = Search("gate", "1.1.1", "embedded", (), Knee("unknown", why="interrupted"), None, 10.0, 20.0)
    page = render_search([search], [("unknown", sentence(search))])
    assert "The capacity of gate (release 1.1.1) is unknown (interrupted)" in page
    assert "<svg" not in page


def test_a_folder_without_a_step_says_so(tmp_path: Path) -> None:
    folder = RunDir(tmp_path / "capacity")
    folder.path.mkdir()
    assert "No step has ended yet" in write_all(folder, []).read_text(encoding="utf-8")
    assert folder.file("capacity.json").read_text().strip() == "[]"


def test_the_worse_of_a_run_and_a_search_counts() -> None:
    scenario = open_gate()
    passed = judge(scenario, arriving(), "embedded")
    missed = with_capacity(passed, "fail", "expect_capacity >= 60/s is missed")
    assert (missed.verdict, missed.reasons[0]) == ("fail", "expect_capacity >= 60/s is missed")
    assert missed.headline == "gate (release 1.1): expect_capacity >= 60/s is missed"
    assert with_capacity(passed, "unknown", "undecided").verdict == "unknown"
    assert with_capacity(passed, "pass", "holds").verdict == "pass"
    assert with_capacity(missed, "pass", "holds").verdict == "fail"
    assert with_capacity(missed, "unknown", "undecided").verdict == "fail"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"expect": "exhausted", "expect_capacity": ">= 60/s"}, "contradicts a capacity"),
        ({"thresholds": (), "expect_capacity": ">= 60/s"}, "nothing says when the service gives way"),
    ],
)
def test_a_capacity_that_nothing_could_meet_is_a_contradiction(changes: dict[str, Any], problem: str) -> None:
    found = [what for where, what in contradictions(h.scenario(**changes)) if where == ("expect_capacity",)]
    assert [problem in what for what in found] == [True]


TARGET = {"name": "shop", "health": "/health", "releases": ["1.0", "1.1"]}


@pytest.mark.parametrize(
    ("target", "image", "words"),
    [
        ({"url": "http://127.0.0.1:9"}, None, "answers with whatever runs there"),
        ({"command": "serve {port}"}, None, "neither command, setup nor environment of shop has {release}"),
        ({"command": "serve {release} {port}"}, "shop:1", "would be the same image"),
        ({"command": "serve {release} {port}"}, None, ""),
        ({"command": "serve {port}", "environment": {"SHOP": "{release}"}}, None, ""),
        ({"command": "serve {port}", "setup": "install {release}"}, None, ""),
        ({"compose": ["compose.yaml"], "service": "shop"}, None, ""),
    ],
)
def test_two_releases_that_would_be_one_service_are_refused(
    target: dict[str, Any], image: str | None, words: str
) -> None:
    both = [h.scenario(target=TARGET | target, release=release) for release in ("1.0", "1.1")]
    found = list(one_service_only(both, image))
    assert [words in problem for problem in found] == [True] * bool(words)
    assert list(one_service_only(both[:1], image)) == []


def test_two_releases_may_differ_by_the_scenario_s_own_environment() -> None:
    target, service = TARGET | {"command": "serve {port}"}, {"environment": {"SHOP": "{release}"}}
    both = [h.scenario(target=target, service=service, release=release) for release in ("1.0", "1.1")]
    assert list(one_service_only(both, None)) == []


@pytest.mark.parametrize(("setup", "came_up"), [("", 1), ("migrate", 2)])
def test_another_release_has_its_own_set_up(setup: str, came_up: int, tmp_path: Path) -> None:
    target = TARGET | {"command": "serve {release} {port}", "setup": setup}
    stack, screen = FakeStack(tmp_path), Screen(lambda *_, **__: None, lambda _: None, lambda: None)
    ladder = Ladder(stack, RunContext(Guard(), tmp_path, screen), tmp_path, lambda _: screen)
    with ladder.standing():
        for release in ("1.0", "1.0", "1.1"):
            ladder._serve(h.scenario(target=target, release=release), RunDir(tmp_path / "run"), screen)
    assert [text.partition(" ")[0] for text in stack.seen] == ["up", "down"] * came_up


def test_an_expected_capacity_survives_its_file() -> None:
    scenario = h.scenario(expect_capacity=">= 60/s")
    assert scenario.expect_capacity is not None
    assert scenario.expect_capacity.per_s == 60.0
    assert SCENARIO.validate_json(SCENARIO.dump_json(scenario)) == scenario
