"""Annotations for CI servers: which lines they name, and what each format makes of them."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from rushhour.cli.main import _exit_of
from rushhour.errors import StackError, UsageError
from rushhour.jobs.annotate.annotation import Annotation, Fact, Outcome, Spot, annotation, fingerprints
from rushhour.jobs.annotate.collect import Annotations
from rushhour.jobs.annotate.comment import comment
from rushhour.jobs.annotate.formats import Formats, formats_of
from rushhour.jobs.annotate.github import workflow_commands
from rushhour.jobs.annotate.gitlab import code_quality
from rushhour.jobs.annotate.of_findings import of_findings, outcome_of
from rushhour.jobs.annotate.of_runs import of_check, of_drill, of_run
from rushhour.jobs.annotate.repository import Repository
from rushhour.jobs.annotate.rules import HELD_LONG, NOT_MET, NOT_RETURNED, TIMED_OUT, UNKNOWN, rule
from rushhour.jobs.annotate.sarif import sarif
from rushhour.jobs.check.result import Answer, CheckResult, Request
from rushhour.jobs.drill.page import headline as drill_headline
from rushhour.run import RunContext
from rushhour.rundir import History, RunDir
from rushhour.rundir import facts as f
from rushhour.scenario.model import CAUSES, Scenario
from rushhour.verdict.judge import Verdict, judge
from tests.unit import histories as h
from tests.unit.saved_runs import save
from tests.unit.test_attach_findings import OUT, SEEN, fed, sample
from tests.unit.test_check import LEAK, LIST
from tests.unit.test_drill_judge import drilled

ROOT = Path(__file__).parents[2]
SITE = f.CallSite("shop/views.py", 2, "report")
HEALTHY = h.scenario(release="1.1")
NAMES = (
    "shop/views.py",
    "a, b/c:d.py",
    "zwei\nzeilen.py",
    "änderung/größe.py",
    "100%/x y.py",
    "back\\slash.py",
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with a service in a folder of its own, and an environment below it."""
    top = tmp_path / "repository"
    for file in (*NAMES, "short.py", ".venv/lib/python3.13/site-packages/lib/pool.py", "notes.txt"):
        path = top / "service" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("import shop\n" + ("    session = Session()  # leak\n" * (file != "short.py")))
    (top / ".git").mkdir()
    return top


def lines_in(top: Path | None, environment: dict[str, str] | None = None) -> Repository:
    return Repository(top / "service" if top else None, top or Path("/"), environment or {})


def error(**changes: Any) -> Annotation:
    found = annotation(
        "error",
        "unclosed-path",
        "gate (release 1.1): unclosed-path",
        ["30 of 30 connections leaked", "fix: close it"],
        Spot("app/referrals.py", 27, "list_referrals", "session = Session()"),
        ["gate", "replica", "GET /customers/:id"],
        [Fact("leaked", "30", "of 30")],
    )
    return replace(found, **changes)


# Lines


@pytest.mark.parametrize("name", NAMES)
def test_a_line_has_its_name_from_the_root_of_the_repository_on(name: str, checkout: Path) -> None:
    spot = lines_in(checkout).spot(f.CallSite(name, 2, "report"))
    assert spot == Spot(f"service/{name}", 2, "report", "session = Session()  # leak")


def test_a_path_as_windows_writes_it_is_found(checkout: Path) -> None:
    spot = lines_in(checkout).spot(replace(SITE, file="shop\\views.py"))
    assert spot is not None
    assert spot.file == "service/shop/views.py"


@pytest.mark.parametrize(
    "file",
    [
        "C:\\shop\\views.py",
        "/usr/lib/python3/x.py",
        "../../outside.py",
        "missing.py",
        "notes.txt",
        "lib/pool.py",  # as an installed package's line is named
        ".venv/lib/python3.13/site-packages/lib/pool.py",
        "a\0b.py",
        "<unknown>",
        "x" * 5000 + ".py",
    ],
)
def test_a_line_outside_of_the_repository_has_no_name(file: str, checkout: Path) -> None:
    (checkout.parent / "outside.py").write_text("import shop\n\n")
    assert lines_in(checkout).spot(f.CallSite(file, 1, "report")) is None


