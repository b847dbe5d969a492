"""Calls rushhour's commands many times in one process of its own, and ends that process when a call hangs."""

import json
import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

ROOT = Path(__file__).parents[2]
STARTUP_S = 60.0
PATIENCE = (
    6  # a call is slow by its own time on the CPU; one that waits for nothing ends after so many deadlines
)


@dataclass(frozen=True, slots=True)
class Answer:
    """How a call ended: its exit code (None: it hung, or its process died), its words, what it needed."""

    code: int | None
    output: str
    seconds: float
    grown_mb: float


class Caller:
    """A process that answers calls, one after the other; a new one is started after one that hung."""

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, *arguments: str) -> Answer:
        process = self._process or self._start()
        assert process.stdin is not None
        began = time.monotonic()
        process.stdin.write(json.dumps(arguments).encode() + b"\n")
        process.stdin.flush()
        line = self._line(process, self._deadline_s * PATIENCE, cpu_s=_cpu_s(process.pid) + self._deadline_s)
        seconds = time.monotonic() - began
        if line is None:
            died = process.poll()
            self.close()
            how = "no answer" if died is None else f"the process ended with {died}"
            return Answer(None, how, seconds, 0.0)
        code, output, grown_mb = json.loads(line)
        return Answer(code, output, seconds, grown_mb)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.answerer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            bufsize=0,
            env={**os.environ, "COLUMNS": "200"},
        )
        if self._line(self._process, STARTUP_S) is None:
            self.close()
            raise RuntimeError(f"the process that calls rushhour was not ready after {STARTUP_S:.0f} s")
        return self._process

    def _line(
        self, process: subprocess.Popen[bytes], within_s: float, cpu_s: float = float("inf")
    ) -> bytes | None:
        """The next line; None once the time is over, or the process has used so much of the CPU."""
        assert process.stdout is not None
        deadline, read = time.monotonic() + within_s, b""
        while not read.endswith(b"\n"):
            if not select.select([process.stdout], [], [], 0.5)[0]:
                if time.monotonic() > deadline or _cpu_s(process.pid) > cpu_s:
                    return None
                continue
            more = b""
            with suppress(OSError):
                more = os.read(process.stdout.fileno(), 1 << 16)
            if not more:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=5)
                return None
            read += more
        return read


def _cpu_s(pid: int) -> float:
    """Seconds on the CPU so far, with those of children that ended; 0 when the process is gone."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)
