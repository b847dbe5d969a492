"""Checks locustfiles before anything starts, by importing each in a separate process."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from rushhour.errors import UsageError
from rushhour.load.locust import base_environment, customer_settings
from rushhour.scenario.model import Scenario

IMPORT_TIMEOUT_S: Final = 60.0
SAID_AFTER_S: Final = 5.0
_SPARE_S: Final = 10.0  # until the probe is killed: it ends by itself before
PROBE: Final = Path(__file__).with_name("locustfile_probe.py")
_TAIL_LINES: Final = 5


def check_locustfiles(scenarios: Iterable[Scenario], on_wait: Callable[[str], None]) -> None:
    """Raise UsageError, with file and line, if Locust cannot run the locustfiles of these scenarios.

    `on_wait` takes a line that says what is waited for, once that takes long.
    """
    wanted = {
        (Path(scenario.target.root).resolve(), scenario.load.locustfile): scenario for scenario in scenarios
    }
    problems = [
        problem
        for (root, name), scenario in wanted.items()
        for problem in locustfile_problems(root / name, root, on_wait, customer_settings(scenario))
    ]
    if problems:
        raise UsageError(problems)


def locustfile_problems(
    path: Path, folder: Path, on_wait: Callable[[str], None], settings: Mapping[str, str] | None = None
) -> list[str]:
    """Return the problems of a locustfile that runs in `folder`, as lines of `FILE:LINE: message`."""
    if not path.is_file():
        return [f"{path}: no such locustfile"]
    # Files, not pipes: a process that the locustfile starts may keep a pipe open.
    with (
        tempfile.TemporaryFile("w+", errors="replace") as answer,
        tempfile.TemporaryFile("w+", errors="replace") as log,
    ):
        process = subprocess.Popen(
            [sys.executable, str(PROBE), str(path), str(IMPORT_TIMEOUT_S)],
            stdin=subprocess.DEVNULL,
            stdout=answer,
            stderr=log,
            cwd=folder,
            env=base_environment() | dict(settings or {}),
            start_new_session=True,
        )
        try:
            code = _wait(process, path, on_wait)
        except subprocess.TimeoutExpired:
            return [f"{path}: its import has not ended after {IMPORT_TIMEOUT_S:g} s"]
        finally:
            _end(process)
        answer.seek(0)
        log.seek(0)
        said, logged = answer.read().strip(), log.read().strip()
    if code != 0 or not said:
        tail = logged.splitlines()[-_TAIL_LINES:]
        return [f"{path}: the process that imported it ended with exit code {code}:", *tail]
    return [
        f"{file}:{line}: {text}" if line else f"{file}: {text}"
        for file, line, text in json.loads(said.splitlines()[-1])
    ]


def _wait(process: subprocess.Popen[bytes], path: Path, on_wait: Callable[[str], None]) -> int:
    try:
        return process.wait(SAID_AFTER_S)
    except subprocess.TimeoutExpired:
        on_wait(f"waiting for the import of {path}, for {IMPORT_TIMEOUT_S:g} s at most")
        return process.wait(IMPORT_TIMEOUT_S - SAID_AFTER_S + _SPARE_S)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and those that the locustfile started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # the whole group has ended
    process.wait()
