"""Damaged run directories: words with the file and line, exit 64 or 2, never a fault of rushhour itself."""

import base64
import json
import os
import re
import shutil
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from rushhour.cli.main import _exit_of
from rushhour.errors import RunDataError
from rushhour.metrics.latencies import merge, new_histogram
from rushhour.metrics.latency_counts import bucket_counts
from rushhour.rundir import RunDir, load_history
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
    began_s = time.process_time()
    for command in ("judge", "report", "alarms"):
        assert _exit_of([command, str(run.path)]) in (64, 2), capsys.readouterr().err
        said = capsys.readouterr().err
        assert name in said
    assert time.process_time() - began_s < 10


@pytest.mark.parametrize("name", [*ROWS, "scenario.json", "environment.json"])
def test_a_link_to_a_file_that_makes_its_reader_wait_does_not_pass(name: str, run: RunDir) -> None:
    run.file(name).unlink()
    run.file(name).symlink_to("/proc/kmsg")  # regular, and what reads it waits for the kernel's next line

    assert _exit_of(["judge", str(run.path)]) in {2, 64}


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


BEYOND = ("9" * 400, "-" + "9" * 400, "1e400", "1000000000000000", "123456789012345e1", "1e15", "9" * 4000)
PLACES = {
    "requests.jsonl": ("t_s", "count"),
    "generator.jsonl": ("t_s", "users", "lateness_p99_ms"),
    "host.jsonl": ("cpu_cores", "rss_mb"),
    "postgres.jsonl": ("max_connections", "lag_s"),
    "pool.jsonl": ("checked_out", "timeouts"),
}


@pytest.mark.parametrize("number", BEYOND, ids=[text[:12] for text in BEYOND])
@pytest.mark.parametrize("name", sorted(PLACES))
def test_a_figure_beyond_all_bounds_is_refused_in_words(name: str, number: str, run: RunDir) -> None:
    lines = run.file(name).read_text(encoding="utf-8").splitlines()
    for field in PLACES[name]:
        at = next(at for at, line in enumerate(lines) if f'"{field}":' in line)
        changed = re.sub(rf'"{field}":[^,}}]*', f'"{field}":{number}', lines[at], count=1)
        run.file(name).write_text(
            "\n".join([*lines[:at], changed, *lines[at + 1 :]]) + "\n", encoding="utf-8"
        )
        with pytest.raises(RunDataError) as caught:
            load_history(run)
        assert str(caught.value).startswith(f"{run.file(name)}:{at + 1}: ")
        assert len(str(caught.value)) < 600


DEEP = {
    "times": {"wait_us": {"1": 10**30}},
    "times of a key below 0": {"hold_us": {"-5": 1}},
    "times of a key of 0": {"hold_us": {"0": 1}},
    "times counted below 0": {"create_us": {"1": -1}},
    "times of a huge key": {"wait_us": {"9" * 40: 1}},
}


@pytest.mark.parametrize("kind", sorted(DEEP))
def test_a_strange_histogram_is_refused(kind: str, run: RunDir) -> None:
    row = {"fact": "times", "t_s": 20.0, "pid": 1, "pool": "replica"} | DEEP[kind]
    with run.file("pool.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    with pytest.raises(RunDataError, match=r"pool\.jsonl:\d+: not a pool fact of kind times"):
        load_history(run)


@pytest.mark.parametrize(
    ("name", "field"),
    [("requests.jsonl", "count"), ("generator.jsonl", "users"), ("generator.jsonl", "lateness_max_ms")],
)
def test_counts_and_durations_are_not_negative(name: str, field: str, run: RunDir) -> None:
    text = run.file(name).read_text(encoding="utf-8")
    run.file(name).write_text(
        re.sub(rf'"{field}":[^,}}]*', f'"{field}":-30', text, count=1), encoding="utf-8"
    )
    with pytest.raises(RunDataError, match=f"{field} is -30"):
        load_history(run)


@pytest.mark.parametrize("name", ["scenario.json", "environment.json", "verdict.json"])
def test_a_huge_number_in_an_object_is_no_fault(
    name: str, run: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run.file(name)
    changed = re.sub(r'(": )\d+(?=[,\n])', rf"\g<1>{10**30}", path.read_text(encoding="utf-8"), count=1)
    path.write_text(changed, encoding="utf-8")
    commands = [["compare", str(run.path), str(run.path)], ["history", "--runs", str(run.path.parent)]]
    for command in commands if name == "verdict.json" else [["judge", str(run.path)], *commands]:
        assert _exit_of(command) in (0, 64)
        assert "a fault of rushhour" not in capsys.readouterr().err


def test_large_numbers_within_text_are_text(run: RunDir) -> None:
    path = run.file("events.jsonl")
    event = {"t_s": 30.0, "name": "stack_up", "detail": {"id": "9" * 50, "NaN": "Infinity 1e99", "x": 0.5}}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(event) + "\n")
    assert load_history(run).event("stack_up") is not None


def test_a_histogram_that_unpacks_to_gigabytes_is_refused() -> None:
    histogram = new_histogram()
    histogram.record_value(5000)
    packed = base64.b64decode(histogram.encode())
    bomb = zlib.compress(zlib.decompress(packed[8:]) + b"\0" * 200_000_000, 9)
    text = base64.b64encode(packed[:4] + len(bomb).to_bytes(4, "big") + bomb).decode()
    assert len(text) < 300_000
    tracemalloc.start()
    try:
        for read in (lambda: merge([text]), lambda: bucket_counts(text)):
            with pytest.raises(RunDataError, match="larger than 1,000,000 bytes"):
                read()
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
