"""The nightly job with `expect_capacity`: the run's verdict and that of the search decide its exit code."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from rushhour.cli import run_commands
from rushhour.cli.main import main
from rushhour.errors import RunDataError, StackError, UnavailableError
from rushhour.jobs.capacity.facts import Knee, Outcome, Search, Step
from rushhour.jobs.capacity.search import Plan, knee_of
from rushhour.jobs.capacity.words import judged
from rushhour.jobs.nightly.night import read_night
from rushhour.rundir import RunDir
from rushhour.scenario.model import Scenario
from rushhour.verdict.judge import Verdict, judge
from tests.unit import histories
from tests.unit.saved_runs import save

SCENARIOS = """
service:
  { name: shop, command: "gunicorn --bind {host}:{port}", health: /health, releases: ["1.1", "1.1.1"] }
scenarios:
  candidate:
    load: { users: 800, duration: 75s, locustfile: own.py }
    expect: healthy
    thresholds: [queuepool_timeouts == 0, http_5xx == 0]
    expect_capacity: ">= 60/s"
suites:
  nightly: [candidate]
"""
Steps = list[tuple[float, Outcome]]
HOLDS: Steps = [(20.0, "holds"), (60.0, "holds"), (60.0, "holds"), (66.0, "gives"), (66.0, "gives")]
GIVES: Steps = [(20.0, "holds"), (54.0, "holds"), (54.0, "holds"), (60.0, "gives"), (60.0, "gives")]
NEAR: Steps = [(57.0, "holds"), (57.0, "holds"), (63.0, "gives"), (63.0, "gives")]
ONCE: Steps = [(20.0, "holds"), (66.0, "holds")]  # and the time is over
LEAKS: Steps = [(5.0, "leaks")]


class Nightly:
    """Runs the nightly job on a run and a search that are known beforehand."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        (folder / "scenarios.yaml").write_text(SCENARIOS)
        (folder / "own.py").touch()
        self.steps: Steps = []
        self.verdict = "pass"
        self.interrupted = False
        self.error: Exception | None = None  # that ends the search
        monkeypatch.chdir(folder)
        for name, stands_for in (
            ("check_locustfiles", lambda *_: None),
            ("open_for", lambda *_: None),
            ("stack_of", lambda *_, **__: None),
            ("run_one", self._run_one),
            ("find_capacity", self._find_capacity),
        ):
            monkeypatch.setattr(run_commands, name, stands_for)

    def exit_code(self) -> int:
        with pytest.raises(SystemExit) as ended:
            main(["nightly", "--runs", "runs", "--release", "1.1.1"])
        return int(ended.value.code or 0)

    def _run_one(self, scenario: Scenario, _: object, context: Any) -> tuple[RunDir, Verdict]:
        history = histories.healthy()
        run = save(context.runs / "20250102T030000Z-candidate", history, scenario)
        verdict = judge(scenario, history, "embedded")
        return run, dataclasses.replace(verdict, verdict=self.verdict)  # type: ignore[arg-type]

    def _find_capacity(self, scenarios: list[Scenario], *_: object, **__: object) -> tuple[Path, list[Any]]:
        [scenario] = scenarios
        if self.error is not None:
            raise self.error
        steps = tuple(Step(rate, outcome, "x", ("a reason",)) for rate, outcome in self.steps)
        ended = "the time was over" if self.steps == ONCE else ""
        knee = knee_of(steps, Plan(), ended=ended) if steps else Knee("unknown", why="no step said anything")
        found = Search(scenario.name, "1.1.1", "embedded", steps, knee, 1.0, 10.0, 20.0)
        found = dataclasses.replace(found, interrupted=self.interrupted)
        return self.folder / "capacity.html", [(found, *judged(found, scenario.expect_capacity))]


@pytest.fixture
def nightly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nightly:
    return Nightly(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("run", "steps", "code"),
    [
        ("pass", HOLDS, 0),
        ("pass", GIVES, 1),
        ("pass", LEAKS, 1),
        ("pass", NEAR, 2),
        ("pass", ONCE, 2),
        ("pass", [], 2),
        ("fail", HOLDS, 1),
        ("fail", NEAR, 1),
        ("unknown", HOLDS, 2),
        ("unknown", GIVES, 1),
    ],
)
def test_the_worse_of_the_run_and_the_search_is_the_exit_code(
    nightly: Nightly,
    run: str,
    steps: Steps,
    code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    nightly.verdict, nightly.steps = run, steps
    assert nightly.exit_code() == code, capsys.readouterr()
    [row] = read_night(nightly.folder / "runs" / "nightly" / "latest").runs
    assert row.verdict == {0: "pass", 1: "fail", 2: "unknown"}[code]


def test_an_interrupted_search_interrupts_the_night(nightly: Nightly) -> None:
    nightly.steps, nightly.interrupted = HOLDS, True
    assert nightly.exit_code() == 130


@pytest.mark.parametrize(
    "error",
    [
        StackError("the replica did not come up within 30 s", ["FATAL: no space"]),
        UnavailableError("the replica did not come up within 30 s"),
        RunDataError("the replica did not come up within 30 s"),
        OSError(28, "the replica did not come up within 30 s"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize(("run", "code"), [("pass", 2), ("fail", 1)])
def test_a_search_that_cannot_be_made_leaves_its_run_in_the_night_and_is_unknown(
    nightly: Nightly, run: str, code: int, error: Exception
) -> None:
    nightly.verdict, nightly.error = run, error
    assert nightly.exit_code() == code
    night = read_night(nightly.folder / "runs" / "nightly" / "latest")
    [row] = night.runs
    assert night.complete
    assert not night.good
    assert row.verdict == {1: "fail", 2: "unknown"}[code]
    why = "expect_capacity >= 60/s is undecided: "
    summary = (nightly.folder / "runs" / "nightly" / "latest" / "summary.md").read_text(encoding="utf-8")
    if code == 2:
        assert row.headline.startswith(f"candidate (release 1.1.1): {why}")
        assert "the replica did not come up within 30 s" in row.headline
        assert "the replica did not come up within 30 s" in summary
    junit = (nightly.folder / "runs" / "nightly" / "latest" / "junit.xml").read_text(encoding="utf-8")
    assert "the replica did not come up within 30 s" in junit
