"""Run directories that lost rows, or hold too many: they never pass, and a proven failure stays one."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rushhour.cli.main import _exit_of
from rushhour.jobs.compare import compare_runs, read_measured
from rushhour.jobs.size.reading import refusals
from rushhour.judging.judge import read_scenario
from rushhour.metrics.measure import measure
from rushhour.rundir import FactWriter, RunDir, load_history
from rushhour.rundir import facts as f
from rushhour.rundir.encoding import encode
from rushhour.rundir.manifest import Rows, read_manifests
from rushhour.verdict.judge import Verdict, judge
from tests.unit import histories as h
from tests.unit.saved_runs import ENVIRONMENT, save

FACTS = ("requests.jsonl", "generator.jsonl", "pool.jsonl", "postgres.jsonl", "host.jsonl", "events.jsonl")


def cut(lines: list[str]) -> list[str]:
    return lines[: len(lines) // 2]


def without_first_half(lines: list[str]) -> list[str]:
    return lines[len(lines) // 2 :]


def with_a_hole(lines: list[str]) -> list[str]:
    third = len(lines) // 3
    return lines[:third] + lines[2 * third :]


def twice(lines: list[str]) -> list[str]:
    return lines + lines


def without_every_fifth(lines: list[str]) -> list[str]:
    return [line for at, line in enumerate(lines) if at % 5]


def empty(lines: list[str]) -> list[str]:
    return lines[:0]


MUTATIONS = (cut, without_first_half, with_a_hole, twice, without_every_fifth, empty)
Mutation = Callable[[list[str]], list[str]]


def mutate(run: RunDir, name: str, mutation: Mutation) -> None:
    lines = run.file(name).read_text(encoding="utf-8").splitlines(keepends=True)
    run.file(name).write_text("".join(mutation(lines)), encoding="utf-8")


def judged(run: RunDir) -> Verdict:
    return judge(read_scenario(run), load_history(run), "embedded")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two saved runs, which the tests copy before they change them."""
    folder = tmp_path_factory.mktemp("saved")
    save(folder / "healthy", h.healthy(), h.scenario(release="1.1.1"))
    save(folder / "leaking", h.incident(), h.scenario())
    return folder


@pytest.fixture
def healthy(saved: Path, tmp_path: Path) -> RunDir:
    return RunDir(shutil.copytree(saved / "healthy", tmp_path / "healthy"))


@pytest.fixture
def leaking(saved: Path, tmp_path: Path) -> RunDir:
    return RunDir(shutil.copytree(saved / "leaking", tmp_path / "leaking"))


def test_a_whole_run_loses_nothing(healthy: RunDir, leaking: RunDir) -> None:
    assert load_history(healthy).losses == ()
    assert judged(healthy).verdict == "pass"
    assert judged(leaking).verdict == "fail"


@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize("name", FACTS)
def test_a_run_that_lost_rows_does_not_pass(name: str, mutation: Mutation, healthy: RunDir) -> None:
    mutate(healthy, name, mutation)
    verdict = judged(healthy)
    assert verdict.verdict == "unknown"
    assert any(reason.startswith(f"{name}: ") for reason in verdict.reasons)


@pytest.mark.parametrize("name", FACTS)
def test_a_run_without_one_of_its_files_does_not_pass(name: str, healthy: RunDir) -> None:
    healthy.file(name).unlink()
    assert judged(healthy).verdict == "unknown"


@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize("name", ["requests.jsonl", "generator.jsonl", "postgres.jsonl", "host.jsonl"])
def test_leaks_that_were_seen_stay_a_failure(name: str, mutation: Mutation, leaking: RunDir) -> None:
    mutate(leaking, name, mutation)
    verdict = judged(leaking)
    assert verdict.verdict == "fail"
    assert any(reason.startswith("leaked_connections") for reason in verdict.reasons)


