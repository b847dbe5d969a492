"""Nothing survives the harness: a real one is killed in several ways, and its leftovers are looked for."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from rushhour.errors import StackError
from rushhour.process.guard import OWNER, Guard
from rushhour.process.reaper import is_alive
from rushhour.stack.processes.hierarchy import Hierarchy, find_hierarchy
from rushhour.stack.processes.limits import Limits, NiceCapacity
from rushhour.stack.standing import bring_down

SOON_S = 60.0  # the guard needs seconds, and more on a busy machine
UP_TIMEOUT_S = 60.0

HARNESS = """
import json, sys, time
from pathlib import Path
from rushhour.process.guard import Guard
from rushhour.rundir import RunDir
from rushhour.stack.processes.stack import EmbeddedStack
from rushhour.stack.standing import stand
from tests.integration.stack_subject import RowsSeeder, quiet, subject

mode, root, cache = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])

def tell(guard):
    print(json.dumps({"owner": guard.owner}), flush=True)

class Sleepy(RowsSeeder):
    def fill(self, *anything):
        tell(guard)
        time.sleep(600)

with Guard() as guard:
    stack = EmbeddedStack(guard, cache=cache, seeder=Sleepy() if mode == "seeding" else RowsSeeder())
    run = RunDir(root / "run")
    if mode == "standing":
        say = lambda line: print(json.dumps(line), flush=True)
        stand(stack, subject(root), run, quiet, cache=cache, say=say)
    else:
        with stack.up(subject(root, seed=4 if mode == "seeding" else 1), run, quiet) as running:
            tell(guard)
            time.sleep(600)
"""


def start_harness(mode: str, root: Path, cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HARNESS, mode, str(root), str(cache)],
        cwd=Path(__file__).resolve().parents[2],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )


def first_line(harness: subprocess.Popen[str]) -> str:
    assert harness.stdout is not None
    line = harness.stdout.readline()
    assert line, f"the harness ended with {harness.wait(UP_TIMEOUT_S)} before it was up"
    return line


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def name(process: psutil.Process) -> str:
    """Nothing of one that has ended, as a backend of PostgreSQL may at any time."""
    try:
        return process.name()
    except psutil.Error:
        return ""


def command_line(process: psutil.Process) -> list[str]:
    """Nothing of one that has ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def until(what: str, probe: Callable[[], bool], timeout_s: float = SOON_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not probe():
        assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}"
        time.sleep(0.05)


def ended(process: psutil.Process) -> bool:
    return not is_alive(process)


def hierarchy() -> Hierarchy | None:
    try:
        return find_hierarchy()
    except StackError:
        return None


@pytest.mark.parametrize(
    ("mode", "how"),
    [
        pytest.param("up", signal.SIGKILL, id="killed"),
        pytest.param("up", signal.SIGTERM, id="terminated", marks=pytest.mark.long),
        pytest.param("seeding", signal.SIGKILL, id="killed-while-seeding"),
    ],
)
def test_nothing_survives_the_harness(mode: str, how: signal.Signals, cache: Path, tmp_path: Path) -> None:
    harness = start_harness(mode, tmp_path, cache)
    try:
        first_line(harness)
        family = descendants(harness.pid)
        assert "postgres" in map(name, family)
        works = list((cache / "work").glob(f"{harness.pid}-*"))
        assert works

        harness.send_signal(how)
        assert harness.wait(SOON_S) == -how

        until("every process of it to end", lambda: all(ended(process) for process in family))
        until("its work directory to go", lambda: not any(path.exists() for path in works))
        until(
            "the half-built template to go",
            lambda: not list((cache / "templates").glob(".building-*-seed4-*")),
        )
        assert not list((cache / "templates").glob("tiny-seed4-*[!k]"))
        if (groups := hierarchy()) is not None:
            until("its control groups to go", lambda: not list(groups.cpu.glob(f"rushhour-{harness.pid}-*")))
    finally:
        harness.kill()
        harness.wait(SOON_S)
        assert harness.stdout is not None
        harness.stdout.close()


