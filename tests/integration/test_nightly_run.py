"""`rushhour nightly` on a real stack: a candidate that leaks, one night at a time, and what is kept of it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rushhour.jobs.archive import RunHistory
from rushhour.jobs.nightly.night import read_night
from tests.judged_runs import BUSY

ROOT = Path(__file__).parents[2]
DEADLINE_S = 120.0

SCENARIOS = """\
service:
{service}
scenarios:
  tiny-gate:
    description: The candidate on a small pool, as smoke has it.
    data: {{ size: tiny }}
    pool: {{ size: 3, max_overflow: 2, timeout: 1s }}
    service: {{ threads: 16 }}
    load: {{ shape: steady, users: 80, spawn_rate: 80, duration: 8s, warm_up: 2s, think_time: 1s }}
    expect: healthy
    thresholds: [leaked_connections == 0]
suites:
  nightly: [tiny-gate]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A scenario file of our own around the service of the repo."""
    text = (ROOT / "scenarios.yaml").read_text()
    service = text.partition("\nservice:\n")[2].partition("\ndefaults:")[0]
    (tmp_path / "scenarios.yaml").write_text(SCENARIOS.format(service=f"  root: {ROOT}\n{service}"))
    return tmp_path


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "rushhour", *arguments, "--runs", str(folder / "runs")]


def nightly(folder: Path, release: str) -> list[str]:
    scenarios = str(folder / "scenarios.yaml")
    return command(folder, "nightly", "--stack=embedded", f"--scenarios={scenarios}", f"--release={release}")


@pytest.fixture
def first(folder: Path, cache: Path) -> Iterator[subprocess.Popen[str]]:
    """A night that has begun."""
    with (folder / "out").open("w") as out:
        process = subprocess.Popen(
            nightly(folder, "1.1"), stdout=out, stderr=subprocess.STDOUT, text=True, env=dict(os.environ)
        )
        yield process
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(DEADLINE_S)


@pytest.mark.long
@pytest.mark.alone
def test_a_night_whose_candidate_leaks_fails(folder: Path, first: "subprocess.Popen[str]") -> None:
    lock = folder / "runs" / "nightly" / ".lock"
    deadline = time.monotonic() + DEADLINE_S
    while not (lock.exists() and lock.read_text()):
        assert first.poll() is None, (folder / "out").read_text()
        assert time.monotonic() < deadline, "waited for the first night to hold its lock"
        time.sleep(0.02)

    second = subprocess.run(
        nightly(folder, "1.1.1"), capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert second.returncode == 2, second.stdout + second.stderr
    assert f"another nightly (process {first.pid} on " in second.stderr

    code = first.wait(DEADLINE_S)
    told = (folder / "out").read_text()
    night = read_night(folder / "runs" / "nightly" / "latest")
    (run,) = night.runs
    if run.verdict == "unknown":  # other work on the machine while the tests run
        assert (code, any(why in run.headline for why in BUSY)) == (2, True), told
    else:
        assert (code, run.verdict) == (1, "fail"), told
    assert (run.release, run.cause, night.complete) == ("1.1", "scope-never-removed", True)
    assert (run.site_file or "").startswith("app/")
    assert f"Night   {folder}/runs/nightly/{night.night}/summary.md" in told

    summary = (folder / "runs" / "nightly" / night.night / "summary.md").read_text()
    assert summary.splitlines()[2].startswith("- ❌ **tiny-gate**" if code == 1 else "- ⚠️ **tiny-gate**")
    assert (folder / "runs" / run.run / "report.html").exists()
    assert RunHistory(folder / "runs").rows() == [run]

    path = str(folder / "runs" / run.run)
    compared = subprocess.run(
        [sys.executable, "-m", "rushhour", "compare", path, path],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert compared.returncode == 2
    assert "after its warm-up; at least 20 are needed" in " ".join(compared.stdout.split())

    listed = subprocess.run(
        command(folder, "history"), capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert (listed.returncode, "tiny-gate" in listed.stdout) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["compare", "{folder}", "{folder}"], 64, "no scenario.json; this is not a run directory"),
        (["nightly", "--soak=3", "--scenarios={folder}/scenarios.yaml"], 64, "'3' is not a duration"),
        (["nightly", "--keep=0", "--scenarios={folder}/scenarios.yaml"], 64, "0 is not in the range x>=1"),
        (["nightly", "--release=9", "--scenarios={folder}/scenarios.yaml"], 64, "has no such release"),
    ],
)
def test_bad_input_is_reported_without_a_traceback(
    folder: Path, arguments: list[str], code: int, says: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rushhour", *(argument.format(folder=folder) for argument in arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    assert not (folder / "runs").exists()