@pytest.mark.parametrize("mutation", [cut, without_first_half, with_a_hole, twice])
def test_a_rate_of_some_of_the_requests_proves_no_failure(mutation: Mutation, leaking: RunDir) -> None:
    mutate(leaking, "requests.jsonl", mutation)
    rate = next(
        threshold for threshold in judged(leaking).thresholds if threshold.expr.startswith("http_5xx_rate")
    )
    assert rate.ok is None


def test_a_changed_row_is_noticed(healthy: RunDir) -> None:
    mutate(healthy, "requests.jsonl", lambda lines: [lines[0].replace('"t_s":', '"t_s": '), *lines[1:]])
    assert "not those that were written" in judged(healthy).reasons[0]


def test_a_loss_names_rows_lines_and_seconds(healthy: RunDir) -> None:
    mutate(healthy, "requests.jsonl", cut)
    [loss] = load_history(healthy).losses
    rows = len(h.healthy().requests)
    assert loss.file == "requests.jsonl"
    assert loss.lines == (rows // 2 + 1, rows)
    assert loss.from_s is not None
    assert loss.to_s == h.healthy().requests[-1].t_s
    assert f"{rows // 2:,} of the {rows:,} rows" in loss.what


def test_a_run_that_lost_its_manifests_is_unknown(healthy: RunDir) -> None:
    anchor = '{"t_s":0.0,"name":"anchor","detail":{"wall_s":0.0,"monotonic_s":0.0,"manifest":true}}\n'
    events = healthy.file("events.jsonl")
    events.write_text(anchor + events.read_text(encoding="utf-8"), encoding="utf-8")
    shutil.rmtree(healthy.path / "manifest")
    assert "every manifest is gone" in judged(healthy).reasons[0]


def forged(run: RunDir, name: str, keep: Mutation, **totals: int) -> None:
    """Take rows out of a file and out of its entry in the manifest, which then names those that are left."""
    mutate(run, name, keep)
    [path] = (run.path / "manifest").iterdir()
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = Rows()
    for line in run.file(name).read_bytes().splitlines():
        rows.add(line, json.loads(line)["t_s"])
    content["files"].pop(name)
    if rows.rows:
        content["files"][name] = dataclasses.asdict(rows)
    path.write_text(json.dumps(content | totals), encoding="utf-8")


@pytest.mark.parametrize("keep", [cut, without_first_half, with_a_hole, without_every_fifth, empty])
@pytest.mark.parametrize("name", ["requests.jsonl", "generator.jsonl"])
def test_rows_that_are_gone_from_a_file_and_its_manifest_are_noticed(
    name: str, keep: Mutation, healthy: RunDir
) -> None:
    forged(healthy, name, keep)
    assert any(loss.file == name for loss in load_history(healthy).losses)
    assert judged(healthy).verdict == "unknown"


def test_the_generators_own_count_is_a_witness_of_requests_that_no_manifest_names(healthy: RunDir) -> None:
    forged(healthy, "requests.jsonl", cut, requests=0)
    [loss] = load_history(healthy).losses
    assert f"the generator sent {sum(row.started for row in h.healthy().generator):,}" in loss.what


@pytest.mark.parametrize("name", ["host.jsonl", "pool.jsonl", "postgres.jsonl"])
def test_an_observer_that_is_gone_from_the_manifest_too_leaves_a_gap(name: str, healthy: RunDir) -> None:
    forged(healthy, name, empty)
    assert judged(healthy).verdict == "unknown"


@pytest.mark.parametrize("name", ["requests.jsonl", "pool.jsonl", "generator.jsonl", "events.jsonl"])
def test_nothing_is_predicted_from_a_failing_run_that_lost_rows(
    name: str, leaking: RunDir, healthy: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    mutate(leaking, name, without_every_fifth)
    assert _exit_of(["forecast", str(leaking.path), "--customers", "900"]) == 2
    assert f"{name}: " in " ".join(capsys.readouterr().err.split())
    mutate(healthy, name, without_every_fifth)
    history, scenario = load_history(healthy), read_scenario(healthy)
    failed = dataclasses.replace(judge(scenario, history, "embedded"), verdict="fail")
    [why] = refusals(scenario, history, failed, measure(scenario, history))
    assert why.startswith(f"{name}: ")


def manifests(run: RunDir) -> set[Path]:
    return set((run.path / "manifest").iterdir())


def test_a_worker_that_is_gone_with_its_rows_and_its_manifest_is_missed(tmp_path: Path) -> None:
    told, run = (
        h.healthy(),
        save(tmp_path / "run", dataclasses.replace(h.healthy(), requests=(), generator=())),
    )
    for worker in ("worker-1", "worker-2"):
        before = manifests(run)
        writer = FactWriter(run)
        writer.write(
            dataclasses.replace(row, worker=worker, users=row.users // 2, started=row.started // 2)
            for row in told.generator
        )
        writer.write(dataclasses.replace(row, worker=worker, count=row.count // 2) for row in told.requests)
        writer.close()
    assert load_history(run).losses == ()
    [last] = manifests(run) - before
    last.unlink()
    assert {loss.file for loss in load_history(run).losses} == {"requests.jsonl", "generator.jsonl"}
    for name in ("requests.jsonl", "generator.jsonl"):
        mutate(run, name, lambda lines: [line for line in lines if "worker-2" not in line])
    assert load_history(run).losses == ()
    assert judged(run).verdict == "unknown"
    assert "only 400 of 800 customers ever came" in judged(run).reasons


@pytest.mark.parametrize("name", [*FACTS, "scenario.json", "environment.json", "manifest"])
def test_a_file_of_another_run_is_noticed(name: str, tmp_path: Path) -> None:
    own = save(tmp_path / "own", h.healthy(), h.scenario(release="1.1.1"), listed=True)
    other_environment = dataclasses.replace(ENVIRONMENT, cpu_count=4)
    other = save(tmp_path / "other", h.incident(), h.scenario(), other_environment, listed=True)
    mutate(other, "host.jsonl", lambda lines: lines[:-1])
    if name == "manifest":
        shutil.rmtree(own.path / name)
        shutil.copytree(other.path / name, own.path / name)
    else:
        shutil.copy(other.file(name), own.file(name))
    assert judged(own).verdict == "unknown"
    assert load_history(own).losses


def test_a_death_that_nobody_wrote_is_no_failure_and_one_beside_lost_rows_is(tmp_path: Path) -> None:
    died = f.Event(
        40.0, f.STACK_BROKE, {"what": "the service ended", "part": "service", "how": "exit code 9"}
    )
    forged_run = save(tmp_path / "forged", h.healthy(), h.scenario(release="1.1.1"))
    mutate(forged_run, "events.jsonl", lambda lines: [*lines, encode(died) + "\n"])
    assert judged(forged_run).verdict == "unknown"
    with_death = dataclasses.replace(h.healthy(), events=(*h.healthy().events, died))
    cut_run = save(tmp_path / "cut", with_death, h.scenario(release="1.1.1"))
    assert judged(cut_run).verdict == "fail"
    mutate(cut_run, "events.jsonl", lambda lines: [line for line in lines if '"drained"' not in line])
    mutate(cut_run, "requests.jsonl", cut)
    assert judged(cut_run).verdict == "fail"


def old(run: RunDir) -> RunDir:
    """As a run that was made before there were manifests."""
    shutil.rmtree(run.path / "manifest")
    mutate(run, "host.jsonl", lambda lines: sorted(lines, key=lambda line: json.loads(line)["t_s"]))
    return run


def test_an_old_run_is_judged_with_a_note_of_what_was_checked(healthy: RunDir) -> None:
    verdict = judged(old(healthy))
    assert verdict.verdict == "pass"
    assert "the run has no manifest" in verdict.notes[-1]


@pytest.mark.parametrize("name", ["requests.jsonl", "generator.jsonl", "host.jsonl"])
@pytest.mark.parametrize("mutation", [cut, without_first_half, with_a_hole, empty])
def test_an_old_run_that_lost_a_part_does_not_pass(name: str, mutation: Mutation, healthy: RunDir) -> None:
    mutate(old(healthy), name, mutation)
    assert judged(healthy).verdict == "unknown"


@pytest.mark.parametrize("name", ["requests.jsonl", "pool.jsonl"])
def test_an_old_run_whose_rows_stand_twice_does_not_pass(name: str, healthy: RunDir) -> None:
    mutate(old(healthy), name, twice)
    assert judged(healthy).verdict == "unknown"


def test_rows_beyond_the_load_of_an_old_run_are_noticed(healthy: RunDir) -> None:
    run = old(healthy)
    last = run.file("requests.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    t_s = h.healthy().requests[-1].t_s
    mutate(run, "requests.jsonl", lambda lines: [*lines, last.replace(f'"t_s":{t_s}', '"t_s":9000') + "\n"])
    verdict = judged(run)
    assert verdict.verdict == "unknown"
    assert any("1 rows from 9000 s to 9000 s" in reason for reason in verdict.reasons)


@pytest.mark.parametrize("name", ["pool.jsonl", "postgres.jsonl", "host.jsonl"])
@pytest.mark.parametrize("t_s", [9000.5, -9000.5])
def test_rows_of_another_time_in_an_old_run_are_noticed(name: str, t_s: float, healthy: RunDir) -> None:
    run = old(healthy)
    row = json.loads(run.file(name).read_text(encoding="utf-8").splitlines()[-1]) | {"t_s": t_s}
    mutate(run, name, lambda lines: [*lines, json.dumps(row) + "\n"])
    assert judged(run).verdict == "unknown"
    assert f"1 rows from {t_s} s to {t_s} s" in judged(run).reasons[0]


def test_a_killed_writers_rows_are_known_up_to_its_last_manifest(healthy: RunDir) -> None:
    [manifest] = (healthy.path / "manifest").iterdir()
    text = manifest.read_text(encoding="utf-8").replace('"closed": true', '"closed": false')
    manifest.write_text(text, encoding="utf-8")
    assert any("did not close its manifest" in reason for reason in judged(healthy).reasons)


@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize("name", FACTS)
def test_verify_names_the_file_that_lost_rows(
    name: str, mutation: Mutation, healthy: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _exit_of(["verify", str(healthy.path)]) == 0
    assert capsys.readouterr().out.startswith("WHOLE  ")
    mutate(healthy, name, mutation)
    assert _exit_of(["verify", "--json", str(healthy.path)]) == 2
    [check] = json.loads(capsys.readouterr().out)
    assert name in {finding["file"] for finding in check["findings"]}
    assert all(finding["rests_on"] for finding in check["findings"])


def test_verify_says_what_an_old_run_was_held_to(healthy: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_of(["verify", str(old(healthy).path)]) == 0
    assert "the run has no manifest" in capsys.readouterr().out


def test_verify_goes_on_after_a_run_that_cannot_be_read(
    tmp_path: Path, healthy: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _exit_of(["verify", "--json", str(tmp_path / "none"), str(healthy.path)]) == 64
    broken, whole = json.loads(capsys.readouterr().out)
    assert "no scenario.json" in broken["error"]
    assert whole["error"] is None
    assert whole["manifest"] is True
    mutate(healthy, "pool.jsonl", cut)
    assert _exit_of(["verify", str(tmp_path / "none"), str(healthy.path)]) == 2


@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize("name", ["requests.jsonl", "events.jsonl"])
def test_an_audit_of_lost_requests_is_unknown(
    name: str, mutation: Mutation, leaking: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    mutate(leaking, name, mutation)
    assert _exit_of(["alarms", str(leaking.path)]) == 2
    said = capsys.readouterr().out
    assert name in said or "no load started" in said


@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize(
    "name", ["requests.jsonl", "pool.jsonl", "generator.jsonl", "host.jsonl", "events.jsonl"]
)
@pytest.mark.parametrize("side", ["before", pytest.param("after", marks=pytest.mark.long)])
def test_a_comparison_with_lost_rows_is_unknown(
    side: str, name: str, mutation: Mutation, healthy: RunDir, leaking: RunDir
) -> None:
    mutate(healthy if side == "before" else leaking, name, mutation)
    result = compare_runs(read_measured(healthy), read_measured(leaking))
    assert result.outcome == "unknown"
    assert any(name in doubt for doubt in result.doubts) or name == "events.jsonl"


def test_a_comparison_does_not_believe_an_old_verdict(healthy: RunDir, leaking: RunDir) -> None:
    shutil.copy(healthy.file("verdict.json"), leaking.file("verdict.json"))
    result = compare_runs(read_measured(healthy), read_measured(leaking))
    assert result.outcome == "worse"
    assert result.after.verdict is not None
    assert result.after.verdict.observed == "exhausted"


def test_a_comparison_without_the_rows_of_the_pools_is_unknown(healthy: RunDir, tmp_path: Path) -> None:
    other = old(save(tmp_path / "other", h.healthy(), h.scenario(release="1.1.1")))
    other.file("pool.jsonl").unlink()
    assert compare_runs(read_measured(healthy), read_measured(other)).outcome == "unknown"


def test_a_writer_that_goes_on_after_it_was_closed_opens_its_manifest_again(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    writer = FactWriter(run)
    writer.write([f.Event(0.0, "one")])
    writer.close()
    writer.write([f.Event(1.0, "two")])
    [manifest] = read_manifests(run.path)
    assert not manifest.closed
    assert manifest.files["events.jsonl"].rows == 2
    writer.close()
    [manifest] = read_manifests(run.path)
    assert manifest.closed


def test_two_runs_in_the_files_of_one_are_noticed(tmp_path: Path) -> None:
    own = save(tmp_path / "own", h.healthy(), h.scenario(release="1.1.1"))
    other = save(tmp_path / "other", h.healthy(), h.scenario(release="1.1.1"))
    for name in FACTS:
        own.file(name).write_bytes(own.file(name).read_bytes() + other.file(name).read_bytes())
    for manifest in (other.path / "manifest").iterdir():
        shutil.copy(manifest, own.path / "manifest" / f"other-{manifest.name}")
    assert [loss.what for loss in load_history(own).losses if loss.file == "events.jsonl"] == [
        "holds load_started 2 times: the rows of several runs"
    ]
    assert judged(own).verdict == "unknown"


@pytest.mark.parametrize(("from_s", "to_s"), [(30, 33), (30, 45), (50, 1000)])
def test_seconds_that_are_gone_from_the_requests_and_from_the_generator_are_unknown_to_alarms_too(
    from_s: int, to_s: int, healthy: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    def keep(lines: list[str]) -> list[str]:
        return [line for line in lines if not from_s <= json.loads(line)["t_s"] < to_s]

    for name in ("requests.jsonl", "generator.jsonl"):
        mutate(healthy, name, keep)
    shutil.rmtree(healthy.path / "manifest")
    files = {loss.file for loss in load_history(healthy).losses}
    assert files == {"requests.jsonl", "generator.jsonl"}
    assert judged(healthy).verdict == "unknown"
    assert _exit_of(["alarms", str(healthy.path)]) == 2
    capsys.readouterr()


@pytest.mark.parametrize("name", FACTS)
def test_no_expected_cause_is_found_where_a_witness_lost_rows(name: str, tmp_path: Path) -> None:
    scenario = h.scenario(expect="exhausted", cause="scope-never-removed")
    run = save(tmp_path / "run", h.incident(), scenario)
    assert judged(run).verdict == "pass"

    mutate(run, name, cut)

    verdict = judged(run)
    assert verdict.verdict == "unknown"
    assert verdict.diagnosis.confidence == "possible"
    assert any(evidence.value == name for evidence in verdict.diagnosis.evidence)


@pytest.mark.parametrize("name", FACTS)
def test_a_failure_beside_lost_rows_has_no_certain_cause(name: str, leaking: RunDir) -> None:
    assert judged(leaking).diagnosis.confidence == "certain"

    mutate(leaking, name, cut)

    assert judged(leaking).diagnosis.confidence == "possible"
