"""What commands print for programs and into pipes: one JSON array, or lines that nothing wraps or cuts."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import RenderableType

from rushhour.cli.console import console
from rushhour.cli.main import _exit_of, cli
from rushhour.jobs.check.result import CheckResult
from rushhour.jobs.check.summary import check_summary
from rushhour.jobs.drill.page import terminal as terminal_drill
from rushhour.jobs.drill.side_by_side import side_by_side
from rushhour.jobs.traffic.lines import COLOURS
from rushhour.report.lists import title
from rushhour.rundir import RunDir
from tests.unit import histories as h
from tests.unit.saved_runs import save
from tests.unit.test_check import LEAK, LIST
from tests.unit.test_drill_judge import drilled

LONG = (
    "a-scenario-whose-name-is-longer-than-the-eighty-columns-that-a-terminal-has-when-nobody-says-otherwise"
)


@pytest.fixture
def runs(tmp_path: Path) -> list[RunDir]:
    """Two saved runs in a folder of runs, both of a scenario with a long name."""
    folder = tmp_path / "a folder of runs with a name of its own, which is not short either" / "runs"
    scenario = h.scenario(release="1.1.1", name=LONG)
    made = []
    for stamp, history in (("20250701T020013Z", h.healthy()), ("20250702T020013Z", h.incident())):
        made.append(save(folder / f"{stamp}-{LONG}", history, scenario))
    return made


def calls(runs: list[RunDir]) -> dict[str, list[str]]:
    """A call of each command that reads saved runs, scenarios or the machine."""
    first, second = (str(run.path) for run in runs)
    return {
        "verify": [first, second],
        "compare": [first, second],
        "history": ["--runs", str(runs[0].path.parent)],
        "alarms": [first, second],
        "list": [],
        "doctor": [],
    }


def said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, list[dict[str, Any]]]:
    code = _exit_of(arguments)
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, list)
    assert all(isinstance(item, dict) for item in found)
    return int(code), found


@pytest.mark.parametrize("name", ["verify", "compare", "history", "alarms", "list"])
def test_json_is_one_array_of_objects_with_the_same_exit_code(
    name: str, runs: list[RunDir], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [name, *calls(runs)[name]]
    plain = int(_exit_of(arguments))
    capsys.readouterr()
    code, found = said([*arguments, "--json"], capsys)
    assert code == plain
    assert found


def test_json_of_the_doctor_has_an_object_for_each_finding() -> None:
    found = json.loads(piped(["doctor", "--json"]))
    assert {"Python", "cores", "PostgreSQL"} <= {item["what"] for item in found}
    assert all(set(item) == {"what", "ok", "found", "advice"} for item in found)


def test_json_of_a_comparison_holds_every_row(runs: list[RunDir], capsys: pytest.CaptureFixture[str]) -> None:
    code, [found] = said(["compare", *calls(runs)["compare"], "--json"], capsys)
    assert (code, found["outcome"], found["error"]) == (1, "worse", None)
    assert {"metric", "endpoint", "before", "after", "judgement", "low", "high"} <= set(found["changes"][0])
    assert found["headline"].startswith("worse: ")


def test_json_of_the_history_names_each_run(runs: list[RunDir], capsys: pytest.CaptureFixture[str]) -> None:
    _, found = said(["history", *calls(runs)["history"], "--json"], capsys)
    assert [item["run"] for item in found] == [run.path.name for run in runs]


def test_json_of_alarms_names_each_run_and_policy(
    runs: list[RunDir], capsys: pytest.CaptureFixture[str]
) -> None:
    _, found = said(["alarms", *calls(runs)["alarms"], "--json"], capsys)
    assert [item["run"] for item in found] == calls(runs)["alarms"]
    assert all(item["policies"] for item in found)


@pytest.mark.parametrize("name", ["verify", "alarms", "compare"])
def test_a_run_that_cannot_be_read_is_an_object_with_its_error(
    name: str, runs: list[RunDir], capsys: pytest.CaptureFixture[str]
) -> None:
    runs[1].file("scenario.json").unlink()
    code, found = said([name, *calls(runs)[name], "--json"], capsys)
    assert code in (1, 2, 64)
    assert "scenario.json" in found[-1]["error"]


@pytest.mark.parametrize("option", [[], ["--json"], ["--rebuild"]])
def test_a_history_of_no_folder_is_refused_and_makes_none(
    option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "TYPO"
    assert _exit_of(["history", "--runs", str(missing), *option]) == 64
    told = capsys.readouterr()
    assert str(missing) in told.err
    assert not told.out
    assert not missing.exists()


SEPARATOR = "---- the next command ----"
CALL_EACH = f"""
import json, sys
from rushhour.cli.main import _exit_of, cli
for arguments in json.loads(sys.argv[1]):
    _exit_of(arguments)
    print({SEPARATOR!r}, flush=True)