def test_a_line_of_an_installed_package_becomes_that_of_its_nearest_caller(checkout: Path) -> None:
    stack = ("lib/pool.py:2 connect", "not a frame", "shop/views.py:2 report", "short.py:1 main")
    spot = lines_in(checkout).spot(f.CallSite("lib/pool.py", 2, "connect"), stack)
    assert spot is not None
    assert (spot.file, spot.function) == ("service/shop/views.py", "report")


def test_a_line_that_the_file_no_longer_has_is_left_out(checkout: Path) -> None:
    assert lines_in(checkout).spot(f.CallSite("short.py", 9, "main")) == Spot(
        "service/short.py", None, "main"
    )


def test_a_link_out_of_the_repository_is_not_followed(checkout: Path) -> None:
    outside = checkout.parent / "outside.py"
    outside.write_text("import shop\n")
    (checkout / "service" / "link.py").symlink_to(outside)
    assert lines_in(checkout).spot(f.CallSite("link.py", 1, "main")) is None


def test_without_a_folder_of_the_service_no_line_is_named() -> None:
    assert lines_in(None).spot(SITE) is None


def test_the_checkout_of_the_ci_server_comes_before_a_submodule_in_it(checkout: Path) -> None:
    (checkout / "service" / ".git").write_text("gitdir: ../.git/modules/service\n")
    within = Repository(checkout / "service", checkout / "service", {})
    above = Repository(checkout / "service", checkout / "service", {"GITHUB_WORKSPACE": str(checkout)})
    assert [item.spot(SITE) and item.spot(SITE).file for item in (within, above)] == [  # type: ignore[union-attr]
        "shop/views.py",
        "service/shop/views.py",
    ]


@pytest.mark.parametrize("variable", ["GITHUB_WORKSPACE", "CI_PROJECT_DIR"])
def test_without_git_the_folder_of_the_ci_server_is_the_root(variable: str, checkout: Path) -> None:
    (checkout / ".git").rmdir()
    found = Repository(checkout / "service", checkout / "service", {variable: str(checkout)}).spot(SITE)
    assert found is not None
    assert found.file == "service/shop/views.py"


# Runs


def judged(history: History, scenario: Scenario = HEALTHY) -> list[Annotation]:
    lines = Repository(ROOT, ROOT, {})
    return of_run(scenario, judge(scenario, history, "embedded"), lines, lambda _: ())


def test_a_pass_annotates_nothing() -> None:
    assert judged(h.healthy()) == []


def test_a_failed_run_is_an_error_at_the_line_of_its_cause() -> None:
    (found,) = judged(h.incident())
    assert (found.level, found.rule) == ("error", "scope-never-removed")
    assert found.spot is not None
    assert (found.spot.file, found.spot.line) == ("app/referrals.py", 88)
    assert found.title == "gate (release 1.1): scope-never-removed"
    assert "queuepool_timeouts == 0 does not hold: 15" in found.message.splitlines()
    assert any(line.startswith("fix: ") for line in found.message.splitlines())
    assert found.evidence


def test_a_failed_run_without_a_cause_names_no_line() -> None:
    strict = h.scenario(release="1.1", thresholds=("p95 < 1ms",))
    (found,) = judged(h.healthy(), strict)
    assert (found.level, found.rule, found.spot) == ("error", NOT_MET, None)
    assert "p95 < 1ms" in found.message


def test_a_tripwire_that_did_not_trip_blames_no_line() -> None:
    (found,) = judged(h.healthy(), h.scenario(release="1.1", expect="exhausted"))
    assert (found.level, found.rule, found.spot) == ("error", NOT_MET, None)


