"""A drill's run directory: judged from what it holds; lost rows and a broken locustfile are no proof."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rushhour.cli.main import _exit_of
from rushhour.jobs.drill.facts import Drill
from rushhour.jobs.drill.judging import judge_drill, render_drill
from rushhour.jobs.drill.page import markdown
from rushhour.rundir import History, Recorder, RunDir
from rushhour.rundir import facts as f
from tests.unit import histories
from tests.unit.saved_runs import ENVIRONMENT
from tests.unit.test_drill_judge import AFTER, BEFORE, ROLLOUT, sample, story
from tests.unit.test_run_losses import (
    MUTATIONS,
    Mutation,
    cut,
    empty,
    mutate,
    twice,
    with_a_hole,
    without_first_half,
)

FILES = (
    *("requests.jsonl", "generator.jsonl", "pool.jsonl", "host.jsonl", "events.jsonl"),
    "services.jsonl",
)
ENDED_S = 40.0


def drill_at(path: Path, history: History | None = None, after: tuple[f.ServiceState, ...] = AFTER) -> RunDir:
    """A drill's directory, as its recorder writes it."""
    run = RunDir(path)
    path.mkdir()
    recorder = Recorder(run)
    recorder.write_json("scenario.json", histories.scenario())
    recorder.write_json("environment.json", ENVIRONMENT)
    told = history or story()
    for facts in (told.requests, told.pool_timeouts, told.pools, told.host, told.events):
        recorder.write(facts)
    recorder.write([f.GeneratorSample(t_s, "local", 40, 11, 0, 1.0, 1.0, 0.2) for t_s in range(40)])
    recorder.write([f.ServiceSeen(19.0, "before", state) for state in BEFORE])
    recorder.write([f.ServiceSeen(39.0, "after", state) for state in after])
    recorder.write(
        [
            f.Event(0.0, f.DRILL, {"target": "referrals", "by": "update", "hotfix": "1.1.1"}),
            f.Event(0.0, f.LOAD_STARTED),
            f.Event(ROLLOUT.ended_s, f.ROLLOUT, dataclasses.asdict(ROLLOUT)),
            f.Event(ENDED_S, f.DRILL_ENDED),
            f.Event(ENDED_S, f.LOAD_ENDED),
            f.Event(ENDED_S + 1, f.RUN_ENDED),
        ]
    )
    recorder.close()
    return run


@pytest.fixture
def cured(tmp_path: Path) -> RunDir:
    return drill_at(tmp_path / "drill")


def verify(run: RunDir, capsys: pytest.CaptureFixture[str]) -> tuple[int, set[str]]:
    """The exit code, and the files that lost something."""
    capsys.readouterr()
    code = _exit_of(["verify", "--json", str(run.path)])
    [check] = json.loads(capsys.readouterr().out)
    return code, {finding["file"] for finding in check["findings"]}