def test_down_stops_a_standing_stack(cache: Path, tmp_path: Path) -> None:
    harness = start_harness("standing", tmp_path, cache)
    try:
        assert json.loads(first_line(harness)).startswith("service  http://127.0.0.1:")
        family = descendants(harness.pid)
        done = bring_down(cache, templates=False)
        assert [line for line in done if f"stopped the stack of process {harness.pid} in" in line]
        assert harness.wait(SOON_S) == 0  # an orderly end, not a death
        assert all(ended(process) for process in family)
        assert bring_down(cache, templates=False) == []
    finally:
        harness.kill()
        harness.wait(SOON_S)
        assert harness.stdout is not None
        harness.stdout.close()


def test_marked_process_that_ignores_sigterm_is_killed() -> None:
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on'); time.sleep(600)"
    )
    with Guard() as guard:
        process = subprocess.Popen(
            [sys.executable, "-uc", stubborn],
            env={**guard.environment},
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert guard.environment[OWNER] == guard.owner
        assert process.stdout is not None
        assert process.stdout.readline() == b"on\n"
    # Leaving the guard waits for its sweep; the process never had to be told to it.
    assert process.wait(SOON_S) == -signal.SIGKILL
    process.stdout.close()


def test_without_its_guard_nothing_may_be_started() -> None:
    guard = Guard()
    with pytest.raises(StackError, match="as `with Guard"):
        guard.adopt(psutil.Process().pid)

    def reapers() -> list[psutil.Process]:
        return [process for process in psutil.Process().children() if guard.owner in command_line(process)]

    def lose_guard() -> None:
        with guard:
            until("the guard's process to have its command line", lambda: len(reapers()) == 1)
            (reaper,) = reapers()
            reaper.kill()
            until("the guard's process to end", lambda: ended(reaper))
            guard.adopt(psutil.Process().pid)

    with pytest.raises(StackError, match=r"guard process \d+ has ended; without it nothing may be started"):
        lose_guard()


def test_quota_holds_for_a_busy_group(guard: Guard) -> None:
    try:
        find_hierarchy()
    except StackError as why:
        pytest.skip(f"no control group can be written here: {why}")
    capacity = Limits(guard).capacity("busy", 0.5, nice=0)
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        for process in busy:
            capacity.admit(process.pid)
        meter = capacity.meter()
        began_s, before = time.monotonic(), meter.read()
        until("two processes to have used CPU", lambda: meter.read().cpu_s - before.cpu_s > 0.4, timeout_s=30)
        reading = meter.read()
        cores = (reading.cpu_s - before.cpu_s) / (time.monotonic() - began_s)
        assert cores < 0.75  # two busy processes would use up to two cores; a busy machine may leave less
        assert reading.processes == 2
        assert reading.throttled_s is not None
        for process in busy:
            process.kill()
            process.wait(SOON_S)
        with pytest.raises(ProcessLookupError):
            meter.read()
    finally:
        for process in busy:
            process.kill()
            process.wait(SOON_S)
        capacity.close()
    groups = hierarchy()
    assert groups is not None
    assert not list(groups.cpu.glob(f"rushhour-{psutil.Process().pid}-busy-*"))


def test_without_control_groups_nice_and_fewer_cpus_limit_a_server() -> None:
    capacity = NiceCapacity("/sys/fs/cgroup: Read-only file system", 1.0, 5)
    cpus = len(psutil.Process().cpu_affinity())
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        capacity.admit(sleeper.pid)
        process = psutil.Process(sleeper.pid)
        assert process.nice() == max(5, psutil.Process().nice())
        assert len(process.cpu_affinity()) == 1
        assert capacity.meter().read().processes == 1
        assert capacity.words == (
            "no cgroup may be written; "
            + (f"1 of {cpus} CPUs and " if cpus > 1 else "")
            + "nice 5 only (1 cores were asked for): /sys/fs/cgroup: Read-only file system"
        )
        assert capacity.meter().limit_cores == (1.0 if cpus > 1 else None)
    finally:
        sleeper.kill()
        sleeper.wait(SOON_S)