def test_an_unknown_run_is_a_warning_without_a_line() -> None:
    history = h.cut_short(h.incident(), 30.0)
    verdict = judge(HEALTHY, history, "embedded")
    assert verdict.verdict == "unknown"
    (found,) = judged(history)
    assert (found.level, found.rule, found.spot) == ("warning", UNKNOWN, None)
    assert verdict.reasons[0] in found.message


def test_a_line_outside_of_the_repository_becomes_that_of_its_caller_in_a_run(checkout: Path) -> None:
    verdict = judge(HEALTHY, h.incident(), "embedded")
    callers = ("app/referrals.py:88 list_referrals", "shop/views.py:2 report")
    (found,) = of_run(HEALTHY, verdict, lines_in(checkout), lambda _: callers)
    assert found.spot is not None
    assert found.spot.file == "service/shop/views.py"
    assert "app/referrals.py:88" in found.message


def test_drills_annotate_by_their_outcome() -> None:
    proven = drilled()
    found = {
        outcome: of_drill(replace(proven, outcome=outcome), drill_headline(proven))
        for outcome in ("proven", "not proven", "unknown")
    }
    assert found["proven"] == []
    assert [(item.level, item.rule) for item in found["not proven"]] == [("error", NOT_MET)]
    assert [(item.level, item.rule) for item in found["unknown"]] == [("warning", UNKNOWN)]


# Checks, and commands with the agent


def test_a_check_annotates_each_line_once_and_its_doubts(checkout: Path) -> None:
    leak = replace(LEAK, site=SITE, stack=("shop/views.py:2 report",))
    other = replace(leak, id=3, pool="primary")
    bad = Answer(Request("GET", "/x"), 500, 5.0)
    result = CheckResult((LIST, bad), (leak, replace(leak, id=2), other), ("GET /new",), 30)
    found = of_check(HEALTHY, result, lines_in(checkout))
    assert [(item.level, item.rule, item.spot and item.spot.line) for item in found] == [
        ("error", NOT_RETURNED, 2),
        ("error", NOT_RETURNED, 2),
        ("warning", UNKNOWN, None),
    ]
    assert "2 connections of pool replica did not come back" in found[0].message
    assert found[2].message.splitlines() == [*result.doubts]
    assert of_check(HEALTHY, CheckResult((LIST,), (), (), 30), lines_in(checkout)) == []


def test_a_command_with_the_agent_annotates_leaks_long_holds_and_time_outs(checkout: Path) -> None:
    site = f.CallSite("lib/pool.py", 2, "connect")
    leak = replace(
        OUT,
        t_s=2.0,
        request_ended_s=1.2,
        site=site,
        stack=("lib/pool.py:2 connect", "shop/views.py:2 report"),
    )
    long = replace(OUT, id=2, t_s=20.0, site=SITE, returned_s=20.0, returned_by="close")
    timeout = f.PoolTimeout(
        t_s=3.0, pid=7, pool="shop.db", waited_s=1.0, site=SITE, endpoint="GET /report/:year"
    )
    findings = fed(SEEN, leak, long, timeout, sample(20.0))
    found = of_findings(findings, lines_in(checkout))
    assert {(item.level, item.rule) for item in found} == {
        ("error", NOT_RETURNED),
        ("warning", HELD_LONG),
        ("error", TIMED_OUT),
    }
    assert {item.spot.file for item in found if item.spot} == {"service/shop/views.py"}
    assert outcome_of("python", findings).verdict == "fail"


@pytest.mark.parametrize("facts", [(), (SEEN,), (SEEN, f.AgentFault(1.0, 7, "sampling", "OSError"))])
def test_a_command_of_which_nothing_was_seen_is_unknown(facts: tuple[f.PoolFact, ...]) -> None:
    findings = fed(*facts)
    found = of_findings(findings, lines_in(None))
    assert found
    assert {(item.level, item.rule) for item in found} == {("warning", UNKNOWN)}
    assert outcome_of("python", findings).verdict == "unknown"


