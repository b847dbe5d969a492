"""The numbers of a production: in a scenario file, on the command line, and the curve of a day."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from rushhour.cli.main import _exit_of
from rushhour.errors import UsageError
from rushhour.forecast.behaviour import setup_of
from rushhour.forecast.place import place_of
from rushhour.forecast.replayed import PoolRules
from rushhour.jobs.forecast.job import Asked, production_of
from rushhour.scenario.day import EXAMPLES, Push, parse_day
from rushhour.scenario.file import load_scenarios
from rushhour.scenario.model import Production, ProductionPool
from tests.unit import histories
from tests.unit.forecast_testers import RUSH_HOUR, few_testers, scenario
from tests.unit.saved_runs import save
from tests.unit.test_scenario_file import GOOD, ROOT, folder, problems, write

__all__ = ["folder"]

LOAD = "load: { users: 20, duration: 1m30s, warm_up: 500ms, locustfile: users.py }"


def with_production(text: str) -> str:
    return GOOD.replace(LOAD, f"{LOAD}\n    production: {text}")


def test_production_is_read_from_the_scenario_file(folder: Path) -> None:
    text = "{ customers: 800, instances: 3, think_time: 10s, push_share: 20%, day: rush-hour over 75s }"
    found = load_scenarios(write(folder, with_production(text))).scenarios["base"].production
    expected = Production(800, 3, think_time=10.0, push_share=0.2, day="rush-hour over 75s")
    assert found == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{ customers: 0 }", "production.customers: input should be greater than 0, not 0"),
        ("{ customers: 10000001 }", "production.customers: input should be less than or equal to 10000000"),
        (
            "{ customers: 5, threads: 100001 }",
            "production.threads: input should be less than or equal to 100000",
        ),
        ("{ instances: 3 }", "production.customers: is missing"),
        ("{ customers: 5, thread: 3 }", "production.thread: unknown key 'thread'"),
        ("{ customers: 5, think_time: 10 }", "production.think_time: 10 is not a duration"),
        (
            "{ customers: 5, push_share: 120% }",
            "production.push_share: input should be less than or equal to 1",
        ),
        ("{ customers: 5, day: rush-hour }", "say how long the shape lasts: 'rush-hour over 75s'"),
        ("{ customers: 5, day: '18:00 100%' }", "has fewer than two points"),
        (
            "{ customers: 5, pool: { size: 0 } }",
            "production.pool.size: input should be greater than or equal to 1",
        ),
        ("800", "production: "),
    ],
)
def test_a_wrong_production_is_reported_with_file_and_line(folder: Path, text: str, words: str) -> None:
    found = problems(folder, with_production(text))
    assert len(found) >= 1
    assert found[0].startswith("scenarios.yaml:13: ")
    assert words in found[0]


def test_staging_names_a_production_that_is_the_gate(folder: Path) -> None:
    scenarios = load_scenarios(ROOT / "scenarios.yaml").scenarios
    production, gate = scenarios["staging"].production, scenarios["gate"].load
    assert production is not None
    assert (production.customers, production.think_time) == (gate.users, gate.think_time)
    assert production.push_share == gate.push_share
    assert production.day == f"{gate.shape} over {gate.duration:g}s"


def test_the_command_line_goes_before_the_scenario_and_the_scenario_before_the_run() -> None:
    given = scenario(production={"customers": 800, "threads": 32, "day": RUSH_HOUR})
    found = production_of("x", given, Asked(customers=1600, pool_size=5))
    assert (found.customers, found.threads, found.day) == (1600, 32, RUSH_HOUR)
    assert found.pool == ProductionPool(size=5)
    with pytest.raises(UsageError, match="--customers 800"):
        production_of("x", scenario(), Asked())


@pytest.mark.parametrize(
    ("pool", "rules"),
    [
        (None, PoolRules(15, 2.0)),
        (ProductionPool(size=8), PoolRules(18, 2.0)),
        (ProductionPool(max_overflow=0), PoolRules(5, 2.0)),
        (ProductionPool(size=1, max_overflow=1, timeout=9.0), PoolRules(2, 9.0)),
    ],
)
def test_what_a_production_leaves_out_of_its_pools_is_as_in_the_run(
    pool: ProductionPool | None, rules: PoolRules
) -> None:
    """The run's pool is 5 + 10, and not the 20 + 10 of a scenario that does not say it to the service."""
    story = few_testers("none")
    seen = tuple(dataclasses.replace(own, size=5, max_overflow=10, timeout_s=2.0) for own in story.pools)
    setup = setup_of(scenario(), dataclasses.replace(story, pools=seen), None)
    assert place_of(Production(customers=10, pool=pool), setup).pools["replica"] == rules


