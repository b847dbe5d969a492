"""The worst damage costs at most ten seconds and 500 MB more than the undamaged run does."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rushhour.rundir import RunDir
from rushhour.rundir.reading import MOST_NAMES
from tests.faults.caller import Caller
from tests.faults.saved import CODES, DEADLINE_S, GROWTH_MB
from tests.unit import histories as h
from tests.unit.saved_runs import save

pytestmark = [pytest.mark.long, pytest.mark.alone]  # files of millions of rows, each read by four commands

MILLION = 1_000_000


def with_line(name: str, line: bytes) -> Callable[[RunDir], None]:
    def damage(run: RunDir) -> None:
        path = run.file(name)
        path.write_bytes(line + b"\n" + path.read_bytes())

    return damage


def with_times(name: str, t_s: float) -> Callable[[RunDir], None]:
    """The last row once more, at another time, and no manifest that contradicts it."""

    def damage(run: RunDir) -> None:
        shutil.rmtree(run.path / "manifest")
        path = run.file(name)
        row = json.loads(path.read_text(encoding="utf-8").splitlines()[-1])
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row | {"t_s": type(row["t_s"])(t_s)}) + "\n")

    return damage


def with_late_end(run: RunDir) -> None:
    """The load ends eleven days later."""
    shutil.rmtree(run.path / "manifest")
    path = run.file("events.jsonl")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    late = {"load_ended", "drained", "run_ended"}
    rows = [row | {"t_s": row["t_s"] + 900_000} if row["name"] in late else row for row in rows]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def with_names(name: str, field: str) -> Callable[[RunDir], None]:
    """A million rows, each with a name of its own."""

    def damage(run: RunDir) -> None:
        path = run.file(name)
        row = json.loads(
            next(line for line in path.read_text(encoding="utf-8").splitlines() if field in line)
        )
        before, _, after = json.dumps(row | {field: "@"}).partition("@")
        with path.open("a", encoding="utf-8") as file:
            file.writelines(f"{before}{number}{after}\n" for number in range(MILLION))

    return damage


ROWS = ("requests.jsonl", "generator.jsonl", "pool.jsonl", "postgres.jsonl", "host.jsonl", "events.jsonl")
COMMANDS = (("judge",), ("alarms", "--as", "it-was"), ("alarms",), ("verify",))
KINDS: dict[str, Callable[[RunDir], None]] = {
    **{f"{name} at 1e15 s": with_times(name, 1e15) for name in ROWS},
    **{f"{name} at 999,999 s": with_times(name, 999_999) for name in ROWS},
    **{f"{name} at -999,999 s": with_times(name, -999_999) for name in ROWS},
    **{f"20 MB in {name}": with_line(name, b'{"x":"' + b"x" * 20_000_000) for name in ROWS},
    **{f"nesting in {name}": with_line(name, b'{"a":' * 100_000) for name in ROWS},
    "a number of a million digits": with_line("requests.jsonl", b'{"t_s":' + b"9" * MILLION + b"}"),
    "a load that ends after eleven days": with_late_end,
    "a million endpoints": with_names("requests.jsonl", "endpoint"),
    "a million pools": with_names("pool.jsonl", "pool"),
    "a million components": with_names("host.jsonl", "component"),
    "a million workers": with_names("generator.jsonl", "worker"),
    "an endless device": lambda run: _linked(run.file("requests.jsonl"), "/dev/zero"),
    "an endless manifest": lambda run: _linked(next((run.path / "manifest").iterdir()), "/dev/zero"),
}


def _linked(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    return save(folder / "whole", h.incident(), h.scenario()).path


@pytest.fixture(scope="module")
def caller(saved: Path) -> Iterator[Caller]:
    """A process that has judged the undamaged run: what it needs more is the damage's."""
    with Caller(DEADLINE_S) as calling:
        for command in (*COMMANDS, ("compare", str(saved))):
            assert calling.call(*command, str(saved)).code in CODES
        yield calling


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_damage_costs_seconds_and_megabytes_at_most(
    kind: str, saved: Path, caller: Caller, tmp_path: Path
) -> None:
    run = RunDir(Path(shutil.copytree(saved, tmp_path / "run")))
    KINDS[kind](run)
    for command in (*COMMANDS, ("compare", str(saved))):
        answer = caller.call(*command, str(run.path))
        assert answer.code in (CODES - {0} if "judge" in command else CODES), (command, answer)
        assert "a fault of rushhour itself" not in answer.output
        assert answer.grown_mb < GROWTH_MB, (command, answer.grown_mb)
    shutil.rmtree(tmp_path / "run")


def test_a_name_for_each_id_is_refused_in_words(saved: Path, caller: Caller, tmp_path: Path) -> None:
    run = RunDir(Path(shutil.copytree(saved, tmp_path / "run")))
    with_names("requests.jsonl", "endpoint")(run)
    answer = caller.call("judge", str(run.path))
    assert answer.code == 64
    assert f"more than {MOST_NAMES:,} different names of endpoints" in " ".join(answer.output.split())
