"""Files that a stranger put in the way of the agent, the harness or a judge."""

import os
from pathlib import Path

import pytest

from rushhour.agent import own_files
from rushhour.agent.journal import Journal
from rushhour.judging.judge import judge_run
from rushhour.observe.pools import PoolWatcher
from rushhour.observe.tail import Tail
from tests.unit import histories
from tests.unit.saved_runs import save

TRAPS = ("link", "dangling link", "pipe", "hard link")


def _trap(kind: str, path: Path, victim: Path) -> None:
    victim.write_text("of the victim\n")
    if kind == "link":
        path.symlink_to(victim)
    elif kind == "dangling link":
        path.symlink_to(victim.with_name("not-there-yet"))
    elif kind == "hard link":
        path.hardlink_to(victim)
    else:
        os.mkfifo(path)


def _is_untouched(victim: Path) -> bool:
    return victim.read_text() == "of the victim\n" and not victim.with_name("not-there-yet").exists()


@pytest.mark.parametrize("kind", TRAPS)
def test_the_agent_writes_into_no_file_that_was_put_in_its_way(kind: str, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    folder = tmp_path / "agent"
    folder.mkdir()
    _trap(kind, folder / "7.jsonl", victim)
    with pytest.raises(OSError, match=r"left alone|symbolic links|No such device"):
        Journal(str(folder), 7)
    assert _is_untouched(victim)


@pytest.mark.parametrize("kind", TRAPS)
def test_the_agents_other_files_replace_what_was_put_in_their_way(kind: str, tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "pools.prom.tmp"
    _trap(kind, path, victim)
    os.close(own_files.open_new(str(path)))
    assert _is_untouched(victim)
    assert path.is_file()
    assert not path.is_symlink()


def test_a_process_goes_on_with_its_own_file_after_an_exec(tmp_path: Path) -> None:
    for text in ("a", "b"):
        journal = Journal(str(tmp_path), 7)
        journal.write([{"k": text}])
        journal.close()
    assert (tmp_path / "7.jsonl").read_text() == '{"k":"a"}\n{"k":"b"}\n'


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe"])
def test_nothing_is_read_through_a_link_or_from_a_pipe_in_a_folder_of_the_service(
    kind: str, tmp_path: Path
) -> None:
    victim, path = tmp_path / "victim", tmp_path / "8.jsonl"
    _trap(kind, path, victim)
    assert own_files.read(str(path)) is None
    with pytest.raises(OSError, match=r"not followed|not a regular file"):
        Tail(path).lines()
    facts = PoolWatcher(tmp_path, 0.0, {}, tmp_path).poll()
    assert "of the victim" not in str(facts)


@pytest.mark.parametrize("kind", TRAPS)
def test_judging_a_strangers_run_writes_only_into_its_directory(kind: str, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    run = save(tmp_path / "run", histories.healthy())
    for name in (".verdict.json.tmp", ".report.html.tmp", ".junit.xml.tmp", ".summary.md.tmp", "summary.md"):
        run.file(name).unlink(missing_ok=True)
        _trap(kind, run.file(name), victim)
    judge_run(run)
    assert _is_untouched(victim)
