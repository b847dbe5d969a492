"""Waits until the service in its container answers and its agent reports."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from docker.models.containers import Container

from rushhour.agent.environment import OUT_VARIABLE
from rushhour.errors import StackError
from rushhour.process.waiting import came_true, wait_until
from rushhour.stack.at_url import probe
from rushhour.stack.compose.engine import ENGINE_ERRORS
from rushhour.stack.compose.template import last_lines

HEALTHY_WITHIN_S: Final = 60.0
AGENT_WITHIN_S: Final = 3.0  # it reports before the first line of the service runs
POLL_S: Final = 0.1
_ANSWERS_NOT: Final = ("Connection", "RemoteDisconnected", "TimeoutError")
_NO_AGENT: Final = "to judge it as a black box, set `agent: false` or run with --no-agent"


def wait_healthy(
    container: Container, name: str, url: str, *, port: int, within_s: float = HEALTHY_WITHIN_S
) -> None:
    """Wait until the URL answers 200. Raises StackError with the last lines of the log."""

    def problem() -> str | None:
        seen = probe(url)
        if seen is not None and seen.startswith(_ANSWERS_NOT):
            return f"{seen} (does it listen on 0.0.0.0:{port} in its container?)"
        return seen

    def check() -> None:
        container.reload()
        if container.status != "running":
            raise StackError(
                f"service {name} {ended(container)}; the last lines of its log:", last_lines(container)
            )

    wait_until(
        f"service {name} to answer 200 at {url}",
        problem,
        within_s,
        "the last lines of its log:",
        check=check,
        tail=lambda: last_lines(container),
        poll_s=POLL_S,
    )


def ended(container: Container) -> str:
    """Say in words how it ended."""
    state = container.attrs["State"]
    why = " (out of memory)" if state.get("OOMKilled") else ""
    return f"is {state['Status']}, with exit code {state['ExitCode']}{why}"


def wait_for_agent(container: Container, name: str, reports: Path, within_s: float = AGENT_WITHIN_S) -> None:
    """Wait until the agent of a process reports. Raises StackError that says why none does."""
    if not came_true(lambda: any(reports.glob("*.jsonl")), within_s, poll_s=POLL_S):
        log = last_lines(container, lines=1000)
        why = why_silent(log, lambda python: _version(container, python))
        raise StackError(
            f"service {name} answers, and no agent reports from its container: {why} (after {within_s:g} s); "
            f"{_NO_AGENT}; the last lines of its log:",
            log[-15:],
        )


def why_silent(log: list[str], version_of: Callable[[str], str | None]) -> str:
    """Explain it from what the agent wrote to the log, else from the container's Python (pure)."""
    said = next((line.partition("rushhour agent: ")[2] for line in log if "rushhour agent: " in line), None)
    if said is not None:
        return f"it says: {said}"
    for python in ("python3", "python"):
        if (version := version_of(python)) is not None:
            return (
                f"it has {version}, and the service was started without the variable PYTHONPATH, or by "
                "`python -I` or `-E`"
            )
    return "it has no Python on its PATH, and the agent needs CPython 3.11 or newer"


def _version(container: Container, python: str) -> str | None:
    with suppress(*ENGINE_ERRORS):  # it ended meanwhile
        code, output = container.exec_run([python, "--version"], environment={OUT_VARIABLE: ""})
        if code == 0 and isinstance(output, bytes):  # not a stream: none was asked for
            return output.decode(errors="replace").strip()
    return None
