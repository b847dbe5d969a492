"""Finds the container that made `docker compose up` fail, and the reason."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from docker import DockerClient
from docker.models.containers import Container

from rushhour.errors import StackError
from rushhour.process.regular import write_new
from rushhour.stack.compose.engine import ENGINE_ERRORS
from rushhour.stack.compose.files import ALERTING_PARTS, PARTS
from rushhour.stack.compose.project import PROJECT_LABEL
from rushhour.stack.compose.template import last_lines

COMPOSE_LABEL: Final = "com.docker.compose.project"  # a user's own project beside ours has another one
SERVICE_LABEL: Final = "com.docker.compose.service"
ONE_OFF_LABEL: Final = "com.docker.compose.oneoff"  # "True": the seeding server


def containers(client: DockerClient, project: str) -> dict[str, Container]:
    """Return the project's containers by part, in the order in which they are started."""
    labels = [f"{PROJECT_LABEL}={project}", f"{COMPOSE_LABEL}={project}"]
    found = client.containers.list(all=True, filters={"label": labels}, ignore_removed=True)
    by_part = {
        "template"
        if container.labels.get(ONE_OFF_LABEL) == "True"
        else container.labels.get(SERVICE_LABEL, "?"): container
        for container in found
    }
    return {part: by_part[part] for part in ("template", *PARTS, *ALERTING_PARTS) if part in by_part}


def explain(client: DockerClient, project: str, failure: StackError) -> StackError:
    """Return the failure of `docker compose up`, with the container that caused it if known."""
    try:
        return blame(containers(client, project), failure)
    except ENGINE_ERRORS:
        return failure  # the engine itself is gone, as `docker compose` has said


def blame(found: Mapping[str, Container], failure: StackError) -> StackError:
    """Return an error for the first container that ended or is not healthy; else the given failure."""
    states = {part: (container, container.attrs["State"]) for part, container in found.items()}
    for problem in (_ended, _unhealthy, _unfinished):
        for part, (container, state) in states.items():
            if (what := problem(state)) is not None:
                return StackError(f"{part} {what}; the last lines of its log:", last_lines(container))
    return failure


def _ended(state: dict[str, Any]) -> str | None:
    if state["Status"] in ("exited", "dead"):
        why = " (out of memory)" if state.get("OOMKilled") else ""
        return f"ended with exit code {state['ExitCode']}{why}"
    return None


def _unhealthy(state: dict[str, Any]) -> str | None:
    health = state.get("Health") or {}
    return (
        f"is unhealthy; its probe said: {last_probe(health)}" if health.get("Status") == "unhealthy" else None
    )


def _unfinished(state: dict[str, Any]) -> str | None:
    health = state.get("Health") or {}
    if state["Status"] == "running" and health.get("Status") == "starting":
        return f"did not become healthy in time; its probe said: {last_probe(health)}"
    return None


def last_probe(health: dict[str, Any]) -> str:
    """Return the last line that the newest health probe wrote."""
    probes = health.get("Log") or ()
    lines = (
        [line.strip() for line in str(probes[-1]["Output"]).splitlines() if line.strip()] if probes else []
    )
    return lines[-1] if lines else "nothing"


def save_logs(found: Callable[[], Mapping[str, Container]], logs: Path) -> None:
    """Write the whole log of each container whose log file is missing."""
    # An engine that is gone gives no logs; that it is gone is reported already.
    with suppress(*ENGINE_ERRORS):
        for part, container in found().items():
            log = logs / f"{part}.log"
            if not log.exists():
                write_new(log, container.logs())
