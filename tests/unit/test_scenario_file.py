"""Scenario files: what is accepted, and what a user is told about what is not."""

import json
import re
from pathlib import Path

import pytest

from rushhour.errors import UsageError
from rushhour.rundir import RunDir
from rushhour.scenario.file import load_scenarios
from rushhour.scenario.model import SCENARIO, SHAPES
from rushhour.scenario.yaml_node import read_yaml

ROOT = Path(__file__).parents[2]

UNIT = "is not a duration; write a number with a unit: 500ms, 30s, 2m, 1h"

GOOD = """\
service:
  name: shop
  command: "{python} -m shop {port}"
  health: /health
  releases: ["1.0", "1.1"]
  schema: schema.sql
defaults:
  pool: { timeout: 5s }
  thresholds: [queuepool_timeouts == 0]
scenarios:
  base:
    load: { users: 20, duration: 1m30s, warm_up: 500ms, locustfile: users.py }
    expect: healthy
  broken:
    extends: base
    release: "1.0"
    load: { users: 40 }
    expect: exhausted
    cause: saturation
suites:
  both: [base, broken]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "schema.sql").touch()
    (tmp_path / "users.py").touch()
    return tmp_path


def write(folder: Path, text: str) -> Path:
    path = folder / "scenarios.yaml"
    path.write_text(text)
    return path


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        load_scenarios(write(folder, text))
    return [problem.replace(f"{folder}/", "") for problem in caught.value.problems]


def test_durations_defaults_and_extends(folder: Path) -> None:
    file = load_scenarios(write(folder, GOOD))
    base, broken = file.scenarios["base"], file.scenarios["broken"]
    assert (base.load.duration, base.load.warm_up, base.pool.timeout) == (90.0, 0.5, 5.0)
    assert base.release == "1.1", "the newest release unless one is named"
    assert (broken.release, broken.load.users, broken.load.duration) == ("1.0", 40, 90.0)
    assert broken.thresholds == base.thresholds
    assert base.target.root == str(folder)


def test_a_scenario_survives_its_run_directory(folder: Path) -> None:
    scenario = load_scenarios(write(folder, GOOD)).scenarios["broken"]
    run = RunDir(folder)
    run.write_json("scenario.json", scenario)
    assert SCENARIO.validate_json(json.dumps(run.read_json("scenario.json"))) == scenario


def test_suites_are_expanded_once_and_in_order(folder: Path) -> None:
    file = load_scenarios(write(folder, GOOD))
    assert [scenario.name for scenario in file.select(["broken", "both"])] == ["broken", "base"]
    assert {scenario.release for scenario in file.select(["both"], release="1.0")} == {"1.0"}


def test_unknown_names_and_releases_are_reported_together(folder: Path) -> None:
    file = load_scenarios(write(folder, GOOD))
    with pytest.raises(UsageError) as caught:
        file.select(["bas", "both"], release="9")
    first, second = caught.value.problems
    assert "no scenario or suite 'bas'; did you mean base?" in first
    assert "--release 9: shop has no such release; known: 1.0, 1.1" in second


RELASE = (
    "scenarios.yaml:9: scenarios.one.relase: unknown key 'relase'; did you mean release? known: extends, "
    "target, load, release, expect, description, cause, judge, data, pool, service, postgres, thresholds, "
    "faults, expect_alarms, expect_capacity, may_fail, agent, production"
)
ALLOWED = "input should be 'healthy', 'degraded' or 'exhausted'"


def test_every_problem_at_once_each_with_its_line(folder: Path) -> None:
    text = """\
service: { name: shop, command: "x {port}", health: /health, releases: ["1.0"], schema: schema.sql }
defaults:
  thresholds: [queuepool_timeouts == 0]
  pool: { size: many }