def test_a_command_whose_connections_all_came_back_annotates_nothing() -> None:
    findings = fed(SEEN, sample(4.0))
    assert of_findings(findings, lines_in(None)) == []
    assert outcome_of("python", findings).verdict == "pass"


# Formats


def test_a_workflow_command() -> None:
    assert workflow_commands([error()]) == [
        (
            "::error file=app/referrals.py,line=27,title=gate (release 1.1)%3A unclosed-path"
            "::30 of 30 connections leaked%0Afix: close it"
        )
    ]


def unescaped(command: str) -> tuple[str, dict[str, str], str]:
    """Parse a command as GitHub's runner does."""
    _, head, data = command.split("::", 2)
    level, _, pairs = head.partition(" ")
    properties = dict(pair.split("=", 1) for pair in pairs.split(","))
    return level, {key: unquote(value) for key, value in properties.items()}, unquote(data)


@pytest.mark.parametrize("text", ["a, b: c", "50% of\nall\r", "::stop-commands::x", "ä → ü", "%0A", "a=b"])
def test_no_text_escapes_from_a_workflow_command(text: str) -> None:
    spot = Spot(f"{text}.py", None)
    (command,) = workflow_commands([error(title=text, message=text, spot=spot)])
    assert "\n" not in command
    assert "\r" not in command
    assert unescaped(command) == ("error", {"file": f"{text}.py", "title": text}, text)


def test_a_finding_without_a_line_is_a_workflow_command_without_a_file() -> None:
    (command,) = workflow_commands([error(level="warning", spot=None)])
    assert command.startswith("::warning title=")


def test_fingerprints_stay_when_the_line_moves_and_differ_within_a_report() -> None:
    moved = error(spot=Spot("app/referrals.py", 99, "list_referrals"), message="29 leaked")
    assert fingerprints([error()]) == fingerprints([moved])
    others = [
        error(),
        error(),
        error(rule="saturation"),
        error(spot=None),
        error(spot=Spot("app/other.py", 27, "list_referrals")),
        error(about=("rush-hour", "replica", "GET /customers/:id")),
    ]
    assert len({*fingerprints(others)}) == len(others)


def test_gitlab_gets_all_that_its_format_demands() -> None:
    scenario = Spot("scenarios.yaml", 40)
    found = [error(), error(level="warning", spot=None), error(spot=None), error(spot=Spot("short.py", None))]
    rows = json.loads(code_quality(found, [None, scenario, None, None]))
    assert [row["location"] for row in rows] == [
        {"path": "app/referrals.py", "lines": {"begin": 27}},
        {"path": "scenarios.yaml", "lines": {"begin": 40}},
        {"path": ".", "lines": {"begin": 1}},
        {"path": "short.py", "lines": {"begin": 1}},
    ]
    assert [row["severity"] for row in rows] == ["critical", "minor", "critical", "critical"]
    assert {"description", "check_name", "fingerprint"} <= {*rows[0]}
    assert json.loads(code_quality([], [])) == []


def validated(text: str) -> dict[str, Any]:
    """Validate a log by the published schema, and return its run."""
    jsonschema = import_module("jsonschema")  # comes with check-jsonschema; has no types
    schema = json.loads((Path(__file__).parent / "schemas" / "sarif-2.1.0.json").read_text(encoding="utf-8"))
    log = json.loads(text)
    jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker()).validate(log)
    run: dict[str, Any] = log["runs"][0]
    return run


