"""The guard's process: reads from standard input what to clean up, and does so when the input ends.

Run as `python -m rushhour.process.reaper OWNER SECONDS`; exits 1 if something could not be ended or removed.
"""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TextIO

import psutil

from rushhour.process.guard import OWNER
from rushhour.process.waiting import came_true

GRACE_S: Final = 2.5  # from the first, gentle signal to SIGKILL
KILLED_S: Final = 1.0  # what got SIGKILL has so long to end, also when the time was over before
COMMANDS_S: Final = 12.0  # the commands have so long, however long the processes took
POLL_S: Final = 0.05
CLOCK_SLACK_S: Final = 5.0  # start times derive from the wall clock, which may be set in between


@dataclass(slots=True)
class CleanupList:
    """The processes, paths and commands that the harness registered for clean-up."""

    owner: str
    adopted: dict[int, tuple[float, int]] = field(default_factory=dict)  # pid -> (start time, first signal)
    paths: list[Path] = field(default_factory=list)
    commands: list[list[str]] = field(default_factory=list)

    def note(self, line: str) -> None:
        """Apply a message of the harness."""
        message = json.loads(line)
        match message["do"]:
            case "adopt":
                self.adopted[message["pid"]] = (message["created"], message["signal"])
            case "remove":
                self.paths.append(Path(message["path"]))
            case "run":
                self.commands.append(message["command"])
            case "forget":
                self.commands.remove(message["command"])


def read_messages(owner: str, messages: TextIO) -> CleanupList:
    """Read messages until the harness has ended."""
    cleanup = CleanupList(owner)
    for line in messages:
        cleanup.note(line)
    return cleanup


def find_living(cleanup: CleanupList) -> set[psutil.Process]:
    """Return adopted and marked processes, those in our control groups, and their descendants."""
    found: set[psutil.Process] = set()
    grouped = {pid for path in cleanup.paths for pid in group_pids(path)}
    for process in psutil.process_iter():
        try:
            if _is_adopted(cleanup, process) or process.pid in grouped or _is_marked(cleanup, process):
                found |= {process, *process.children(recursive=True)}
        except psutil.Error:
            continue  # ended meanwhile, or another user's
    return {process for process in found if is_alive(process)}


def _is_adopted(cleanup: CleanupList, process: psutil.Process) -> bool:
    known = cleanup.adopted.get(process.pid)
    return known is not None and abs(process.create_time() - known[0]) < CLOCK_SLACK_S


def _is_marked(cleanup: CleanupList, process: psutil.Process) -> bool:
    try:
        return process.environ().get(OWNER) == cleanup.owner
    except psutil.AccessDenied:
        return False


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process runs; a zombie does not, and only its parent can reap it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def group_pids(path: Path) -> list[int]:
    """Return the pids in a control group; empty if the path is not a control group."""
    try:
        return [int(pid) for pid in (path / "cgroup.procs").read_text().split()]
    except (FileNotFoundError, NotADirectoryError, OSError):
        return []


def end_all(cleanup: CleanupList, deadline_s: float) -> set[psutil.Process]:
    """Send the stop signal to the topmost processes, later SIGKILL to all; return those still alive.

    SIGKILL is sent even if the machine stood still until the deadline was over.
    """
    known = find_living(cleanup)
    for process in known:
        if _parent(process) not in known:
            _, gentle = cleanup.adopted.get(process.pid, (0.0, signal.SIGTERM))
            _send(process, gentle)
    kill_at_s, killed = time.monotonic() + GRACE_S, False
    while known := {process for process in known | find_living(cleanup) if is_alive(process)}:
        now_s = time.monotonic()
        if now_s > kill_at_s:
            if not killed:
                killed, deadline_s = True, max(deadline_s, now_s + KILLED_S)
            if now_s > deadline_s:
                break
            for process in known:
                _send(process, signal.SIGKILL)
        time.sleep(POLL_S)
    return known


def _parent(process: psutil.Process) -> psutil.Process | None:
    try:
        return process.parent()
    except psutil.Error:
        return None


def _send(process: psutil.Process, what: int) -> None:
    with suppress(psutil.Error):  # ended meanwhile; what may not be signalled is reported as left over
        process.send_signal(what)


def run_all(commands: Iterable[list[str]], deadline_s: float) -> list[list[str]]:
    """Run commands in parallel; return those that failed or had not ended at the deadline."""
    running, failed = [], []
    for command in commands:
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            running.append((command, process))
        except OSError:
            failed.append(command)
    for command, process in running:
        try:
            code = process.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if code != 0:
            failed.append(command)
    return failed


def remove_all(paths: Iterable[Path], deadline_s: float) -> list[Path]:
    """Remove directories and control groups; return those that are left at the deadline."""
    left = list(paths)

    def gone() -> bool:
        left[:] = [path for path in left if not remove(path)]
        return not left

    came_true(gone, max(0.0, deadline_s - time.monotonic()))
    return left


def remove(path: Path) -> bool:
    """Remove a directory, or an empty control group; return True if it is gone."""
    try:
        if (path / "cgroup.procs").exists():
            path.rmdir()
        else:
            shutil.rmtree(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False  # a group is busy until its last process has been reaped
    return True


def main() -> int:
    """Wait until the harness has ended, then clean up."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)  # the harness decides when it is over
    owner, sweep_s = sys.argv[1], float(sys.argv[2])
    cleanup = read_messages(owner, sys.stdin)
    deadline_s = time.monotonic() + sweep_s
    left = end_all(cleanup, deadline_s - 1)
    failed = run_all(cleanup.commands, time.monotonic() + COMMANDS_S)
    unremoved = remove_all(cleanup.paths, max(deadline_s, time.monotonic() + KILLED_S))
    return 1 if unremoved or left or failed else 0


if __name__ == "__main__":
    sys.exit(main())
