"""Runs a command in the foreground with the agent in it, and reports what the agent sees."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from rushhour.agent.environment import agent_environment
from rushhour.errors import UnavailableError, UsageError
from rushhour.jobs.attach.findings import Findings, Held
from rushhour.jobs.attach.words import News, prefixed, summary, unseen_end
from rushhour.metrics.wording import counted_were
from rushhour.observe.pools import PoolWatcher
from rushhour.process.guard import Guard

POLL_S: Final = 0.25
READ_OUT_S: Final = 60.0  # the command has ended; only its last records are waited for
NOT_FOUND, NOT_RUNNABLE = 127, 126  # as env, nohup and timeout end
SIGNALLED: Final = 128  # and more: a signal ended it
LEAKED, UNKNOWN = 1, 2
# Handed on: what ends a service, and what gunicorn and uWSGI are steered by.
FORWARDED: Final = ("SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTTIN", "SIGTTOU", "SIGWINCH")


@dataclass(frozen=True, slots=True)
class Attached:
    """How the command ended, and what was found; `exit_code` is its own, 128 + n for signal n."""

    exit_code: int
    findings: Findings

    @property
    def leak_code(self) -> int:
        """The exit code of `--fail-on-leak`: 1 with a leak, 2 where leaks are unknown (see `doubt`).

        An error that the command itself reports keeps its own code. A signal is how a server is ended, so it
        says nothing about leaks: a leak comes before it.
        """
        if self.findings.leaks and (self.exit_code == 0 or self.exit_code > SIGNALLED):
            return LEAKED
        return UNKNOWN if self.exit_code == 0 and self.doubt else self.exit_code

    @property
    def doubt(self) -> str | None:
        """Why a run in which no leak was seen says nothing about leaks; None where it does."""
        if not self.findings.checkouts:
            return "no check-out was seen, so leaks are unknown"
        out = self.findings.cut_off
        if out and not self.findings.leaks:
            were = counted_were(out, "connection")
            return (
                f"{were} out when the process ended, so it is unknown whether anything would have closed it"
            )
        return None if self.findings.leaks else unseen_end(self.findings) or None


def run_attached(
    command: Sequence[str],
    *,
    long_s: float,
    say: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
    keep: Path | None = None,
    metrics: str | None = None,
) -> Attached:
    """Run a command to its end as a shell would; `say` gets a line for each finding, then the summary.

    `environment` is laid over this process's own. `keep` is a directory for the agent's files, which are
    removed otherwise. `metrics` is where the command's processes serve theirs. Raises UsageError when the
    agent could not write into `keep`.
    """
    findings = Findings(long_s)
    news = News(findings)

    def report(lines: Iterator[str] | Sequence[str]) -> None:
        for line in prefixed(list(lines)):
            say(line)

    program = shutil.which(command[0])
    if program is None:
        found = Path(command[0]).exists()
        report([f"{command[0]}: {'is not executable' if found else 'no such command'}"])
        return Attached(NOT_RUNNABLE if found else NOT_FOUND, findings)
    with _agent_dir(keep) as agent_dir, Guard() as guard:
        base = {**os.environ, **(environment or {})}
        process = subprocess.Popen(
            [program, *command[1:]],
            executable=program,
            env={**base, **agent_environment(agent_dir, base, metrics=metrics), **guard.environment},
        )
        with _signals(process):
            guard.adopt(process.pid)
            watcher = PoolWatcher(agent_dir, time.monotonic(), {}, Path.cwd())
            while not _ended(process):
                findings.feed(watcher.poll())
                report(news.lines())
        findings.feed(watcher.finish(READ_OUT_S))
        findings.command_ended()
        report(news.lines())
    report(summary(findings))
    if keep is not None:
        report([f"the agent's files are in {agent_dir}"])
    code = process.returncode
    return Attached(SIGNALLED - code if code < 0 else code, findings)


def check_report(path: Path) -> None:
    """Find out before the command starts whether `write_findings` can write; raises UsageError."""
    folder = path.absolute().parent
    if path.is_dir():
        raise UsageError([f"{path} is a folder: give --json the name of a file"])
    if not folder.is_dir():
        raise UsageError([f"{path} cannot be written: there is no folder {folder}; make it first"])
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise UsageError([f"{path} cannot be written: permission denied"])


def write_findings(path: Path, attached: Attached) -> None:
    """Write everything as JSON, for a program to read. Raises UnavailableError where that fails."""
    findings = attached.findings
    content = {
        "exit_code": attached.exit_code,
        "leaks": findings.leaks,
        "out_at_end": findings.cut_off,
        "libraries": [list(pair) for pair in findings.libraries()],
        "pools": [asdict(pool) for pool in findings.pools()],
        "held": [_held(place) for place in findings.held()],
        "timeouts": {
            name: {"count": waits.count, "longest_s": waits.longest_s}
            for name, waits in findings.timeouts.items()
        },
        "agent_faults": [asdict(fault) for fault in findings.faults],
    }
    try:
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UnavailableError(
            f"the findings could not be written to {path}: {error.strerror}; the summary above has them"
        ) from error


def _held(place: Held) -> dict[str, object]:
    return {
        **asdict(place.place),
        "leaked": place.leaked,
        "outlived": place.outlived,
        "long": place.long,
        "still_out": place.still_out,
        "held_s": round(place.held_s, 3),
        "longest_s": round(place.longest_s, 3),
        "returned_by": dict(place.returned_by),
    }


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(POLL_S)
    except subprocess.TimeoutExpired:
        return False
    return True


@contextmanager
def _agent_dir(keep: Path | None) -> Iterator[Path]:
    """Make a directory with an unguessable name, to which a service of root's may write as another user."""
    if keep is not None:
        yield _own_folder(keep)
        return
    outer = Path(tempfile.mkdtemp(prefix="rushhour-agent-"))
    try:
        inner = outer / "pools"
        inner.mkdir()
        if os.geteuid() == 0:
            outer.chmod(0o711)
            inner.chmod(0o1777)
        yield inner
    finally:
        shutil.rmtree(outer, ignore_errors=True)


def _own_folder(keep: Path) -> Path:
    """Return `keep` while it is empty, else a new folder in it: runs share neither records nor counters."""
    try:
        keep.mkdir(parents=True, exist_ok=True)
        own = keep
        number = 2
        while any(own.iterdir()):
            own = keep / f"run-{number}"
            with suppress(FileExistsError):
                own.mkdir()
            number += 1
    except OSError as error:
        raise UsageError([f"--keep {keep}: {error.strerror}: {error.filename}"]) from error
    if not os.access(own, os.W_OK | os.X_OK):
        raise UsageError([f"--keep {keep}: permission denied: the agent could not write there"])
    return own.resolve()


@contextmanager
def _signals(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Hand signals on to the command, but Ctrl-C, which the terminal sends to the command too."""

    def hand_on(number: int, _frame: FrameType | None) -> None:
        if process.poll() is None:
            process.send_signal(number)

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not _in_foreground():
            hand_on(number, frame)

    handlers = {getattr(signal, name): hand_on for name in FORWARDED} | {signal.SIGINT: interrupt}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_foreground() -> bool:
    """Return whether a terminal sends its Ctrl-C to this process and its children."""
    try:
        with open("/dev/tty", "rb") as terminal:  # noqa: PTH123  # a device, not a path
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False
