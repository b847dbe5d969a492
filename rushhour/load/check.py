"""Checks locustfiles before anything starts, by importing each in a separate process."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from rushhour.errors import UsageError
from rushhour.load.locust import base_environment, customer_settings
from rushhour.scenario.model import Scenario

IMPORT_TIMEOUT_S: Final = 60.0
PROBE: Final = Path(__file__).with_name("locustfile_probe.py")
_TAIL_LINES: Final = 5


def check_locustfiles(scenarios: Iterable[Scenario]) -> None:
    """Raise UsageError, with file and line, if Locust cannot run the locustfiles of these scenarios."""
    wanted = {
        (Path(scenario.target.root).resolve(), scenario.load.locustfile): scenario for scenario in scenarios
    }
    problems = [
        problem
        for (root, name), scenario in wanted.items()
        for problem in locustfile_problems(root / name, root, customer_settings(scenario))
    ]
    if problems:
        raise UsageError(problems)


def locustfile_problems(path: Path, folder: Path, settings: Mapping[str, str] | None = None) -> list[str]:
    """Return the problems of a locustfile that runs in `folder`, as lines of `FILE:LINE: message`."""
    if not path.is_file():
        return [f"{path}: no such locustfile"]
    # Files, not pipes: a process that the locustfile starts may keep a pipe open.
    with (
        tempfile.TemporaryFile("w+", errors="replace") as answer,
        tempfile.TemporaryFile("w+", errors="replace") as log,
    ):
        process = subprocess.Popen(
            [sys.executable, str(PROBE), str(path), str(IMPORT_TIMEOUT_S + 5.0)],
            stdin=subprocess.DEVNULL,
            stdout=answer,
            stderr=log,
            cwd=folder,
            env=base_environment() | dict(settings or {}),
            start_new_session=True,
        )
        try:
            code = process.wait(IMPORT_TIMEOUT_S)
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


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and those that the locustfile started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # the whole group has ended
    process.wait()