scenarios:
  one:
    load: { users: 10, duration: 60, locustfile: users.py, shape: sawtooth }
    expect: healthy
    relase: "1.0"
  two:
    load:
      users: -1
      duration: 5s
      warm_up: 9 parsecs
      locustfile: users.py
    expect: perfect
suites:
  all: [one, three]
nonsense: 1
"""
    assert problems(folder, text) == [
        "scenarios.yaml:19: unknown key 'nonsense'; known: service, defaults, scenarios, suites",
        f"scenarios.yaml:7: scenarios.one.load.duration: 60 {UNIT}",
        f"scenarios.yaml:7: scenarios.one.load.shape: unknown shape 'sawtooth'; known: {', '.join(SHAPES)}",
        "scenarios.yaml:4: scenarios.one.pool.size: input should be a valid integer, not 'many'",
        RELASE,
        "scenarios.yaml:12: scenarios.two.load.users: input should be greater than 0, not -1",
        f"scenarios.yaml:14: scenarios.two.load.warm_up: '9 parsecs' {UNIT}",
        f"scenarios.yaml:16: scenarios.two.expect: {ALLOWED}, not 'perfect'",
        "scenarios.yaml:18: suite all: no scenario 'three'; known: one, two",
    ]


def test_two_mistakes_of_one_kind_on_one_line_are_both_reported(folder: Path) -> None:
    found = problems(folder, GOOD.replace("timeout: 5s", "timeout: 5s, siez: 3, overflo: 4"))
    assert [problem.partition(": unknown")[0] for problem in found] == [
        "scenarios.yaml:8: scenarios.base.pool.siez",
        "scenarios.yaml:8: scenarios.base.pool.overflo",
    ]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("users: 20, duration", "duration", ":12: scenarios.base.load.users: is missing"),
        ("warm_up: 500ms", "warm_up: 2m", "warm_up 120 s leaves nothing to measure of duration 90 s"),
        ("users: 20,", "users: 9000,", "9000 users at 40 a second need 225 s of 90 s"),
        ("timeout: 5s", "timeout: 2m", "customers give up after 60 s, before the pool's time-out of 120 s"),
        ('release: "1.0"', 'release: "2"', "broken.release: unknown release '2'; known: 1.0, 1.1"),
        ("expect: exhausted", "expect: healthy", "`expect: healthy` contradicts `cause: saturation`"),
        ("cause: saturation", "judge: http", "`judge: http` cannot name a cause"),
        ("cause: saturation", "cause: gremlins", "unknown cause 'gremlins'; known: scope-never-removed"),
        ("users.py", "users2.py", "no such file: users2.py"),
        (
            "extends: base",
            "extends: bsae",
            ":15: scenarios.broken.extends: no scenario 'bsae'; known: base, broken",
        ),
        ("extends: base", "extends: broken", "extends itself: broken -> broken"),
        ("users: 20", "users: true", "input should be a valid integer, not True"),
        ("users: 20", "users: '20'", "input should be a valid integer, not '20'"),
        ("both: [base, broken]", "base: [broken]", "suite base has the name of a scenario"),
        ("name: shop", "nmae: shop", "service.nmae: unknown key 'nmae'"),
        ("scenarios:", "scenario:", "`scenarios:` is missing or empty"),
        ("defaults:", "defaults: [", ": not YAML: "),
        (
            "expect: healthy",
            "expect: healthy\n    expect: exhausted",
            'not YAML: found duplicate key "expect"',
        ),
    ],
)
def test_a_mistake_is_reported_with_the_allowed_values(folder: Path, old: str, new: str, told: str) -> None:
    assert old in GOOD
    assert any(told in problem for problem in problems(folder, GOOD.replace(old, new, 1)))


def test_a_mistake_in_the_defaults_is_reported_once(folder: Path) -> None:
    found = problems(folder, GOOD.replace("timeout: 5s", "timeout: 5s, siez: 3"))
    place = "scenarios.yaml:8: scenarios.base.pool.siez"
    assert found == [f"{place}: unknown key 'siez'; did you mean size? known: size, max_overflow, timeout"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", ":1: is empty"),
        (b"- 1\n", ":1: holds a list; it must be a mapping"),
        (b"7\n", ":1: holds a single value; it must be a mapping"),
        (b"shop\n", ":1: holds a single value"),
        (b"2024-01-01\n", ":1: holds a single value"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_files_that_are_not_scenario_files(folder: Path, content: bytes, told: str) -> None:
    (folder / "scenarios.yaml").write_bytes(content)
    with pytest.raises(UsageError, match=told):
        load_scenarios(folder / "scenarios.yaml")


def test_a_missing_file_says_where_to_run(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"no such file; run rushhour where scenarios\.yaml is"):
        load_scenarios(folder / "scenarios.yaml")


def test_the_shipped_file_is_valid() -> None:
    file = load_scenarios(ROOT / "scenarios.yaml")
    assert [scenario.name for scenario in file.select(["loadtest"])] == [
        "staging",
        "rush-hour",
        "rush-hour-primary",
        "rush-hour-hotfix",
    ]


UNREADABLE = {
    "a date that does not exist": "  when: 2024-13-45",
    "not a number": "  users: !!int many",
    "not a boolean": "  agent: !!bool perhaps",
    "a tag of a list": "  data: !!omap [b: 1]",
    "a mapping as a key": "  ? { x: 1 }\n  : 2",
    "a question mark": "  ? x:\n  : 2",
    "a list as a key": "  ? [x, y]\n  : 2",
    "a key twice": "  pool: { size: 1, size: 2 }",
    "an unknown alias": "  pool: *nothing",
    "a control character": "  description: \x01",
}


@pytest.mark.parametrize("lines", UNREADABLE.values(), ids=UNREADABLE)
def test_what_ruamel_cannot_read_is_a_message_with_its_line(folder: Path, lines: str) -> None:
    at = GOOD[: GOOD.index("scenarios:")].count("\n") + 1
    found = problems(folder, GOOD.replace("scenarios:\n", f"{lines}\nscenarios:\n"))
    assert len(found) == 1
    assert re.match(rf"\S*scenarios\.yaml:{at}: \S", found[0]), found


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("2024-13-45", "cannot be read as !!timestamp: month must be in 1..12"),
        ("!!int many", "cannot be read as !!int: invalid literal"),
        ("!!float much", "cannot be read as !!float: could not convert"),
        ("!!bool perhaps", "cannot be read as !!bool"),
    ],
)
def test_a_value_that_is_not_of_its_type_names_the_type_and_no_exception(
    folder: Path, value: str, told: str
) -> None:
    (found,) = problems(folder, GOOD.replace("scenarios:\n", f"  x: {value}\nscenarios:\n"))
    assert told in found
    assert "Error" not in found


@pytest.mark.long
def test_nesting_without_end_is_a_message(folder: Path) -> None:
    assert "nested too deeply" in problems(folder, "scenarios: " + "[" * 5000)[0]


@pytest.mark.parametrize(("member", "kind"), [("{ base: broken }", "mapping"), ("[base]", "list")])
def test_a_suite_takes_names_alone(folder: Path, member: str, kind: str) -> None:
    text = GOOD.replace("both: [base, broken]", f"both: [base, {member}]")
    (found,) = problems(folder, text)
    assert f":{text.count(chr(10))}: suite both: its member is a {kind}" in found


@pytest.mark.parametrize("given", ["{ base: 1 }", "[base]", "7"])
def test_extends_takes_a_name_alone(folder: Path, given: str) -> None:
    (found,) = problems(folder, GOOD.replace("extends: base", f"extends: {given}"))
    assert "is not the name of a scenario" in found


def test_merged_mappings_are_read(folder: Path) -> None:
    text = GOOD.replace("    load: { users: 20,", "    load: &load { users: 20,").replace(
        "    load: { users: 40 }", "    load: { <<: *load, users: 40 }"
    )
    broken = load_scenarios(write(folder, text)).scenarios["broken"]
    assert (broken.load.users, broken.load.duration) == (40, 90.0)


def test_what_a_reader_changes_is_not_read_again(tmp_path: Path) -> None:
    path, other = tmp_path / "a.yaml", tmp_path / "b.yaml"
    for file in (path, other):
        file.write_text("load: { users: 3, faults: [1] }\n", encoding="utf-8")
    first = read_yaml(path)
    first.plain["load"]["faults"].append(2)
    first.plain["more"] = 1
    assert read_yaml(other).plain == {"load": {"users": 3, "faults": [1]}}
    path.write_text("load: 4\n", encoding="utf-8")
    assert read_yaml(path).plain == {"load": 4}


def test_each_file_is_named_that_has_the_same_wrong_text(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("- 1\n", encoding="utf-8")
        with pytest.raises(UsageError, match=rf"{name}:1: holds a list"):
            read_yaml(tmp_path / name)


@pytest.mark.parametrize("name", ["../base", "a/b", "-x", ".x", "a\tb", "x" * 201, "é" * 101, ""])
@pytest.mark.parametrize("key", ["base", "both"])
def test_a_name_that_no_run_directory_can_have_is_refused(folder: Path, key: str, name: str) -> None:
    text = GOOD.replace(f"  {key}:", f"  {json.dumps(name)}:").replace(
        "extends: base", f"extends: {json.dumps(name)}"
    )
    line = next(number for number, line in enumerate(GOOD.splitlines(), 1) if line.startswith(f"  {key}:"))
    found = [item for item in problems(folder, text) if "cannot be a name" in item]
    assert [item.partition(": ")[0] for item in found] == [f"scenarios.yaml:{line}"]


@pytest.mark.parametrize("name", ["évening peak", "a.b-c_d", "5", "x" * 200])
def test_other_names_are_taken(folder: Path, name: str) -> None:
    text = GOOD.replace("  broken:", f"  {json.dumps(name)}:").replace("broken]", f"{json.dumps(name)}]")
    assert name in load_scenarios(write(folder, text)).scenarios


@pytest.mark.parametrize(
    ("old", "new", "key", "why"),
    [
        ("{python} -m shop {port}", "serve 'x {port}", "service.command", "cannot be split"),
        ("{python} -m shop {port}", "serve {port} {prot}", "service.command", "stand for nothing"),
        ("{python} -m shop {port}", "serve {port} {", "service.command", "stand for nothing"),
        (
            "expect: healthy",
            'expect: healthy\n    service: { arguments: "\'x" }',
            "scenarios.base.service.arguments",
            "be split",
        ),
        (
            "expect: healthy",
            "expect: healthy\n    service: { partner: 'x {no}' }",
            "scenarios.base.service.partner",
            "nothing",
        ),
        (
            "expect: healthy",
            "expect: healthy\n    service: { environment: { A_PASSWORD: 'x{hush}' } }",
            "scenarios.base.service.environment.A_PASSWORD",
            "stand for nothing",
        ),
    ],
)
def test_a_command_that_cannot_be_started_is_reported_before_anything_starts(
    folder: Path, old: str, new: str, key: str, why: str
) -> None:
    [problem] = problems(folder, GOOD.replace(old, new, 1))
    assert re.match(rf"scenarios\.yaml:\d+: {re.escape(key)}: ", problem)
    assert why in problem
    assert "hush" not in problem


def test_the_line_that_is_no_utf_8_is_named(folder: Path) -> None:
    path = write(folder, GOOD)
    path.write_bytes(path.read_bytes().replace(b"  base:", b"  # caf\xe9\n  base:"))
    with pytest.raises(UsageError, match=r"scenarios\.yaml:11: cannot be read: byte 0xe9 is no UTF-8"):
        load_scenarios(path)