def test_a_day_has_shares_pushes_and_times_of_day() -> None:
    day = parse_day("07:00 10%, 18:00 100%, 18:30 push 20%, 22:00 5%")
    assert day.share_at(0) == pytest.approx(0.1)
    assert day.share_at(5.5 * 3600) == pytest.approx(0.55)
    assert day.pushes == (Push(11.5 * 3600, 0.2),)
    assert day.clock_at(11.5 * 3600 + 65) == "18:31"
    assert parse_day("0s 0%\n10s 100%").clock_at(5) is None
    for text in (
        "07:00 1%, 08:00 push 5%, 08:00 9%, 09:00 1%",
        "07:00 1%, 08:00 9%, 08:00 push 5%, 09:00 1%",
    ):
        assert parse_day(text).pushes == (Push(3600.0, 0.05),)
        assert parse_day(text).share_at(3600.0) == pytest.approx(0.09)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("07:00", "is not a time and a share"),
        ("25:00 1%, 26:00 2%", "is not a time of day"),
        ("07:61 1%, 08:00 2%", "is not a time of day"),
        ("08:00 1%, 07:00 2%", "does not come after"),
        ("08:00 1%, 08:00 2%", "for a jump, write it a moment later"),
        ("0s 100%, 1ms 100%", "a day of 0.001 s is too short"),
        ("08:00 1%, 9h 2%", "mixes times of day and durations"),
        ("08:00 101%, 09:00 2%", "at most 100%"),
        ("08:00 0%, 09:00 0%", "no customers at any time"),
        ("08:00 1%, 09:00 2%, 10:00 push 3%", "before the first point or after the last"),
        ("spike over 0s", "a day of 0 s is too short"),
        ("spike over soon", "is not a duration"),
    ],
)
def test_a_wrong_day_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_day(text)


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, str]:
    leaky = save(tmp_path / "leaky", few_testers(), scenario())
    healthy = save(tmp_path / "healthy", few_testers("none"), scenario(release="1.1.1"))
    blind = save(tmp_path / "blind", histories.without_agent(few_testers()), scenario(agent=False))
    return {"leaky": str(leaky.path), "healthy": str(healthy.path), "blind": str(blind.path)}


def said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, Any]:
    code = int(_exit_of(["forecast", *arguments, "--json"]))
    return code, json.loads(capsys.readouterr().out)[0]


@pytest.mark.long
def test_the_exit_code_is_the_answer(runs: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    evening = ["--customers", "800", "--think-time", "10s", "--day", RUSH_HOUR]
    code, found = said([runs["leaky"], *evening], capsys)
    assert (code, found["exhausts"], found["error"]) == (1, "yes", None)
    assert found["site"] == {"file": "app/referrals.py", "line": 88, "function": "list_referrals"}
    code, found = said([runs["healthy"], *evening], capsys)
    assert (code, found["exhausts"]) == (0, "no")
    code, found = said([runs["blind"], *evening], capsys)
    assert code == 2
    assert "no agent" in found["error"]


@pytest.mark.parametrize(
    "wrong",
    [
        ["--customers", "0"],
        ["--customers", "many"],
        ["--customers", "800", "--day", "evening"],
        ["--customers", "800", "--think-time", "10"],
        ["--customers", "800", "--think-time", "0s"],
        ["--customers", "800", "--push-share", "20"],
        [],
    ],
)
def test_bad_usage_is_64_and_no_number(
    runs: dict[str, str], wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _exit_of(["forecast", runs["leaky"], *wrong]) == 64
    assert not capsys.readouterr().out


def test_what_is_no_run_is_64(tmp_path: Path) -> None:
    assert _exit_of(["forecast", str(tmp_path), "--customers", "800"]) == 64


def test_the_curves_that_messages_show_as_examples_are_curves() -> None:
    shown = re.findall(r"'([^']+)'", EXAMPLES)
    assert len(shown) == 2
    for text in shown:
        assert parse_day(text).points
    with pytest.raises(ValueError, match=r"the push at 18:30 is .* after the last; write a point"):
        parse_day("07:00 10%, 18:00 100%, 18:30 push 20%")
