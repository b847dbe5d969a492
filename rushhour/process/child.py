"""Start a child process behind a gate: it runs only once the guard knows it and its limits are set."""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from rushhour.errors import ServiceDiedError, StackError
from rushhour.process.guard import Guard
from rushhour.process.ports import PortTakenError, lost_race
from rushhour.process.regular import open_to_append, open_to_read
from rushhour.process.tools import Account
from rushhour.process.waiting import wait_until

# The shell waits for a line on its standard input, then becomes the command under the same pid. When the
# harness dies before it sent the line, `read` meets the end of the pipe and the command never starts.
_GATE: Final = ("/bin/sh", "-c", 'read -r go && exec "$@" </dev/null', "gate")
_KILL_TIMEOUT_S: Final = 5.0
_TAIL_BYTES: Final = 16_384


@dataclass(slots=True)
class Child:
    """A process that was started in a session of its own, and the file that its output goes to."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path | None  # None: the terminal
    stop_signal: signal.Signals = signal.SIGTERM
    stops_group: bool = False  # the stop signal goes to all of its process group, not to it alone
    _log_start: int = field(default=0)
    is_service: bool = False  # the service under test, whose end is the release's fault
    _stopped: bool = field(default=False, init=False)

    @property
    def pid(self) -> int:
        return self.process.pid

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        return self.process.poll()

    def tail(self, lines: int = 15) -> tuple[str, ...]:
        """The last lines that this process wrote."""
        return () if self.log is None else tail(self.log, lines, self._log_start)

    def wait(self, timeout_s: float) -> int:
        """The exit code, once it has ended. Raises StackError, with the log's last lines, at the deadline."""
        if not _reaped(self.process, timeout_s):
            raise StackError(
                f"waited {timeout_s:g} s for {self.name} (pid {self.pid}) to end; "
                f"the last lines of {self.log}:",
                self.tail(),
            )
        return self.process.returncode

    def check_alive(self) -> None:
        """Raises StackError, with the log's last lines, when the process has ended."""
        code = self.poll()
        if code is not None:
            message = f"{self.name} {_ended(code)}; the last lines of {self.log}:"
            if self.is_service:
                raise ServiceDiedError(_how(code), message, self.tail())
            raise StackError(message, self.tail())

    def check(self) -> None:
        """Raises StackError, with the log's last lines, when it has ended with any exit code but 0."""
        if self.poll():
            self.check_alive()

    def wait_until(
        self, what: str, problem: Callable[[], str | None], timeout_s: float, *, poll_s: float = 0.02
    ) -> None:
        """Wait until `problem` returns None; until then it says what it sees instead.

        Raises StackError, with the log's last lines, when the process ends or the time is over.
        """
        advice = f"the last lines of {self.log}:"
        wait_until(what, problem, timeout_s, advice, check=self.check_alive, tail=self.tail, poll_s=poll_s)

    def wait_until_up(
        self,
        what: str,
        problem: Callable[[], str | None],
        timeout_s: float,
        *,
        grace_s: float,
        poll_s: float = 0.02,
    ) -> None:
        """Wait until it serves on its port, as `wait_until` does; it is stopped when it does not.

        Raises PortTakenError where its log says that another program has its port.
        """
        try:
            self.wait_until(what, problem, timeout_s, poll_s=poll_s)
        except StackError as error:
            self.stop(grace_s)
            if lost_race(self.tail(50)):
                raise PortTakenError(str(error).splitlines()[0], error.log_tail) from error
            raise
        except BaseException:
            self.stop(grace_s)
            raise

    def stop(self, grace_s: float) -> None:
        """Its stop signal, then SIGKILL to all that it started when the grace is over. Never raises.

        That is its descendants, and its process group: a worker that lost its parent is in the group alone.
        What could outlive this is the guard's to report; an error here would mask the first one.
        """
        if self._stopped:
            return  # its number may be another process's by now
        family = _family(self.pid)
        if self.poll() is None:
            self._signal(self.stop_signal, group=self.stops_group)
            _reaped(self.process, grace_s)
        for member in family:
            if member.pid != self.pid:
                _kill(member)
        self._signal(signal.SIGKILL, group=True)
        _reaped(self.process, _KILL_TIMEOUT_S)
        psutil.wait_procs([one for one in family if one.pid != self.pid], timeout=_KILL_TIMEOUT_S)
        self._stopped = True

    def _signal(self, what: signal.Signals, *, group: bool) -> None:
        with suppress(ProcessLookupError, PermissionError):  # all of them have ended
            if group:
                os.killpg(self.pid, what)  # it leads the group of its session
            else:
                self.process.send_signal(what)


def start(
    guard: Guard,
    name: str,
    command: Sequence[str],
    *,
    log: Path | None,
    environment: Mapping[str, str],
    cwd: Path | None = None,
    account: Account | None = None,
    stop_signal: signal.Signals = signal.SIGTERM,
    stops_group: bool = False,
    admit: Callable[[int], None] = lambda _pid: None,
    pass_fds: Sequence[int] = (),
) -> Child:
    """Start a command in a session of its own, with its output appended to `log`; None: to the terminal.

    `admit(pid)` sets its limits before it runs. Raises StackError when it cannot be started.
    """
    log_start = log.stat().st_size if log is not None and log.exists() else 0
    try:
        with nullcontext() if log is None else open_to_append(log) as output:
            process = subprocess.Popen(
                [*_GATE, *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=None if log is None else subprocess.STDOUT,
                cwd=cwd,
                env={**environment, **guard.environment},
                start_new_session=True,  # Ctrl-C goes to the harness alone, which stops its children in order
                user=None if account is None else account.uid,
                group=None if account is None else account.gid,
                extra_groups=None if account is None else [],
                pass_fds=pass_fds,
            )
    except OSError as error:
        raise StackError(f"{name} cannot be started: {error}") from error
    child = Child(name, process, log, stop_signal, stops_group, log_start)
    try:
        guard.adopt(process.pid, stop_signal)
        admit(process.pid)
        _open_gate(child)
    except BaseException:
        child.stop(grace_s=0)
        raise
    return child


def _open_gate(child: Child) -> None:
    """Let the shell become the command. Raises StackError when it has ended before."""
    gate = child.process.stdin
    assert gate is not None  # noqa: S101  # it was opened with a pipe
    try:
        try:
            gate.write(b"go\n")
        finally:
            gate.close()
    except BrokenPipeError:
        with suppress(subprocess.TimeoutExpired):  # then it has closed its input, and lives
            child.process.wait(_KILL_TIMEOUT_S)
        child.check_alive()
        raise StackError(f"{child.name} cannot be started: it closed its input before it ran") from None


def tail(log: Path, lines: int = 15, start: int = 0) -> tuple[str, ...]:
    """The last lines of a log, from byte `start` on; empty when there is none."""
    try:
        with open_to_read(log) as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(start, end - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ()
    return tuple(line for line in text.splitlines() if line.strip())[-lines:]


def _ended(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _kill(process: psutil.Process) -> None:
    with suppress(psutil.Error):  # ended meanwhile
        process.kill()


def _reaped(process: subprocess.Popen[bytes], timeout_s: float) -> bool:
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return False
    return True
