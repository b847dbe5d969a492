"""Keys of a scenario from the command line are validated and reported as the file's own are."""

import re
from pathlib import Path

import pytest

from rushhour.cli.main import main
from rushhour.errors import UsageError
from rushhour.scenario.file import load_scenarios
from rushhour.scenario.model import SCENARIO, Scenario
from rushhour.scenario.settings import parse_setting, with_settings

ROOT = Path(__file__).parents[2]
FILE = load_scenarios(ROOT / "scenarios.yaml")
GATE = FILE.scenarios["gate"]


def changed(*assignments: str, scenario: Scenario = GATE) -> Scenario:
    return with_settings(scenario, [parse_setting(assignment) for assignment in assignments])


def test_keys_of_every_kind_can_be_set() -> None:
    scenario = changed(
        "load.users=200",
        "load.duration=1m30s",
        "load.spawn_rate=12.5",
        "pool.size=40",
        "release=1.0",
        "thresholds=[p95 < 2s, http_5xx == 0]",
        "service.environment.LEVEL=3",
        "target.environment.NEW=a=b",
        "postgres.replica_cores=null",
        "agent=false",
    )
    load = scenario.load
    assert (load.users, load.duration, load.spawn_rate, scenario.pool.size) == (200, 90.0, 12.5, 40)
    assert scenario.release == "1.0"
    assert [threshold.expr for threshold in scenario.thresholds] == ["p95 < 2s", "http_5xx == 0"]
    assert scenario.service.environment["LEVEL"] == "3"
    assert scenario.target.environment["NEW"] == "a=b"
    assert (scenario.postgres.replica_cores, scenario.agent) == (None, False)
    assert load.think_time == GATE.load.think_time


@pytest.mark.parametrize("name", FILE.scenarios)
def test_a_setting_changes_nothing_but_its_key(name: str) -> None:
    scenario = FILE.scenarios[name]
    before = SCENARIO.dump_python(scenario)
    after = SCENARIO.dump_python(changed("load.seed=77", scenario=scenario))
    assert after["load"].pop("seed") == 77
    del before["load"]["seed"]
    assert after == before


@pytest.mark.parametrize(
    ("assignment", "problem"),
    [
        ("pool.sise=3", "unknown key 'sise' in pool; did you mean size? known: size, max_overflow, timeout"),
        ("pol.size=3", "unknown key 'pol'; did you mean pool? known: "),
        ("name=other", "unknown key 'name'; known: target, load"),
        ("load.users.most=3", "load.users has no keys of its own; set load.users as a whole"),
        ("load.users=many", "load.users: input should be a valid integer, not 'many'"),
        ("load.users=0", "load.users: input should be greater than 0, not 0"),
        ("load.duration=3", "load.duration: 3 is not a duration"),
        ("load.duration=3.5", "load.duration: '3.5' is not a duration"),
        ("load.shape=square", "load.shape: unknown shape 'square'; known: rush-hour"),
        ("thresholds=[p95 < 400]", "does not fit p95, in 'p95 < 400'"),
        (
            "pool={sise: 3}",
            "unknown key 'sise' in pool; did you mean size? known: size, max_overflow, timeout",
        ),
        (
            "service={argumets: x}",
            "unknown key 'argumets' in service; did you mean arguments? known: workers",
        ),
        ("faults=[{server: primary, fro: 3s}]", "unknown key 'fro'; known: at, server, do"),
        ("service.environment.=x", "the variable has no name; write service.environment.NAME=VALUE"),
        ("load.warm_up=10m", "scenarios.gate.load.warm_up: warm_up 600 s leaves nothing to measure"),
        ("release=9", "scenarios.gate.release: unknown release"),
        ("load.locustfile=none.py", "no such file: none.py"),
        ("pool.size=[", "is no value"),
    ],
)
def test_a_setting_that_is_wrong_says_why(assignment: str, problem: str) -> None:
    with pytest.raises(UsageError) as raised:
        changed(assignment)
    assert f"--set {assignment}: " in str(raised.value)
    assert problem in str(raised.value)


@pytest.mark.parametrize(
    ("whole", "part"),
    [
        ("load=5", "load.users=5"),
        ("pool=[]", "pool.size=3"),
        ("service.environment=null", "service.environment.A=b"),
        ("target=x", "target.environment.A=b"),
    ],
)
def test_a_key_of_what_an_earlier_setting_made_no_mapping_is_refused(whole: str, part: str) -> None:
    with pytest.raises(UsageError, match=f"is no mapping after --set {re.escape(whole)}; remove one"):
        changed(whole, part)


def test_every_setting_that_is_wrong_is_reported_at_once() -> None:
    texts = ("nope=1", "load.users=abc", "pool.sise=3", "pool.size=x", "data={sise: tiny}")
    with pytest.raises(UsageError) as caught:
        changed(*texts)
    for text in texts:
        assert any(problem.startswith(f"--set {text}: ") for problem in caught.value.problems), text


def test_a_variable_may_have_dots_in_its_name_and_quotes_around_its_value() -> None:
    scenario = changed(
        "release='1.0'", "service.environment.a.b=1", 'target.environment.C="d e"', "target.environment.F='g"
    )
    assert scenario.release == "1.0"
    assert scenario.service.environment["a.b"] == "1"
    assert (scenario.target.environment["C"], scenario.target.environment["F"]) == ("d e", "'g")


def test_an_error_does_not_show_the_value_of_a_secret() -> None:
    with pytest.raises(UsageError) as raised:
        changed("service.environment.DB_PASSWORD=hunter2", "load.warm_up=10m")
    assert "DB_PASSWORD=***" in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("value", ["[" * 5_000, "{a: " * 5_000, "- " * 5_000])
def test_a_value_that_is_nested_too_deeply_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match=r"--set pool\.size: its value is nested too deeply"):
        changed(f"pool.size={value}")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--set", "pool.sise=3"], "known: size, max_overflow, timeout"),
        (["--set", "pool"], "write KEY=VALUE"),
        (["--users", "many"], "--users many: load.users: input should be a valid integer"),
        (["--duration", "3"], "is not a duration"),
        (["--spawn-rate", "0"], "--spawn-rate 0: load.spawn_rate"),
    ],
)
def test_the_command_refuses_wrong_settings_before_it_starts_anything(
    arguments: list[str], problem: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "gate", "--scenarios", str(ROOT / "scenarios.yaml"), "--runs", str(tmp_path / "runs")]
    with pytest.raises(SystemExit) as ended:
        main([*command, *arguments])
    assert ended.value.code == 64
    assert problem in " ".join(capfd.readouterr().err.split())
    assert not (tmp_path / "runs").exists()


def test_run_without_a_name_lists_what_there_is(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--scenarios", str(ROOT / "scenarios.yaml")])
    assert ended.value.code == 64
    captured = capfd.readouterr()
    assert "rush-hour-hotfix" in captured.out
    assert "rushhour run NAME" in captured.err
