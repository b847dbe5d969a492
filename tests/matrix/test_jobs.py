"""Job runners, sockets and background tasks in environments of their own, each with its cured twin.

A leak is named, with its line, within two seconds after the work was done, while the runner waits for more.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.free_ports import free_port
from tests.matrix.environments import ROOT, environment_of
from tests.matrix.jobs import ASYNC_SHOP, CLIENT, RUNNERS, SHOP, Runner

DEADLINE_S = 120.0
NAMED_WITHIN_S = 2.0
QUIET_S = 2.0  # as long a cured runner is watched once its work is done
JOBS = 3
ATTEMPTS = 3  # a machine that stands still for a while delays the agent, and the test that looks for the name


@pytest.mark.parametrize("cured", [False, True], ids=["leaks", "cured"])
@pytest.mark.parametrize("runner", RUNNERS, ids=lambda runner: runner.name)
def test_a_connection_that_a_job_leaves_out_is_named(runner: Runner, cured: bool, tmp_path: Path) -> None:
    sources = {"shop.py": SHOP, "async_shop.py": ASYNC_SHOP, "client.py": CLIENT, "jobs.py": runner.source}
    for attempt in range(1 if cured else ATTEMPTS):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        for name, source in sources.items():
            (folder / name).write_text(source)
        named_s, text = run_jobs(runner, folder, cured=cured)
        found = json.loads((folder / "found.json").read_text())
        assert found["agent_faults"] == [], text
        if cured:
            assert (named_s, found["leaks"]) == (None, 0), text
            return
        assert named_s is not None, text
        lines = {line for held in found["held"] if held["leaked"] for line in [place_of(held)]}
        assert lines == {marked(sources, runner.marker)}, text
        if named_s <= NAMED_WITHIN_S:
            return
    pytest.fail(f"named only {named_s:.1f} s after the work, in the last of {ATTEMPTS} attempts: {text}")


def run_jobs(runner: Runner, folder: Path, *, cured: bool) -> tuple[float | None, str]:
    """How long after the work the leak was named, and the log."""
    programs = environment_of(runner.packages)
    log, done = folder / "log", folder / "done"
    command = runner.command.format(bin=programs, port=free_port()).split()
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "rushhour", "agent", "exec", "--json", "found.json", "--", *command],
            cwd=folder,
            env=settings | ({"CURED": "1"} if cured else {}),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        done_s = work_done(process, done, log)
        named_s = None
        while named_s is None and time.monotonic() < done_s + (QUIET_S if cured else DEADLINE_S):
            named_s = time.monotonic() - done_s if "LEAK" in log.read_text() else None
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE_S)
    finally:
        process.kill()
        process.wait()
    return named_s, log.read_text()


def work_done(process: subprocess.Popen[bytes], done: Path, log: Path) -> float:
    """When all jobs were done."""
    deadline = time.monotonic() + DEADLINE_S
    while not done.exists() or len(done.read_text()) < JOBS:
        assert time.monotonic() < deadline, f"no jobs within {DEADLINE_S:g} s: {log.read_text()}"
        assert process.poll() is None, log.read_text()
        time.sleep(0.02)
    return time.monotonic()


def place_of(held: dict[str, dict[str, object]]) -> tuple[object, object]:
    return held["site"]["file"], held["site"]["line"]


def marked(sources: dict[str, str], marker: str) -> tuple[str, int]:
    """The file and line that end with `# marker`."""
    for name, source in sources.items():
        for number, line in enumerate(source.splitlines(), 1):
            if line.endswith(f"# {marker}"):
                return name, number
    raise ValueError(f"no line is marked {marker}")
