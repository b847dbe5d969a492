"""Locust's workers as containers of a project: started beside the service once a master waits for them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
from docker import DockerClient
from docker.models.containers import Container

from rushhour.stack.compose.command import ComposeCommand
from rushhour.stack.compose.files import SERVICE_PORT
from rushhour.stack.compose.project import PROJECT_LABEL

PART: Final = "locust-worker"
UP_TIMEOUT_S: Final = 60.0
MASTER_IN_VM: Final = "host.docker.internal"  # this machine, where the engine is in a virtual one
INSIDE: Final = (f"http://service:{SERVICE_PORT}", "service")
_SOURCE: Final = "/rushhour/source/rushhour"
_LOCUSTFILES: Final = "/rushhour/locustfiles"


@dataclass(frozen=True, slots=True)
class ComposeWorkers:
    """The workers of one project. `command` is what brought the project up."""

    command: ComposeCommand
    client: DockerClient
    private: Path

    def gateway(self) -> str | None:
        """Return this machine's address on the project's network; None: the engine is in another machine."""
        label = f"{PROJECT_LABEL}={self.command.project}"
        [network] = self.client.networks.list(filters={"label": label})
        configuration = network.attrs["IPAM"]["Config"] or [{}]
        address = str(configuration[0].get("Gateway", "")).partition("/")[0]
        own = {
            network_address.address for found in psutil.net_if_addrs().values() for network_address in found
        }
        return address if address in own else None

    def start(
        self, count: int, locustfile: Path, master_port: int, environment: Mapping[str, str]
    ) -> list[Container]:
        """Start `count` of them. Raises StackError, with what docker wrote, when they do not start."""
        generated = self.private / "workers.json"
        generated.touch(mode=0o600)
        worker = {
            "command": [
                *("python", "-m", "locust", "--worker"),
                *("-f", f"{_LOCUSTFILES}/{locustfile.name},{_SOURCE}/load/plugin.py"),
                *("--master-host", self.gateway() or MASTER_IN_VM, "--master-port", str(master_port)),
            ],
            "environment": dict(environment),
        }
        generated.write_text(json.dumps({"services": {PART: worker}}), encoding="utf-8")
        command = ComposeCommand(
            self.command.guard,
            self.command.engine,
            self.command.project,
            (*self.command.files, generated),
            {
                **self.command.variables,
                "RUSHHOUR_PACKAGE": str(Path(__file__).resolve().parents[2]),
                "RUSHHOUR_LOCUSTFILES": str(locustfile.parent),
            },
        )
        command.run(
            *("--profile", "workers", "up", "--detach", "--no-build", "--no-deps", "--no-recreate"),
            *("--scale", f"{PART}={count}", PART),
            timeout_s=UP_TIMEOUT_S,
        )
        labels = [f"{PROJECT_LABEL}={self.command.project}", f"com.docker.compose.service={PART}"]
        found = self.client.containers.list(all=True, filters={"label": labels})
        return sorted(found, key=lambda container: str(container.name))