def test_a_whole_drill_is_proven_from_its_directory(
    cured: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    drill = judge_drill(cured)
    assert (drill.outcome, drill.reasons, drill.lost) == ("proven", (), ())
    assert (drill.target, drill.hotfix, drill.stack) == ("referrals", "1.1.1", "embedded")
    assert verify(cured, capsys) == (0, set())
    assert _exit_of(["judge", str(cured.path)]) == 0
    assert not cured.file("verdict.json").exists()  # it is judged as the drill that it is
    before = cured.file("drill.json").read_text(encoding="utf-8")
    assert _exit_of(["report", str(cured.path)]) == 0
    assert cured.file("drill.json").read_text(encoding="utf-8") == before
    assert render_drill(cured) == [cured.file(name) for name in ("report.html", "summary.md", "junit.xml")]


@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize("name", FILES)
def test_a_drill_that_lost_rows_is_not_proven(
    name: str, mutation: Mutation, cured: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    judge_drill(cured)
    mutate(cured, name, mutation)
    drill = judge_drill(cured)
    assert drill.outcome == "unknown"
    assert any(reason.startswith(f"{name}: ") for reason in drill.reasons), drill.reasons
    code, lost = verify(cured, capsys)
    assert code == 2
    assert name in lost
    assert _exit_of(["judge", str(cured.path)]) == 2


@pytest.mark.parametrize("name", [*FILES, "environment.json"])
def test_a_drill_without_one_of_its_files_is_not_proven(name: str, cured: RunDir) -> None:
    judge_drill(cured)
    cured.file(name).unlink()
    assert judge_drill(cured).outcome == "unknown"


def test_a_drill_with_another_scenario_is_not_proven(cured: RunDir) -> None:
    text = cured.file("scenario.json").read_text(encoding="utf-8")
    cured.file("scenario.json").write_text(text.replace('"1.1"', '"1.0"'), encoding="utf-8")
    drill = judge_drill(cured)
    assert drill.outcome == "unknown"
    assert drill.reasons[0].startswith("scenario.json: ")


def leaks_to_the_end() -> History:
    return dataclasses.replace(story(), pools=(*story().pools, sample(39.9, 5)))


def errors_to_the_end() -> History:
    late = dataclasses.replace(story().requests[-2], t_s=38)  # a pool time-out
    assert late.outcome is f.Outcome.QUEUEPOOL_TIMEOUT
    return dataclasses.replace(story(), requests=(*story().requests, late))


@pytest.mark.parametrize("name", ["host.jsonl", "requests.jsonl", "pool.jsonl", "generator.jsonl"])
def test_a_service_that_was_restarted_stays_a_failure(name: str, tmp_path: Path) -> None:
    moved = dataclasses.replace(AFTER[1].instances[0], started_at="later")
    after = (AFTER[0], dataclasses.replace(AFTER[1], instances=(moved,)), AFTER[2])
    run = drill_at(tmp_path / "drill", after=after)
    mutate(run, name, cut)
    drill = judge_drill(run)
    assert drill.outcome == "not proven"
    assert drill.reasons[0].startswith("accounts was restarted: started at")


@pytest.mark.parametrize(
    ("history", "name"), [(leaks_to_the_end, "pool.jsonl"), (errors_to_the_end, "requests.jsonl")]
)
def test_what_was_seen_at_the_end_stays_a_failure(
    history: Callable[[], History], name: str, tmp_path: Path
) -> None:
    run = drill_at(tmp_path / "drill", history())
    mutate(run, name, without_first_half)
    assert judge_drill(run).outcome == "not proven"
    mutate(run, name, twice)  # and rows that nobody wrote prove nothing
    assert judge_drill(run).outcome == "unknown"


def test_a_failure_that_rests_on_lost_rows_is_unknown(cured: RunDir) -> None:
    """Without the last rows the service seems to hang, and a sibling seems to be gone."""
    mutate(cured, "requests.jsonl", lambda lines: [line for line in lines if '"t_s":3' not in line])
    drill = judge_drill(cured)
    assert drill.outcome == "unknown"
    assert any(
        reason.startswith("not proven, since rows were lost: No request ended") for reason in drill.reasons
    )
    mutate(cured, "services.jsonl", lambda lines: lines[:-1])
    assert any("rows were lost: search was restarted: is gone" in item for item in judge_drill(cured).reasons)


@pytest.mark.parametrize("mutation", [cut, with_a_hole, empty])
@pytest.mark.parametrize(
    ("name", "figure"),
    [
        ("requests.jsonl", "command to HTTP 5xx at zero"),
        ("pool.jsonl", "command to pool drained"),
        ("host.jsonl", "replica CPU before and after"),
    ],
)
def test_a_figure_that_rests_on_lost_rows_is_unknown(
    name: str, figure: str, mutation: Mutation, cured: RunDir
) -> None:
    mutate(cured, name, mutation)
    assert f"| {figure} | unknown |" in markdown(judge_drill(cured))


def raising(count: int) -> History:
    detail = {"worker": "local", "error": "KeyError", "message": "'id'", "where": "c.py:12", "count": count}
    return dataclasses.replace(story(), events=(f.Event(5.0, f.LOCUSTFILE_ERROR, detail),))


def test_a_locustfile_that_raises_proves_nothing(tmp_path: Path) -> None:
    drill = judge_drill(drill_at(tmp_path / "drill", raising(3)))
    assert drill.outcome == "not proven"
    [reason] = drill.reasons
    assert reason.startswith("locustfile_errors == 0 does not hold: ")
    assert reason.endswith("; the locustfile raised KeyError: 'id' at c.py:12 (3 times)")


def test_a_broken_stack_an_interrupt_and_a_kill_are_unknown(tmp_path: Path) -> None:
    def ended(name: str, **detail: object) -> Drill:
        run = RunDir(tmp_path / f"{name}{len(detail)}")
        run.path.mkdir()
        recorder = Recorder(run)
        recorder.write_json("scenario.json", histories.scenario())
        recorder.event(f.DRILL, target="referrals", by="update", hotfix="1.1.1")
        recorder.event(name, **detail)
        recorder.close()
        return judge_drill(run)

    broke = ended(f.STACK_BROKE, what="the primary died", log_tail=["FATAL: no"])
    assert (broke.outcome, broke.reasons) == ("unknown", ("the primary died", "| FATAL: no"))
    assert ended(f.INTERRUPTED).reasons == ("It was interrupted",)
    assert ended(f.STACK_UP).reasons == ("It was cut short: no run_ended event",)


def test_a_drill_of_before_is_judged_by_what_its_drill_json_holds(cured: RunDir) -> None:
    judge_drill(cured)
    cured.file("services.jsonl").unlink()
    new = (f.DRILL, f.ROLLOUT, f.DRILL_ENDED)
    mutate(cured, "events.jsonl", lambda rows: [r for r in rows if json.loads(r)["name"] not in new])
    shutil.rmtree(cured.path / "manifest")
    mutate(cured, "events.jsonl", lambda rows: [row.replace(',"manifest":true', "") for row in rows])
    drill = judge_drill(cured)
    assert (drill.outcome, drill.reasons) == ("proven", ())
    assert drill.rollout == ROLLOUT
    assert [state.name for state in drill.before] == [state.name for state in BEFORE]


def test_a_broken_roll_out_is_named_with_its_run(cured: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    mutate(
        cured, "events.jsonl", lambda rows: [row.replace('"began_s":20.0', '"began_s":"x"') for row in rows]
    )
    assert _exit_of(["judge", str(cured.path)]) == 64
    said = " ".join(capsys.readouterr().err.split())
    assert "drill: events.jsonl: not a roll-out: began_s: Input should be a valid number" in said


@pytest.mark.parametrize("content", [b"\x00\xff\n", b"null\n", b"{}\n", b'{"t_s":1e15}\n', b"[" * 100_000])
@pytest.mark.parametrize("command", ["judge", "report", "verify"])
def test_a_damaged_drill_is_reported_in_words(
    command: str, content: bytes, cured: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    judge_drill(cured)
    cured.file("services.jsonl").write_bytes(content)
    code = _exit_of([command, str(cured.path)])
    said = capsys.readouterr()
    assert code in (2, 64) or (command == "report" and code == 0)
    assert "services.jsonl" in said.out + said.err + cured.file("summary.md").read_text(encoding="utf-8")
