"""Child processes: how they are stopped, and what becomes of what they started."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from rushhour.errors import StackError
from rushhour.process.child import Child, start
from rushhour.process.guard import Guard
from rushhour.process.ports import PortTakenError
from rushhour.process.tools import ask_program
from rushhour.process.waiting import came_true

DEADLINE_S = 60.0
# Starts a worker that outlives it: the worker's parent has ended, and it stays in the process group.
ORPHANING = "import os, time; os.fork() == 0 and os.fork() == 0 and time.sleep(60); os._exit(0)"
# At SIGTERM the worker ends, and the parent once its worker has by itself.
FAMILY = (
    "import os, signal, time\n"
    "worker = os.fork()\n"
    "def end(*_):\n"
    "    if worker and os.waitpid(worker, 0)[1]: time.sleep(60)\n"
    "    print('parent' if worker else 'worker', 'ended', flush=True)\n"
    "    os._exit(0)\n"
    "signal.signal(signal.SIGTERM, end)\n"
    "print('ready', flush=True)\n"
    "time.sleep(60)\n"
)


@pytest.fixture
def guard() -> Iterator[Guard]:
    with Guard() as guard:
        yield guard


def python(guard: Guard, log: Path | None, code: str, *, stops_group: bool = False) -> Child:
    command = [sys.executable, "-c", code]
    return start(guard, "subject", command, log=log, environment={}, stops_group=stops_group)


def group(child: Child) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == child.pid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.Error):
            continue
    return found


def test_a_worker_that_lost_its_parent_ends_with_the_child(guard: Guard, tmp_path: Path) -> None:
    child = python(guard, tmp_path / "log", ORPHANING)
    assert child.wait(DEADLINE_S) == 0
    assert came_true(lambda: group(child), DEADLINE_S)
    child.stop(grace_s=0)
    assert came_true(lambda: not group(child), DEADLINE_S)


@pytest.mark.parametrize(("stops_group", "ended"), [(True, ["worker", "parent"]), (False, [])])
def test_the_stop_signal_goes_to_the_group_where_that_is_asked_for(
    guard: Guard, tmp_path: Path, stops_group: bool, ended: list[str]
) -> None:
    log = tmp_path / "log"
    child = python(guard, log, FAMILY, stops_group=stops_group)
    assert came_true(lambda: log.read_text().count("ready") == 2, DEADLINE_S)
    child.stop(grace_s=DEADLINE_S if stops_group else 0.5)
    assert [line.split()[0] for line in log.read_text().splitlines() if "ended" in line] == ended
    assert came_true(lambda: not group(child), DEADLINE_S)


def test_a_child_that_ended_well_is_a_fault_only_where_it_should_still_run(
    guard: Guard, tmp_path: Path
) -> None:
    child = python(guard, tmp_path / "log", "print('done')")
    assert child.wait(DEADLINE_S) == 0
    child.check()
    with pytest.raises(StackError, match="subject ended with exit code 0"):
        child.check_alive()


def test_a_child_that_failed_says_how_and_what_it_wrote(guard: Guard, tmp_path: Path) -> None:
    child = python(
        guard, tmp_path / "log", "import os; print('no disk', flush=True); os.kill(os.getpid(), 9)"
    )
    assert child.wait(DEADLINE_S) == -signal.SIGKILL
    with pytest.raises(StackError, match="subject was ended by SIGKILL") as caught:
        child.check()
    assert caught.value.log_tail == ("no disk",)


def test_a_wait_for_the_end_has_a_deadline(guard: Guard, tmp_path: Path) -> None:
    child = python(guard, tmp_path / "log", "import time; time.sleep(60)")
    with pytest.raises(StackError, match=r"waited 0\.2 s for subject \(pid \d+\) to end"):
        child.wait(0.2)
    child.stop(grace_s=0)
    assert child.poll() is not None


@pytest.mark.parametrize(
    ("line", "kind"), [("Address already in use", PortTakenError), ("no such module", StackError)]
)
def test_a_child_that_does_not_come_up_is_stopped_and_says_whether_its_port_was_taken(
    guard: Guard, tmp_path: Path, line: str, kind: type[StackError]
) -> None:
    log = tmp_path / "log"
    child = python(guard, log, f"import time; print({line!r}, flush=True); time.sleep(600)")
    assert came_true(log.read_text, DEADLINE_S)
    with pytest.raises(StackError, match=r"waited .* for it to answer; last seen: refused") as caught:
        child.wait_until_up("it to answer", lambda: "refused", 0.5, grace_s=1)
    assert type(caught.value) is kind
    assert caught.value.log_tail == (line,)
    assert child.poll() is not None


def test_a_child_without_a_log_writes_to_the_terminal(
    guard: Guard, capfd: pytest.CaptureFixture[str]
) -> None:
    child = python(guard, None, "print('seen')")
    assert child.wait(DEADLINE_S) == 0
    assert child.tail() == ()
    assert capfd.readouterr().out == "seen\n"


def test_a_program_answers_with_whatever_exit_code() -> None:
    answer = ask_program([sys.executable, "-c", "print('7'); raise SystemExit(3)"], timeout_s=DEADLINE_S)
    assert (answer.returncode, answer.stdout) == (3, "7\n")


@pytest.mark.parametrize(
    ("command", "why"),
    [(["no-such-program", "--version"], "No such file"), (["sleep", "60"], "timed out after 0.2 seconds")],
)
def test_a_program_that_does_not_answer_is_named_with_the_reason_and_what_to_do(
    command: list[str], why: str
) -> None:
    with pytest.raises(StackError, match=rf"`{' '.join(command)}`: .*{why}.*; install it"):
        ask_program(command, timeout_s=0.2, advice="install it")
