"""A guard process ends everything that the harness started, even if the harness is killed."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self

import psutil

from rushhour.errors import StackError

OWNER: Final = "RUSHHOUR_OWNER"
SWEEP_S: Final = 8.0  # the processes have ended this long after the harness's death
CLOSE_TIMEOUT_S: Final = SWEEP_S + 20.0  # commands may still run then


class Guard:
    """Starts the reaper and registers processes and paths with it; each command has one guard.

    The guard holds the only write end of a pipe that `rushhour.process.reaper` reads. When the harness ends,
    by whatever means, the kernel closes the pipe. The reaper then ends every process that was adopted or
    carries the mark of `environment`, and removes the registered paths. It runs in a session of its own, so
    that Ctrl-C in the terminal reaches the harness alone.
    """

    def __init__(self) -> None:
        self.owner: Final = uuid.uuid4().hex
        self._reaper: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment variables for every child; they carry the mark by which the reaper finds it."""
        return MappingProxyType({OWNER: self.owner})

    def adopt(self, pid: int, stop: signal.Signals = signal.SIGTERM) -> None:
        """Register a process that the reaper ends, with `stop` as the first signal.

        The mark alone is not enough for programs that overwrite their environment, as PostgreSQL's do.
        """
        try:
            created = psutil.Process(pid).create_time()
        except psutil.NoSuchProcess:
            return  # ended already
        self._send(do="adopt", pid=pid, created=created, signal=int(stop))

    def remove_at_death(self, path: Path) -> None:
        """Register a directory that the reaper removes; a control group is emptied first."""
        self._send(do="remove", path=str(path))

    def run_at_death(self, command: Sequence[str]) -> None:
        """Register a command that the reaper runs once the processes have ended; it has a dozen seconds.

        This is for containers and the like, which are children of their engine and get no signal from us.
        """
        self._send(do="run", command=list(command))

    def no_longer_run(self, command: Sequence[str]) -> None:
        """Withdraw a command of `run_at_death`, because its work has already been done."""
        self._send(do="forget", command=list(command))

    def __enter__(self) -> Self:
        package_root = str(Path(__file__).resolve().parents[2])
        python_path = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH")]))
        self._reaper = subprocess.Popen(
            [sys.executable, "-m", "rushhour.process.reaper", self.owner, str(SWEEP_S)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd="/",
            env={**os.environ, "PYTHONPATH": python_path},
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the reaper sweep, and wait for it; after an orderly end it finds nothing."""
        reaper, self._reaper = self._reaper, None
        assert reaper is not None  # noqa: S101  # __exit__ comes after __enter__
        assert reaper.stdin is not None  # noqa: S101  # it was opened with a pipe
        with suppress(BrokenPipeError):  # the reaper has ended; the exit code below says why
            reaper.stdin.close()
        try:
            code = reaper.wait(timeout=CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            reaper.kill()
            code = reaper.wait(timeout=CLOSE_TIMEOUT_S)
        if code != 0 and error is None:
            raise StackError(
                f"the guard process ended with {code}: a process, directory or container of this run may be "
                f"left over; look for {OWNER}={self.owner} in the processes' environments"
            )

    def _send(self, **message: object) -> None:
        reaper = self._reaper
        if reaper is None or reaper.stdin is None:
            raise StackError("the guard is not on: use it as `with Guard() as guard`")
        try:
            # One line is shorter than PIPE_BUF, so it arrives whole or not at all.
            reaper.stdin.write(json.dumps(message).encode() + b"\n")
            reaper.stdin.flush()
        except BrokenPipeError:
            raise StackError(
                f"the guard process {reaper.pid} has ended; without it nothing may be started"
            ) from None
