"""What the guard runs when the harness dies: for things that no signal reaches."""

import subprocess
import sys
import time
from pathlib import Path

from rushhour.process.guard import Guard

DEADLINE_S = 60.0
HARNESS = """
import sys, time
from rushhour.process.guard import Guard
with Guard() as guard:
    guard.run_at_death(["touch", sys.argv[1]])
    guard.run_at_death(["touch", sys.argv[2]])
    guard.no_longer_run(["touch", sys.argv[2]])
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_command_runs_after_kill_9_unless_it_was_forgotten(tmp_path: Path) -> None:
    ran, forgotten = tmp_path / "ran", tmp_path / "forgotten"
    harness = subprocess.Popen(
        [sys.executable, "-c", HARNESS, str(ran), str(forgotten)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    with harness:
        assert harness.stdout is not None
        assert harness.stdout.readline() == b"ready\n"
        harness.kill()
    deadline = time.monotonic() + DEADLINE_S
    while not ran.exists():
        assert time.monotonic() < deadline, (
            f"{DEADLINE_S:g} s after the harness's death {ran} is still missing"
        )
        time.sleep(0.05)
    assert not forgotten.exists()


def test_a_command_runs_at_an_orderly_end_too(tmp_path: Path) -> None:
    with Guard() as guard:
        guard.run_at_death(["touch", str(tmp_path / "ran")])
    assert (tmp_path / "ran").exists()
