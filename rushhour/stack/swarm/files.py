"""What a fleet passes to `docker stack deploy`: infra/stack.yaml with what no variable can carry (pure)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from rushhour.agent.environment import OUT_VARIABLE
from rushhour.scenario.model import Scenario
from rushhour.stack.compose.files import (
    LOGS,
    POOLS,
    SERVICE_PORT,
    container_environment,
    database_url,
    escaped,
)
from rushhour.stack.compose.images import Image
from rushhour.stack.fleet import SIBLINGS, TARGET
from rushhour.stack.processes.service import fill_in, placeholders, service_command

SERVER_PORT: Final = 5432
SERVERS: Final = ("primary", "replica")
# A task's pid is the same in every container, so each writes into a directory of its own.
OWN_DIRECTORY: Final = f"{POOLS}/{{{{.Task.ID}}}}"
PROBE: Final = "/rushhour/docker/service-health.sh"
_MAKE_DIRECTORY: Final = f'mkdir -p "${OUT_VARIABLE}" && exec "$@"'


@dataclass(frozen=True, slots=True)
class Fixed:
    """The host-mode ports that no update changes, by service."""

    ports: Mapping[str, int]


def stack_file(
    template: Path,
    scenario: Scenario,
    image: Image,
    password: str,
    fixed: Fixed,
    *,
    servers_only: bool = False,
) -> str:
    """Return the stack as JSON, which is YAML: the asked siblings, commands, environments, ports."""
    stack: dict[str, Any] = YAML(typ="safe", pure=True).load(template.read_text(encoding="utf-8"))
    services: dict[str, Any] = {
        name: dict(service)
        for name, service in stack["services"].items()
        if name in SERVERS or (not servers_only and (name == TARGET or name in fixed.ports))
    }
    for name, service in services.items():
        port = SERVER_PORT if name in SERVERS else SERVICE_PORT
        if name in fixed.ports:
            service["ports"] = [{"target": port, "published": fixed.ports[name], "mode": "host"}]
        if name in SIBLINGS:
            service.update(escaped(_sibling(scenario, password, name)))
    if TARGET in services:
        own = escaped(_target(scenario, image, password))
        health = services[TARGET]["healthcheck"] | own.pop("healthcheck")
        services[TARGET] |= own | {"healthcheck": health}
    cores = scenario.postgres.replica_cores
    if cores is not None:
        services["replica"]["deploy"] = services["replica"]["deploy"] | {
            "resources": {"limits": {"cpus": f"{cores:g}"}}
        }
    kept = {name: part for name, part in stack.items() if not name.startswith("x-")}
    return json.dumps(kept | {"services": services}, indent=1)


def _values(scenario: Scenario, password: str, name: str) -> dict[str, str]:
    primary, replica = (database_url(server, password, name) for server in SERVERS)
    return placeholders(scenario, SERVICE_PORT, primary, replica, LOGS) | {
        "python": "python",
        "host": "0.0.0.0",  # noqa: S104  # inside its container
    }


def _target(scenario: Scenario, image: Image, password: str) -> dict[str, Any]:
    values = _values(scenario, password, scenario.target.name)
    environment = container_environment(scenario, values, image)
    del environment["REFERRALS_RELEASE"]  # the image says which it is: an update changes the image alone
    return {
        "command": ["sh", "-c", _MAKE_DIRECTORY, "sh", *service_command(scenario, values)],
        "environment": environment | {OUT_VARIABLE: OWN_DIRECTORY},
        "healthcheck": {"test": ["CMD", PROBE, str(SERVICE_PORT), scenario.target.health]},
    }


def _sibling(scenario: Scenario, password: str, name: str) -> dict[str, Any]:
    """Define a light service: two threads, a connection, no agent, no access log."""
    values = _values(scenario, password, name) | {"pool_size": "1", "max_overflow": "0"}
    asked = {**scenario.target.environment, **scenario.service.environment}
    environment = {key: fill_in(value, values, f"service.environment.{key}") for key, value in asked.items()}
    environment.pop("REFERRALS_RELEASE", None)
    return {
        "command": [
            *("python", "-m", "gunicorn", "app:create_app()", "--bind", f"0.0.0.0:{SERVICE_PORT}"),
            *("--worker-class", "gthread", "--workers", "1", "--threads", "2", "--no-control-socket"),
        ],
        "environment": environment,
    }
