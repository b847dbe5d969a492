"""Files that are written whole, and notifications, are noticed when they change or go."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rushhour.cli.main import _exit_of
from rushhour.rundir import FactWriter, Recorder, RunDir, load_history
from rushhour.rundir import facts as f
from rushhour.rundir.encoding import encode
from tests.unit import histories as h
from tests.unit.saved_runs import ENVIRONMENT, save
from tests.unit.test_run_losses import MUTATIONS, Mutation, judged, mutate


@pytest.fixture
def recorded(tmp_path: Path) -> RunDir:
    """Healthy, with real pages, and every file in the manifest as the harness's recorder keeps it."""
    run = RunDir(tmp_path / "recorded")
    run.path.mkdir()
    recorder = Recorder(run)
    recorder.write_json("scenario.json", h.scenario(release="1.1.1"))
    recorder.write_json("environment.json", ENVIRONMENT)
    history = h.healthy()
    for facts in (history.requests, history.generator, history.pools, history.servers, history.host):
        recorder.write(facts)
    recorder.write(history.events)
    recorder.write(history.processes)
    # The pager appends to it, in its container.
    told = [
        encode(f.Notification("2026-01-01T00:00:00Z", float(at), "p", "firing", {}, ())) for at in range(6)
    ]
    run.notifications.write_text("".join(f"{line}\n" for line in told), encoding="utf-8")
    recorder.close()
    return run


def rewritten(text: str) -> str:
    return text.replace('"1.1.1"', '"1.1"').replace('"embedded"', '"compose"')


def reformatted(text: str) -> str:
    return text + "\n"


def test_a_recorded_run_is_whole(recorded: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    assert load_history(recorded).losses == ()
    assert judged(recorded).verdict == "pass"
    assert _exit_of(["verify", str(recorded.path)]) == 0


@pytest.mark.parametrize("change", [rewritten, reformatted])
@pytest.mark.parametrize("name", ["scenario.json", "environment.json"])
def test_a_file_that_was_written_whole_and_changed_later_is_noticed(
    name: str, change: Callable[[str], str], recorded: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded.file(name).write_text(change(recorded.file(name).read_text(encoding="utf-8")), encoding="utf-8")
    verdict = judged(recorded)
    assert verdict.verdict == "unknown"
    assert verdict.reasons[0].startswith(f"{name}: is not as it was written")
    assert _exit_of(["verify", "--json", str(recorded.path)]) == 2
    [check] = json.loads(capsys.readouterr().out)
    assert [finding["file"] for finding in check["findings"]] == [name]


def test_an_environment_that_is_gone_is_noticed(recorded: RunDir) -> None:
    recorded.file("environment.json").unlink()
    verdict = judged(recorded)
    assert verdict.verdict == "unknown"
    assert verdict.reasons[0].startswith("environment.json: is gone, and was written; on it rests where")


def test_a_scenario_that_is_gone_is_no_run(recorded: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    recorded.file("scenario.json").unlink()
    assert _exit_of(["verify", str(recorded.path)]) == 64
    assert "no scenario.json" in capsys.readouterr().out


def test_leaks_stay_a_failure_without_an_environment(tmp_path: Path) -> None:
    run = save(tmp_path / "leaking", h.incident(), h.scenario(), listed=True)
    run.file("environment.json").unlink()
    assert judged(run).verdict == "fail"


def test_a_changed_scenario_proves_no_failure(tmp_path: Path) -> None:
    run = save(tmp_path / "leaking", h.incident(), h.scenario(), listed=True)
    text = run.file("scenario.json").read_text(encoding="utf-8")
    run.file("scenario.json").write_text(reformatted(text), encoding="utf-8")
    assert judged(run).verdict == "unknown"


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_lost_notifications_are_noticed(
    mutation: Mutation, recorded: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    mutate(recorded, "notifications.jsonl", mutation)
    assert _exit_of(["verify", "--json", str(recorded.path)]) == 2
    [check] = json.loads(capsys.readouterr().out)
    assert {(finding["file"], finding["rests_on"]) for finding in check["findings"]} == {
        ("notifications.jsonl", "who was paged")
    }
    verdict = judged(recorded)
    assert verdict.verdict == "pass"  # it rests on no page
    assert any(note.startswith("notifications.jsonl: ") for note in verdict.notes)


def test_notifications_of_a_run_that_had_none_are_noticed(recorded: RunDir) -> None:
    lines = recorded.notifications.read_text(encoding="utf-8")
    recorded.notifications.unlink()
    for path in (recorded.path / "manifest").iterdir():
        content = json.loads(path.read_text(encoding="utf-8"))
        content["files"].pop("notifications.jsonl", None)
        path.write_text(json.dumps(content), encoding="utf-8")
    recorded.notifications.write_text(lines, encoding="utf-8")
    losses = {loss.file: loss for loss in load_history(recorded).losses}
    assert losses["notifications.jsonl"].what == "6 rows that no manifest names"


def test_a_manifest_of_before_says_nothing_of_whole_files_and_notifications(recorded: RunDir) -> None:
    for path in (recorded.path / "manifest").iterdir():
        content = json.loads(path.read_text(encoding="utf-8"))
        del content["whole"]
        content["files"].pop("notifications.jsonl", None)
        path.write_text(json.dumps(content), encoding="utf-8")
    recorded.file("environment.json").unlink()
    assert load_history(recorded).losses == ()
    assert judged(recorded).verdict == "pass"


def test_a_file_that_was_written_twice_is_as_it_was_written_last(tmp_path: Path) -> None:
    writer = FactWriter(RunDir(tmp_path))
    writer.write([f.Event(0.0, "one")])
    writer.write_json("environment.json", {"stack": "embedded"})
    writer.write_json("environment.json", ENVIRONMENT)
    writer.close()
    assert load_history(RunDir(tmp_path)).losses == ()


def test_an_environment_that_no_writer_wrote_is_noticed(tmp_path: Path) -> None:
    run = save(tmp_path / "run", h.healthy(), h.scenario(release="1.1.1"), None, listed=True)
    assert judged(run).verdict == "pass"
    run.write_json("environment.json", ENVIRONMENT)
    assert judged(run).reasons[0].startswith("environment.json: is there, and no manifest names it")


@pytest.mark.parametrize("name", ["../../secret", "/etc/hostname", "a\0b", "verdict.json"])
def test_a_manifest_leads_to_no_other_file(name: str, recorded: RunDir) -> None:
    for path in (recorded.path / "manifest").iterdir():
        content = json.loads(path.read_text(encoding="utf-8"))
        content["whole"][name] = "0" * 32
        path.write_text(json.dumps(content), encoding="utf-8")
    assert load_history(recorded).losses == ()
