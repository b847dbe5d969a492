"""The Compose stack in a campaign of kills: processes within containers, and what an engine still holds."""

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import psutil
from docker import DockerClient
from docker.errors import APIError, NotFound

from rushhour.stack.compose.engine import find_engine
from rushhour.stack.compose.project import PROJECT_LABEL, parts

SERVICE_LABEL = "com.docker.compose.service"
INITS = ("docker-init", "tini")  # they stand before what a container was started for


class EngineSeen:
    """What the engine held before the campaign, and what of ours it holds now."""

    def __init__(self, client: DockerClient) -> None:
        self._client = client
        self._before = self._everything()

    def left(self) -> list[str]:
        """Containers, volumes and networks that were not there before; of images only those of one run."""
        marked = [f"{part.kind} {part.name}" for part in parts(self._client.api, PROJECT_LABEL)]
        return sorted({*marked, *(self._everything() - self._before)})

    def victims(self) -> dict[str, list[psutil.Process]]:
        """Processes of our containers by role: the server or service itself, and each other process of it.

        The engine has to run on this machine: its processes are ended by their numbers here.
        """
        found: dict[str, list[psutil.Process]] = {}
        for container in self._client.containers.list(filters={"label": PROJECT_LABEL}, ignore_removed=True):
            name = container.labels.get(SERVICE_LABEL, "container")
            with suppress(psutil.Error, APIError, NotFound):
                main = _main(psutil.Process(container.attrs["State"]["Pid"]))
                found.setdefault(name, []).append(main)
                kind = "worker" if name == "service" else "backend"
                if below := main.children(recursive=True):
                    found.setdefault(f"{name}'s {kind}", []).extend(below)
        return found

    def _everything(self) -> set[str]:
        api = self._client.api
        return {
            *(f"container {found['Id'][:12]}" for found in api.containers(all=True)),
            *(f"volume {found['Name']}" for found in api.volumes()["Volumes"] or ()),
            *(f"network {found['Name']}" for found in api.networks()),
        }


def _main(process: psutil.Process) -> psutil.Process:
    """The process that a container was started for: the first, or the child of an init."""
    children = process.children()
    return children[0] if process.name() in INITS and len(children) == 1 else process


@contextmanager
def engine_seen() -> Iterator[EngineSeen]:
    """The engine that rushhour would use. Raises StackError where there is none."""
    with closing(find_engine().client()) as client:
        yield EngineSeen(client)