def test_sarif_is_valid_by_the_published_schema() -> None:
    found = [
        error(),
        error(),
        error(rule=UNKNOWN, level="warning", spot=None),
        *(error(rule=cause) for cause in CAUSES if cause != "none"),
        *(error(spot=Spot(name, 1)) for name in NAMES),
        error(spot=Spot("short.py", None)),
    ]
    run = validated(sarif(found, [None] * len(found)))
    first = run["results"][0]
    assert first["ruleId"] == run["tool"]["driver"]["rules"][first["ruleIndex"]]["id"] == "unclosed-path"
    (location,) = first["locations"]
    assert location["physicalLocation"]["region"]["startLine"] == 27
    assert first["properties"]["evidence"] == [{"name": "leaked", "value": "30", "meaning": "of 30"}]
    assert run["results"][2]["locations"] == []
    uris = [
        result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        for result in run["results"][-len(NAMES) - 1 : -1]
    ]
    assert [unquote(uri) for uri in uris] == [*NAMES]
    assert all(uri.isascii() and not {*uri} & {*" \n\\:,"} for uri in uris)
    assert validated(sarif([], []))["results"] == []


def test_the_schema_can_refuse() -> None:
    jsonschema = import_module("jsonschema")
    with pytest.raises(jsonschema.ValidationError):
        validated(sarif([error(level="fatal")], [None]))


@pytest.mark.parametrize(
    "name",
    [*(cause for cause in CAUSES if cause != "none"), NOT_MET, UNKNOWN, NOT_RETURNED, HELD_LONG, TIMED_OUT],
)
def test_each_rule_has_a_sentence_and_a_page_of_help(name: str) -> None:
    found = rule(name)
    assert found.summary.endswith(".")
    assert len(found.page) > len(found.summary) + 80


def test_a_comment_is_short_and_shows_text_as_it_is() -> None:
    outcomes = [
        Outcome("gate (release 1.1)", "fail", "30 of 30 leaked | <b>x</b> @someone"),
        Outcome("soak", "unknown", "cut short"),
        Outcome("smoke", "pass", "healthy"),
    ]
    text = comment(outcomes, [error(spot=Spot("a|b`c.py", 3))] * 40)
    assert "### ❌ rushhour: 1 failed, 1 unknown, 1 as expected" in text
    assert "leaked \\| &lt;b&gt;x&lt;/b&gt; &#64;someone" in text
    assert "<code>a&#124;b`c.py:3</code>" in text
    assert "20 more findings are in the reports." in text
    long = comment(outcomes * 20, [error(message="\n".join(["x" * 5000] * 50))] * 400)
    assert len(long) < 65_536


def test_a_comment_of_a_pass_has_no_table() -> None:
    text = comment([Outcome("smoke", "pass", "healthy")], [])
    assert text.splitlines()[1:] == ["### ✅ rushhour: 1 as expected", "", "- ✅ as expected: smoke"]


def test_secrets_and_control_characters_stay_out() -> None:
    found = annotation(
        "error", NOT_MET, "a\x1b[31m\nb", ["to postgresql://shop:hush@db/x", "password=hush"], None, []
    )
    assert "hush" not in found.message
    assert "\x1b" not in found.title
    assert "\n" not in found.title


# What is asked for


