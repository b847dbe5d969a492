"""Start a child process behind a gate: it runs only once the guard knows it and its limits are set."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from rushhour.errors import ServiceDiedError, StackError
from rushhour.process.guard import Guard

# The shell waits for a line on its standard input, then becomes the command under the same pid. When the
# harness dies before it sent the line, `read` meets the end of the pipe and the command never starts.
_GATE: Final = ("/bin/sh", "-c", 'read -r go && exec "$@" </dev/null', "gate")
_KILL_TIMEOUT_S: Final = 5.0
_TAIL_BYTES: Final = 16_384


@dataclass(frozen=True, slots=True)
class Account:
    """An operating system's user that a child runs as."""

    name: str
    uid: int
    gid: int


@dataclass(slots=True)
class Child:
    """A process that was started, and the file that its output goes to."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    stop_signal: signal.Signals
    _log_start: int = field(default=0)
    is_service: bool = False  # the service under test, whose end is the release's fault

    @property
    def pid(self) -> int:
        return self.process.pid

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        return self.process.poll()

    def tail(self, lines: int = 15) -> tuple[str, ...]:
        """The last lines that this process wrote."""
        return tail(self.log, lines, self._log_start)

    def check_alive(self) -> None:
        """Raises StackError, with the log's last lines, when the process has ended."""
        code = self.poll()
        if code is not None:
            message = f"{self.name} {_ended(code)}; the last lines of {self.log}:"
            if self.is_service:
                raise ServiceDiedError(_how(code), message, self.tail())
            raise StackError(message, self.tail())

    def stop(self, grace_s: float) -> None:
        """Its stop signal, then SIGKILL to it and all its descendants when the grace is over. Never raises.

        What could outlive this is the guard's to report; an error here would mask the first one.
        """
        family = _family(self.pid)
        if self.poll() is None:
            self.process.send_signal(self.stop_signal)
            _reaped(self.process, grace_s)
        for member in family:
            if member.pid != self.pid:
                _kill(member)
        if self.poll() is None:
            self.process.kill()
            _reaped(self.process, _KILL_TIMEOUT_S)
        psutil.wait_procs([one for one in family if one.pid != self.pid], timeout=_KILL_TIMEOUT_S)


def start(
    guard: Guard,
    name: str,
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    cwd: Path | None = None,
    account: Account | None = None,
    stop_signal: signal.Signals = signal.SIGTERM,
    admit: Callable[[int], None] = lambda _pid: None,
) -> Child:
    """Start a command in a session of its own, with its output appended to `log`.

    `admit(pid)` sets its limits before it runs. Raises StackError when it cannot be started.
    """
    log_start = log.stat().st_size if log.exists() else 0
    try:
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*_GATE, *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={**environment, **guard.environment},
                start_new_session=True,  # Ctrl-C goes to the harness alone, which stops its children in order
                user=None if account is None else account.uid,
                group=None if account is None else account.gid,
                extra_groups=None if account is None else [],
            )
    except OSError as error:
        raise StackError(f"{name} cannot be started: {error}") from error
    child = Child(name, process, log, stop_signal, log_start)
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


def run_tool(
    guard: Guard,
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    account: Account | None,
    timeout_s: float,
) -> None:
    """Run a short command to its end. Raises StackError with its output's last lines when it fails."""
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",  # the harness's own directory may be closed to the account
            env={**environment, **guard.environment},
            timeout=timeout_s,
            check=False,
            start_new_session=True,
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
        )
    except subprocess.TimeoutExpired as error:
        seen = (error.output or b"").decode(errors="replace").splitlines()[-15:]
        raise StackError(f"{name} did not end within {timeout_s:g} s; it wrote:", seen) from None
    except OSError as error:
        raise StackError(f"{name} cannot be started: {error}") from error
    if done.returncode != 0:
        seen = done.stdout.decode(errors="replace").splitlines()[-15:]
        raise StackError(f"{name} failed with exit code {done.returncode}; it wrote:", seen)


def tail(log: Path, lines: int = 15, start: int = 0) -> tuple[str, ...]:
    """The last lines of a log, from byte `start` on; empty when there is none."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(start, end - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ()
    return tuple(line for line in text.splitlines() if line.strip())[-lines:]


def wait_until(
    what: str,
    probe: Callable[[], str | None],
    child: Child,
    timeout_s: float,
    poll_s: float = 0.02,
) -> None:
    """Wait until `probe` returns None; until then it says what it saw instead.

    Raises StackError, with the log's last lines, when the child ends or the time is over.
    """
    began_s = time.monotonic()
    while (seen := probe()) is not None:
        child.check_alive()
        waited_s = time.monotonic() - began_s
        if waited_s > timeout_s:
            raise StackError(
                f"waited {waited_s:.1f} s for {what}; last seen: {seen}; the last lines of {child.log}:",
                child.tail(),
            )
        time.sleep(poll_s)


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