"""


def all_piped(commands: list[list[str]], **environment: str) -> list[str]:
    """Return what each command prints into a pipe; all run in one process, because its start is slow."""
    done = subprocess.run(
        [sys.executable, "-c", CALL_EACH, json.dumps(commands)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | environment,
    )
    assert "Traceback" not in done.stderr
    printed = done.stdout.split(f"{SEPARATOR}\n")
    assert len(printed) == len(commands) + 1
    return printed[:-1]


def piped(arguments: list[str], **environment: str) -> str:
    """Return what a command prints into a pipe."""
    return all_piped([arguments], **environment)[0]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        pytest.param({"COLUMNS": "80"}, marks=pytest.mark.long),
        pytest.param({"FORCE_COLOR": "1", "COLUMNS": "60"}, marks=pytest.mark.long),
    ],
)
def test_nothing_is_wrapped_in_a_pipe(environment: dict[str, str], runs: list[RunDir]) -> None:
    commands = calls(runs) | {"judge": [str(run.path) for run in runs]}
    *printed, judged = all_piped([[name, *words] for name, words in commands.items()], **environment)
    for name, text in zip(commands, printed, strict=False):
        lines = text.splitlines()
        assert lines
        assert not [line for line in lines if line.endswith(" ")]
        if name in ("compare", "history"):
            assert all(any(run.path.name in line for line in lines) for run in runs), name
        assert "…" not in "".join(lines)
    lines = COLOURS.sub("", judged).splitlines()
    for run in runs:
        assert any(str(run.path / "report.html") in line for line in lines)
    table = lines[max(at for at, line in enumerate(lines) if line.startswith("scenario")) :]
    assert [line.split()[0] for line in table[1:3]] == [LONG, LONG]
    assert sum(LONG in line and "release" in line for line in lines) >= len(runs)  # their headlines


FOLDER = Path("/a folder of runs") / ("x" * 120)


@pytest.mark.parametrize(
    "shown",
    [
        check_summary(
            CheckResult((LIST,), (replace(LEAK, endpoint=f"GET /{LONG}"),), (LONG,), 30), h.scenario(), FOLDER
        ),
        terminal_drill(drilled(), FOLDER / LONG),
        side_by_side([replace(drilled(), hotfix=LONG, rollout=None), drilled("rollback")]),
        title(h.scenario(name=LONG), 1, 2),
    ],
    ids=["check", "drill", "drills side by side", "title of a run"],
)
def test_what_a_run_a_check_or_a_drill_prints_is_not_wrapped_in_a_pipe(shown: RenderableType) -> None:
    with console.capture() as captured:
        console.print(shown)
    assert LONG in captured.get()
    assert not [line for line in captured.get().splitlines() if line.endswith(" ")]


def test_a_terminal_is_still_filled_to_its_width_and_no_further(runs: list[RunDir]) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        process = subprocess.Popen(
            [sys.executable, "-m", "rushhour", *("history", "--runs", str(runs[0].path.parent))],
            stdout=theirs,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"COLUMNS": "90", "TERM": "xterm", "NO_COLOR": "1"},
        )
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # EIO: the other end is closed
            while part := screen.read(65536):
                shown += part
        assert process.wait(60) == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()
    table = lines[next(at for at, line in enumerate(lines) if line.startswith("start (UTC)")) :]
    assert 85 < max(map(len, table)) <= 90


def test_a_long_name_of_a_policy_stays_whole_in_a_pipe(runs: list[RunDir], tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    shutil.copytree("infra/alerts", policies)
    for path in policies.glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("infra-5xx-again", LONG), encoding="utf-8")
    assert any(LONG in path.read_text(encoding="utf-8") for path in policies.glob("*.yaml"))
    lines = piped(["alarms", str(runs[1].path), "--policies", str(policies)]).splitlines()
    assert sum(line.startswith(LONG) for line in lines) >= 2  # in the table, and before its lane


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_output_that_was_closed_beforehand_is_not_wanted(closed: str, tmp_path: Path) -> None:
    """As with /dev/null, the exit code is that of the command; what it starts writes into no file of ours."""
    python = [sys.executable, "-m", "rushhour"]
    child = ["agent", "exec", "--json", str(tmp_path / "found.json"), "--", "sh", "-c", "echo words; exit 7"]
    for arguments, code in ((["--help"], 0), (["verify", str(tmp_path)], 64), (child, 7)):
        command = ["sh", "-c", f'exec "$@" {closed}', "sh", *python, *arguments]
        done = subprocess.run(command, capture_output=True, check=False)
        assert (done.returncode, b"Traceback" in done.stderr) == (code, False)
    assert json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))["exit_code"] == 7


def test_a_reader_that_is_gone_does_not_hide_that_a_command_was_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C in a terminal ends both sides of `rushhour run ... | tee log`."""

    def interrupted(**_: object) -> int:
        try:
            raise KeyboardInterrupt
        finally:
            raise BrokenPipeError

    monkeypatch.setattr(cli, "main", interrupted)
    assert _exit_of([]) == 130


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_nobody_takes_is_no_failure_of_a_run(
    unbuffered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    read, closed = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "rushhour"]
    with Path("/dev/full").open("wb") as full:
        no_reader = subprocess.run([*command, "doctor"], stdout=closed, stderr=subprocess.PIPE, check=False)
        no_help = subprocess.run([*command, "--help"], stdout=closed, stderr=subprocess.PIPE, check=False)
        no_room = subprocess.run([*command, "doctor"], stdout=full, stderr=subprocess.PIPE, check=False)
        no_words = subprocess.run([*command, "verify", str(tmp_path)], stderr=full, check=False)
        child = ["agent", "exec", "--", "sh", "-c", "exit 7"]
        no_findings = subprocess.run([*command, *child], stderr=full, check=False)
        no_listener = subprocess.run([*command, *child], stderr=closed, check=False)
    os.close(closed)

    assert (no_reader.returncode, no_room.returncode, no_words.returncode) == (2, 2, 64)
    assert (no_findings.returncode, no_listener.returncode) == (7, 7)
    assert b"a pipe was closed at its other end" in no_reader.stderr
    assert (no_help.returncode, no_help.stderr) == (2, no_reader.stderr)
    assert b"No space left on device" in no_room.stderr