@pytest.mark.parametrize(
    ("asked", "environment", "formats"),
    [
        ((), {}, Formats()),
        ((), {"GITHUB_ACTIONS": "false", "GITLAB_CI": "", "CI": "true"}, Formats()),
        ((), {"GITHUB_ACTIONS": "true"}, Formats(github=True)),
        ((), {"GITLAB_CI": "true"}, Formats(gitlab=Path("gl-code-quality-report.json"))),
        (("none",), {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": "s"}, Formats()),
        (("sarif",), {"GITHUB_ACTIONS": "true"}, Formats(sarif=Path("rushhour.sarif"))),
        (("github,sarif",), {}, Formats(github=True, sarif=Path("rushhour.sarif"))),
        (("sarif=a,b.sarif",), {}, Formats(sarif=Path("a,b.sarif"))),
        (("github",), {"GITHUB_STEP_SUMMARY": "s"}, Formats(github=True, step_summary=Path("s"))),
        (
            ("github", "gitlab=a=b.json", "sarif"),
            {},
            Formats(github=True, gitlab=Path("a=b.json"), sarif=Path("rushhour.sarif")),
        ),
    ],
)
def test_formats_are_as_asked_else_as_the_ci_server_takes_them(
    asked: tuple[str, ...], environment: dict[str, str], formats: Formats
) -> None:
    assert formats_of(asked, None, environment) == formats


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (("sarfi",), "unknown format 'sarfi'; known: github, gitlab, sarif, none"),
        (("github", "github"), "github is given twice"),
        (("github,",), "unknown format ''"),
        (("none", "github"), "annotations are off"),
        (("github=x",), "github writes no file"),
        (("sarif=",), "write sarif=FILE"),
        (("sarif=/no/such/folder/x",), "there is no folder /no/such/folder"),
        (("gitlab=/",), "is a folder"),
    ],
)
def test_a_wrong_format_says_what_is_right(asked: tuple[str, ...], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        formats_of(asked, None, {})


def collecting(formats: Formats) -> tuple[Annotations, list[str], list[str]]:
    lines, warnings = list[str](), list[str]()
    return Annotations(formats, lines.append, warnings.append), lines, warnings


def test_a_command_that_breaks_is_a_warning_beside_what_it_found() -> None:
    annotations, lines, _ = collecting(Formats(github=True))

    def run() -> None:
        with annotations.written_at_end("rushhour run"):
            annotations.add(Outcome("gate", "fail", "30 leaked"), [error()])
            raise StackError("the primary did not start")

    with pytest.raises(StackError):
        run()
    assert [line.partition(" ")[0] for line in lines] == ["::error", "::warning"]
    assert "the primary did not start" in lines[1]


def test_wrong_usage_leaves_no_annotation() -> None:
    annotations, lines, _ = collecting(Formats(github=True))
    with pytest.raises(UsageError), annotations.written_at_end("rushhour run"):
        raise UsageError(["no scenario named"])
    assert lines == []


def test_a_file_that_cannot_be_written_is_said_and_changes_nothing_else(tmp_path: Path) -> None:
    annotations, lines, warnings = collecting(Formats(github=True, sarif=tmp_path))
    with annotations.written_at_end("rushhour run"):
        annotations.add(Outcome("gate", "fail", "30 leaked"), [error()])
    assert len(lines) == len(warnings) == 1
    assert str(tmp_path) in warnings[0]


# Whole commands


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, Path]:
    made: dict[str, Callable[[], History]] = {
        "pass": h.healthy,
        "fail": h.incident,
        "unknown": lambda: h.cut_short(h.incident(), 30.0),
    }
    return {
        name: save(tmp_path / "runs" / f"20250702T02001{number}Z-gate", history(), HEALTHY).path
        for number, (name, history) in enumerate(made.items())
    }


@pytest.mark.parametrize(
    ("names", "code"), [(["pass"], 0), (["pass", "fail", "unknown"], 1), (["unknown"], 2)]
)
def test_judge_annotates_and_ends_as_without(
    names: list[str], code: int, runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(runs[name]) for name in names]
    source = ["--source", str(ROOT)]
    assert _exit_of(["judge", *paths, *source]) == code
    without = capsys.readouterr().out
    files = {name: tmp_path / name for name in ("gl.json", "r.sarif", "comment.md")}
    options = ["--annotate", "github", "--annotate", f"gitlab={files['gl.json']}"]
    options += ["--annotate", f"sarif={files['r.sarif']}", "--comment", str(files["comment.md"])]
    assert _exit_of(["judge", *paths, *options, *source]) == code
    out = capsys.readouterr().out
    commands = [line for line in out.splitlines() if line.startswith("::")]
    levels = [command.partition(" ")[0] for command in commands]
    assert levels == [{"fail": "::error", "unknown": "::warning"}[name] for name in names if name != "pass"]
    assert [line for line in out.splitlines() if line not in commands] == without.splitlines()
    assert len(json.loads(files["gl.json"].read_text())) == len(commands)
    assert len(validated(files["r.sarif"].read_text())["results"]) == len(commands)
    assert files["comment.md"].read_text(encoding="utf-8").startswith("<!-- rushhour -->\n### ")
    if "fail" in names:
        assert commands[names.index("fail") - 1].startswith(
            "::error file=app/referrals.py,line=88,title=gate "
        )


