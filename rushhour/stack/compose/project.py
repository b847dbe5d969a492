"""What a Compose project leaves in the engine, found by label and removed: also after the harness has died.

Run as `python -m rushhour.stack.compose.project BASE_URL PROJECT`: the guard does when the harness ends.
"""

import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Final

import docker
from docker import APIClient
from docker.errors import APIError, NotFound

from rushhour.errors import StackError
from rushhour.process.waiting import came_true
from rushhour.stack.compose.engine import ENGINE_ERRORS, last_reason
from rushhour.stack.owner import WORK_LABEL, has_ended

PROJECT_LABEL: Final = "rushhour.project"

REMOVE_TIMEOUT_S: Final = 30.0
DEATH_TIMEOUT_S: Final = 8
SETTLE_S: Final = 0.6  # a request that a killed `docker compose` had sent is still carried out
POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Part:
    """One container, volume, network or image of ours, as the engine lists it."""

    kind: str
    name: str
    labels: dict[str, str]
    remove: Callable[[], object]

    def refusal(self) -> str | None:
        """Remove it; why that is not possible now, or None when it is gone, whoever removed it."""
        try:
            self.remove()
        except NotFound:
            return None
        except APIError as error:
            return f"{self.kind} {self.name}: {error.explanation or error}"
        return None


def parts(api: APIClient, label: str) -> list[Part]:
    """List what carries the label (`name` or `name=value`): containers first, since they hold the others."""
    filters = {"label": label}
    found = [
        Part(
            "container",
            container["Names"][0].lstrip("/") if container["Names"] else container["Id"][:12],
            container["Labels"],
            partial(api.remove_container, container["Id"], v=True, force=True),
        )
        for container in api.containers(all=True, filters=filters)
    ]
    found += [
        Part(
            "volume", volume["Name"], volume["Labels"], partial(api.remove_volume, volume["Name"], force=True)
        )
        for volume in api.volumes(filters=filters)["Volumes"] or ()
    ]
    found += [
        Part("network", network["Name"], network["Labels"], partial(api.remove_network, network["Id"]))
        for network in api.networks(filters=filters)
    ]
    found += [  # built for one run, from a Compose file of the user's
        Part("image", image["Id"], image["Labels"], partial(api.remove_image, image["Id"], force=True))
        for image in api.images(filters=filters)
    ]
    return found


def remove_project(
    api: APIClient, project: str, timeout_s: float = REMOVE_TIMEOUT_S, settle_s: float = 0.0
) -> None:
    """Remove its containers, volumes, networks and images, until nothing has been seen of it for `settle_s`.

    Raises StackError that names what is left.
    """
    label = f"{PROJECT_LABEL}={project}"
    seen_s = time.monotonic()
    refusals: list[str] = []

    def gone() -> bool:
        nonlocal seen_s, refusals
        if found := parts(api, label):
            seen_s = time.monotonic()
            refusals = [why for part in found if (why := part.refusal()) is not None]
            found = found if refusals else parts(api, label)
        return not found and time.monotonic() - seen_s >= settle_s

    if not came_true(gone, timeout_s, poll_s=POLL_S):
        raise StackError(f"project {project} was not removed within {timeout_s:g} s; left are:", refusals)


def remove_dead_projects(api: APIClient) -> list[str]:
    """Remove the projects whose harness has certainly ended, without its guard; returns their names."""
    labels: dict[str, dict[str, str]] = {}
    for part in parts(api, PROJECT_LABEL):
        if WORK_LABEL in part.labels:
            labels[part.labels[PROJECT_LABEL]] = part.labels
    dead = sorted(project for project, found in labels.items() if has_ended(found))
    for project in dead:
        remove_project(api, project)
    return dead


def removal_command(base_url: str, project: str) -> list[str]:
    """Return what the guard runs when the harness ends."""
    return [sys.executable, "-m", "rushhour.stack.compose.project", base_url, project]


def main() -> int:
    """Remove one project, whatever state it is in; exits 1 when something is left."""
    base_url, project = sys.argv[1:]
    try:
        with closing(docker.APIClient(base_url=base_url, version="auto", timeout=DEATH_TIMEOUT_S)) as api:
            remove_project(api, project, timeout_s=DEATH_TIMEOUT_S, settle_s=SETTLE_S)
    except (StackError, *ENGINE_ERRORS) as error:
        what = str(error) if isinstance(error, StackError) else last_reason(error)
        sys.stderr.write(f"project {project} was not removed: {what}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
