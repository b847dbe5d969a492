"""The campaign of faults itself: what it finds in an engine, how it damages, and what it counts."""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from rushhour.stack.compose.project import PROJECT_LABEL
from tests.faults.counts import Counts
from tests.faults.damage import EVERY, LARGE
from tests.faults.engine import SERVICE_LABEL, EngineSeen
from tests.faults.harness import _is_free, locks_below
from tests.faults.kills import hit

ROWS = "".join(f'{{"t_s": {at}, "name": "row", "count": {at * 7}}}\n' for at in range(40))


class FakeApi:
    """An engine's lists; parts with a label of ours are found by it."""

    def __init__(self) -> None:
        self.held: dict[str, list[dict[str, Any]]] = {
            "containers": [],
            "volumes": [],
            "networks": [],
            "images": [],
        }

    def containers(self, *, all: bool = False, filters: object = None) -> list[dict[str, Any]]:  # noqa: A002
        del all
        return self._of("containers", filters)

    def volumes(self, filters: object = None) -> dict[str, list[dict[str, Any]]]:
        return {"Volumes": self._of("volumes", filters)}

    def networks(self, filters: object = None) -> list[dict[str, Any]]:
        return self._of("networks", filters)

    def images(self, filters: object = None) -> list[dict[str, Any]]:
        return self._of("images", filters)

    def remove_container(self, *_: object, **__: object) -> None: ...

    remove_volume = remove_network = remove_image = remove_container

    def _of(self, kind: str, filters: object) -> list[dict[str, Any]]:
        return [part for part in self.held[kind] if filters is None or PROJECT_LABEL in part["Labels"]]


def test_what_an_engine_holds_since_the_campaign_began_is_left() -> None:
    api = FakeApi()
    api.held["networks"].append({"Id": "n0", "Name": "bridge", "Labels": {}})
    seen = EngineSeen(SimpleNamespace(api=api))  # type: ignore[arg-type]
    assert seen.left() == []
    ours = {PROJECT_LABEL: "rushhour-1"}
    api.held["containers"].append({"Id": "c" * 64, "Names": ["/primary"], "Labels": ours})
    api.held["volumes"].append({"Name": "data", "Labels": {}})
    assert seen.left() == ["container cccccccccccc", "container primary", "volume data"]


def test_the_processes_of_a_container_are_victims_by_their_roles() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        try:
            container = SimpleNamespace(
                labels={SERVICE_LABEL: "service"}, attrs={"State": {"Pid": os.getpid()}}
            )
            stopped = SimpleNamespace(labels={}, attrs={"State": {"Pid": 0}})
            client = SimpleNamespace(
                api=FakeApi(), containers=SimpleNamespace(list=lambda **_: [container, stopped])
            )
            found = EngineSeen(client).victims()  # type: ignore[arg-type]
            assert found["service"] == [psutil.Process()]
            assert process.pid in [victim.pid for victim in found["service's worker"]]
            assert set(found) <= {"service", "service's worker", "container", "container's backend"}
        finally:
            process.kill()


def test_a_lock_that_somebody_holds_is_noticed(tmp_path: Path) -> None:
    lock = tmp_path / "work.lock"
    lock.touch()
    assert _is_free(lock)
    held = (
        f"import fcntl, time\nf = open({str(lock)!r}, 'r+')\nfcntl.flock(f, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", held], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            assert not _is_free(lock)
        finally:
            process.kill()
    assert _is_free(lock)
    assert _is_free(tmp_path / "none")


@pytest.mark.parametrize("kind", sorted(set(EVERY) - set(LARGE)))
def test_each_damage_changes_the_file(kind: str, tmp_path: Path) -> None:
    whole, changed = ROWS.encode(), 0
    for seed in range(5):
        folder = tmp_path / str(seed)
        folder.mkdir()
        path = folder / "rows.jsonl"
        path.write_bytes(whole)
        (folder / "other.jsonl").write_text("neighbour\n")
        EVERY[kind](path, random.Random(seed))  # noqa: S311
        changed += not path.is_file() or path.read_bytes() != whole
    assert changed >= 4  # a value may become itself


def test_counts_say_how_calls_ended() -> None:
    counts = Counts("saved runs", 7)
    for code in (0, 2, 2, 64):
        counts.note("judge")
        counts.ended(code)
    counts.blame("false pass", "try 3")
    lines = list(counts.lines(("false pass", "hung")))
    assert "saved runs, seed 7: 4 tries" in lines[0]
    assert "false pass 1, hung 0" in lines[0]
    assert "  exit codes: 0 1, 2 2, 64 1" in lines
    assert counts.bad == 1


def test_a_process_that_has_ended_is_not_hit() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        victim = psutil.Process(process.pid)
        assert hit(victim, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not hit(victim, signal.SIGKILL)  # nobody has asked for its end yet
        process.wait()
        assert not hit(victim, signal.SIGKILL)


def test_locks_are_found_while_directories_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work.lock").touch()
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "lock").touch()
    (tmp_path / "removed" / "base").mkdir(parents=True)
    scandir = os.scandir

    def removing(path: Any) -> Any:
        if isinstance(path, str) and path.endswith("removed"):
            shutil.rmtree(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", removing)
    assert sorted(locks_below(tmp_path)) == [tmp_path / "kept" / "lock", tmp_path / "work.lock"]