def test_a_run_that_cannot_be_read_is_a_warning(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _exit_of(["judge", str(runs["pass"]), str(tmp_path / "none"), "--annotate", "github"]) == 64
    commands = [line for line in capsys.readouterr().out.splitlines() if line.startswith("::")]
    assert len(commands) == 1
    assert commands[0].startswith("::warning title=none%3A unknown::")


def test_github_actions_annotates_by_itself_and_adds_to_the_page_of_the_step(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    _exit_of(["judge", str(runs["fail"])])
    assert "\n::error " in capsys.readouterr().out
    assert summary.read_text(encoding="utf-8").startswith(
        "before\n<!-- rushhour -->\n### ❌ rushhour: 1 failed"
    )
    _exit_of(["judge", str(runs["fail"]), "--annotate", "none"])
    assert "::error " not in capsys.readouterr().out


def test_a_finding_without_a_line_stands_at_its_scenario_for_formats_that_need_a_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_scenario_file = import_module("rushhour.cli.annotated_runs").in_scenario_file
    monkeypatch.chdir(ROOT)
    spot = in_scenario_file(Path("scenarios.yaml"))(error(about=("rush-hour",)))
    lines = (ROOT / "scenarios.yaml").read_text(encoding="utf-8").splitlines()
    assert spot is not None
    assert spot.file == "scenarios.yaml"
    assert lines[spot.line - 1].strip() == "rush-hour:"
    assert in_scenario_file(tmp_path / "gone.yaml")(error()) is None
    assert os.environ.get("GITHUB_ACTIONS") is None


@pytest.mark.parametrize("command", [["run", "gate"], ["check"], ["nightly"]], ids=lambda command: command[0])
def test_a_stack_that_does_not_start_is_a_warning(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)

    def open_for(*_: object) -> None:
        raise StackError("no container engine answers")

    commands = import_module("rushhour.cli.run_commands")
    monkeypatch.setattr(commands, "open_for", open_for)
    monkeypatch.setattr(commands, "check_locustfiles", lambda _: None)
    assert _exit_of([*command, "--runs", str(tmp_path), "--annotate", "github"]) == 2
    (found,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("::")]
    assert found.startswith(f"::warning title=rushhour {command[0]}%3A unknown::")
    assert "no container engine answers" in found


@pytest.mark.parametrize(
    ("command", "failed"),
    [
        (["run", "gate", "rush-hour"], ["gate (release 1.1.1)"]),
        (["nightly"], ["gate (release 1.1.1)", "rush-hour-hotfix (release 1.1.1)"]),
    ],
    ids=["run", "nightly"],
)
def test_each_failed_run_of_a_suite_is_annotated(
    command: list[str],
    failed: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With runs that are not made here: each is the incident, which only some scenarios expect."""
    commands = import_module("rushhour.cli.run_commands")

    def run_one(scenario: Scenario, _stack: object, context: RunContext) -> tuple[RunDir, Verdict]:
        run = save(context.runs / f"20250702T020013Z-{scenario.name}", h.incident(), scenario)
        return run, judge(scenario, h.incident(), "embedded")

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(commands, "run_one", run_one)
    monkeypatch.setattr(commands, "open_for", lambda *_: None)
    monkeypatch.setattr(commands, "check_locustfiles", lambda _: None)
    assert _exit_of([*command, "--runs", str(tmp_path), "--annotate", "github"]) == 1
    found = [line for line in capsys.readouterr().out.splitlines() if line.startswith("::")]
    titles = [unescaped(line)[1]["title"].partition(": ")[0] for line in found]
    assert titles[: len(failed)] == failed
    assert all(unescaped(line)[1].get("file") in ("app/referrals.py", None) for line in found)
    assert unescaped(found[0])[1]["file"] == "app/referrals.py"
