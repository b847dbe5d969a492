"""Commands write annotations: in the formats that are asked for, and beside their own exit code."""

import json
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from rushhour.cli.main import _exit_of
from rushhour.errors import StackError, UsageError
from rushhour.jobs.annotate.annotation import Outcome
from rushhour.jobs.annotate.collect import Annotations
from rushhour.jobs.annotate.formats import Formats, formats_of
from rushhour.run import RunContext
from rushhour.rundir import History, RunDir
from rushhour.scenario.model import Scenario
from rushhour.verdict.judge import Verdict, judge
from tests.unit import histories as h
from tests.unit.annotated import HEALTHY, ROOT, error, unescaped, validated
from tests.unit.saved_runs import save


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
    monkeypatch.setattr(commands, "check_locustfiles", lambda *_: None)
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
    monkeypatch.setattr(commands, "check_locustfiles", lambda *_: None)
    assert _exit_of([*command, "--runs", str(tmp_path), "--annotate", "github"]) == 1
    found = [line for line in capsys.readouterr().out.splitlines() if line.startswith("::")]
    titles = [unescaped(line)[1]["title"].partition(": ")[0] for line in found]
    assert titles[: len(failed)] == failed
    assert all(unescaped(line)[1].get("file") in ("app/referrals.py", None) for line in found)
    assert unescaped(found[0])[1]["file"] == "app/referrals.py"
