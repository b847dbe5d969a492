"""Damaged run directories: words with the file and line, exit 64 or 2, never a fault of rushhour itself."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rushhour.cli.main import _exit_of
from rushhour.rundir import RunDir
from tests.unit import histories as h
from tests.unit.saved_runs import save

ROWS = ("requests.jsonl", "generator.jsonl", "pool.jsonl", "postgres.jsonl", "host.jsonl", "events.jsonl")
OBJECTS = ("scenario.json", "environment.json", "manifest")
Damage = Callable[[Path], None]


def with_first_line(line: bytes) -> Damage:
    def damage(path: Path) -> None:
        path.write_bytes(line + b"\n" + path.read_bytes())

    return damage


def holding(content: bytes) -> Damage:
    def damage(path: Path) -> None:
        path.write_bytes(content)

    return damage


def binary(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 200)


def utf_16(path: Path) -> None:
    path.write_bytes(path.read_text(encoding="utf-8").encode("utf-16"))


def nul_bytes_at_the_end(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0" * 5000)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def time_of(text: bytes) -> Damage:
    def damage(path: Path) -> None:
        first, _, rest = path.read_bytes().partition(b"\n")
        start = first.index(b'"t_s":') + len(b'"t_s":')
        end = min(at for at in (first.find(b",", start), first.find(b"}", start)) if at >= 0)
        path.write_bytes(first[:start] + text + first[end:] + b"\n" + rest)

    return damage


ANYWHERE: dict[str, Damage] = {
    "binary": binary,
    "utf-16": utf_16,
    "nul bytes": nul_bytes_at_the_end,
    "folder": folder,
    "dangling link": dangling_link,
    "pipe": pipe,
}
IN_ROWS: dict[str, Damage] = {
    **ANYWHERE,
    "null": with_first_line(b"null"),
    "empty object": with_first_line(b"{}"),
    "list": with_first_line(b"[1, 2]"),
    "number": with_first_line(b"7"),
    "time as text": time_of(b'"3"'),
    "time is NaN": time_of(b"NaN"),
    "time without end": time_of(b"1e15"),
    "infinite time": time_of(b"1e999"),
    "long line": with_first_line(b'{"t_s":1,"x":"' + b"x" * 20_000_000 + b'"}'),
    "deep nesting": with_first_line(b'{"a":' * 100_000),
}
IN_OBJECTS: dict[str, Damage] = {
    **ANYWHERE,
    "null": holding(b"null"),
    "list": holding(b"[]"),
    "empty object": holding(b"{}"),
    "empty": holding(b""),
    "NaN": holding(b'{"a": NaN}'),
    "deep nesting": holding(b'{"a":' * 100_000),
    "large": holding(b'{"a": "' + b"x" * 40_000_000 + b'"}'),
}
CASES = [(name, kind, damage) for name in ROWS for kind, damage in IN_ROWS.items()] + [
    (name, kind, damage) for name in OBJECTS for kind, damage in IN_OBJECTS.items()
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A saved run, which the tests copy before they damage it."""
    folder = tmp_path_factory.mktemp("saved") / "20250101T180000Z-gate"
    return save(folder, h.healthy(), h.scenario(release="1.1.1"))


@pytest.fixture
def run(saved: RunDir, tmp_path: Path) -> RunDir:
    return RunDir(shutil.copytree(saved.path, tmp_path / saved.path.name))


@pytest.mark.parametrize(("name", "damage"), [(case, damage) for case, _, damage in CASES],
                         ids=[f"{name}-{kind}" for name, kind, _ in CASES])  # fmt: skip
def test_damage_is_said_in_words(
    name: str, damage: Damage, run: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run.file(name)
    damage(next(path.iterdir()) if name == "manifest" else path)
    began_s = time.monotonic()
    for command in ("judge", "report", "alarms"):
        assert _exit_of([command, str(run.path)]) in (64, 2), capsys.readouterr().err
        said = capsys.readouterr().err
        assert name in said
    assert time.monotonic() - began_s < 10


@pytest.mark.parametrize("kind", sorted(IN_ROWS))
def test_a_line_that_is_wrong_is_named(kind: str, run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    IN_ROWS[kind](run.file("host.jsonl"))
    assert _exit_of(["judge", str(run.path)]) == 64
    said = capsys.readouterr().err
    if kind in ("folder", "dangling link", "pipe"):
        assert str(run.file("host.jsonl")) in said
    else:
        assert f"{run.file('host.jsonl')}:" in said


def test_a_broken_run_does_not_keep_the_others_from_being_judged(
    tmp_path: Path, run: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = save(tmp_path / "20250102T180000Z-gate", h.incident(), h.scenario())
    unknown = save(tmp_path / "20250103T180000Z-gate", h.healthy(), h.scenario())
    unknown.file("requests.jsonl").unlink()
    broken = save(tmp_path / "20250104T180000Z-gate", h.healthy(), h.scenario())
    binary(broken.file("pool.jsonl"))

    def code(*runs: RunDir) -> int:
        found = _exit_of(["judge", *(str(item.path) for item in runs)])
        capsys.readouterr()
        return found

    assert code(run) == 0
    assert code(broken, run) == 64
    assert code(broken, unknown, run) == 2
    assert code(broken, unknown, failing, run) == 1
    assert code(broken) == 64
    assert _exit_of(["judge", str(broken.path), str(run.path)]) == 64
    told = capsys.readouterr()
    assert f"{broken.file('pool.jsonl')}:1: " in told.err
    assert "PASS" in told.out


def test_latencies_that_are_none_name_their_file(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    path = run.file("requests.jsonl")
    path.write_text(path.read_text(encoding="utf-8").replace("HIST", "HISX"), encoding="utf-8")
    assert _exit_of(["judge", str(run.path)]) == 64
    assert f"{path}: not an HDR histogram" in capsys.readouterr().err
    assert _exit_of(["compare", str(run.path), str(run.path)]) == 64
    assert f"{path}: not an HDR histogram" in capsys.readouterr().err
