"""The variables and the generated file that a run passes to infra/compose.yaml (pure)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rushhour.agent.environment import INJECT_DIR, METRICS_VARIABLE, OUT_VARIABLE
from rushhour.scenario.model import SERVERS, Scenario
from rushhour.stack.compose.engine import Engine
from rushhour.stack.compose.images import Image
from rushhour.stack.postgres.server import DATABASE, ROLE
from rushhour.stack.processes.cgroups import quota, spread, weight
from rushhour.stack.processes.service import fill_in, placeholders, service_command

SERVICE_PORT: Final = 8000  # inside the container
SERVER_PORT: Final = 5432
METRICS_PORT: Final = 9464  # where the agent serves them inside the container, for Prometheus
AGENT: Final = "/rushhour/agent"
POOLS: Final = "/rushhour/pools"
LOGS: Final = Path("/rushhour/logs")

PARTS: Final = ("primary", "replica", "service")
ALERTING_PARTS: Final = ("pager", "alertmanager", "prometheus")  # as each needs the one before
_UNPACK_BYTES_PER_S: Final = 10_000_000  # far slower than any disk: a deadline, not a forecast


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the parts are published on the loopback interface."""

    primary: int
    replica: int
    service: int

    def variables(self) -> dict[str, str]:
        """Return the variables of infra/compose.yaml."""
        return {f"RUSHHOUR_{part.upper()}_PORT": str(getattr(self, part)) for part in PARTS}


@dataclass(frozen=True, slots=True)
class CpuLimit:
    """The CPU settings of a container; without `cores`, only its weight."""

    cores: float | None
    shares: int
    quota_us: int
    period_us: int
    cpuset: str
    words: str


def cpu_limit(cores: float | None, nice: int, engine: Engine) -> CpuLimit:
    """Return the quota, period and CPUs that the embedded stack gives its groups, so that both are alike."""
    shares = weight(nice)
    by = f"by the engine (cgroup v{engine.cgroups})"
    if cores is None:
        return CpuLimit(None, shares, 0, 0, "", f"weight of nice {nice} among the containers {by}")
    cpus = spread(cores, engine.cpus)
    quota_us, period_us = quota(cores, cpus)
    cpuset = f"{engine.cpus - cpus}-{engine.cpus - 1}" if cpus < engine.cpus else ""
    parts = [f"{cores:g} cores"]
    if cpuset:
        parts.append(f"{cpus} of {engine.cpus} CPUs")
    parts.append(f"weight of nice {nice} among the containers")
    return CpuLimit(cores, shares, quota_us, period_us, cpuset, f"{', '.join(parts)} {by}")


def cpu_limits(scenario: Scenario, engine: Engine) -> dict[str, CpuLimit]:
    """Return a limit for each part."""
    postgres = scenario.postgres
    return {
        "primary": cpu_limit(postgres.primary_cores, postgres.nice, engine),
        "replica": cpu_limit(postgres.replica_cores, postgres.nice, engine),
        "service": cpu_limit(None, scenario.service.nice, engine),
    }


@dataclass(frozen=True, slots=True)
class Places:
    """Directories of one run on this machine."""

    work: Path
    private: Path  # secrets; only the owner enters it
    pools: Path
    logs: Path
    notifications: Path  # the file that the pager appends to


@dataclass(frozen=True, slots=True)
class ImageNames:
    """The image names of the parts."""

    postgres: str
    python: str
    service: str


def variables(
    project: str,
    scenario: Scenario,
    engine: Engine,
    *,
    places: Places,
    ports: Ports,
    images: ImageNames,
) -> dict[str, str]:
    """Return every RUSHHOUR_ variable of infra/compose.yaml."""
    found = {
        "PROJECT": project,
        "WORK": str(places.work),
        "PRIVATE": str(places.private),
        "AGENT": str(INJECT_DIR.parent),
        "AGENT_OUT": str(places.pools),
        "LOGS": str(places.logs),
        "POSTGRES_IMAGE": images.postgres,
        "PYTHON_IMAGE": images.python,
        "SERVICE_IMAGE": images.service,
        "RELEASE": scenario.release,
        "MAX_CONNECTIONS": str(scenario.postgres.max_connections),
        "PUBLISH": engine.publish,
        "HEALTH": scenario.target.health,
        # Without start_interval each probe is a program started in the container during the whole run.
        "PROBE_INTERVAL": "10s" if engine.has_start_interval else "2s",
    }
    for part, limit in cpu_limits(scenario, engine).items():
        found[f"{part.upper()}_SHARES"] = str(limit.shares)
        if part != "service":
            found[f"{part.upper()}_QUOTA"] = str(limit.quota_us)
            found[f"{part.upper()}_PERIOD"] = str(limit.period_us)
            found[f"{part.upper()}_CPUSET"] = limit.cpuset
    return ports.variables() | {f"RUSHHOUR_{name}": value for name, value in found.items()}


def start_period_s(template_bytes: int) -> int:
    """Return how long a server may take to become healthy, as it first copies the data."""
    return 60 + template_bytes // _UNPACK_BYTES_PER_S


def database_url(server: str, password: str, application_name: str) -> str:
    """Return SQLAlchemy's URL of the service's role, as the service reaches that server."""
    return (
        f"postgresql+psycopg2://{ROLE}:{password}@{server}:{SERVER_PORT}/{DATABASE}"
        f"?application_name={application_name}"
    )


def generated_file(
    scenario: Scenario, engine: Engine, image: Image, password: str, *, metrics: bool = False
) -> str:
    """Return a Compose file (JSON is YAML) with what no variable can carry: lists and free text.

    With `metrics` the agent serves them on METRICS_PORT within the project's network.
    """
    values = placeholders(
        scenario,
        SERVICE_PORT,
        database_url("primary", password, scenario.target.name),
        database_url("replica", password, scenario.target.name),
        LOGS,
    ) | {"python": "python", "host": "0.0.0.0"}  # noqa: S104  # inside its container; published on loopback
    address = f"http://127.0.0.1:{SERVICE_PORT}{scenario.target.health}"
    service: dict[str, Any] = {
        "command": service_command(scenario, values),
        "environment": container_environment(scenario, values, image)
        | ({METRICS_VARIABLE: f"0.0.0.0:{METRICS_PORT}"} if metrics else {}),
        # -I: a probe is no process of the service, so the agent must not start in it.
        "healthcheck": {
            "test": [
                "CMD",
                "python",
                "-I",
                "-c",
                f"import urllib.request as r; r.urlopen({address!r}, timeout=4)",
            ]
        },
    }
    parts: dict[str, dict[str, Any]] = {part: {} for part in PARTS} | {"service": service}
    if engine.has_start_interval:
        for part in parts.values():
            part.setdefault("healthcheck", {})["start_interval"] = "250ms"
    return json.dumps(escaped({"services": parts}), indent=1)


def servers_file(engine: Engine) -> str:
    """Return a file for the servers alone, which another Compose project reaches by names of their own."""
    parts: dict[str, dict[str, Any]] = {
        server: {"networks": {"default": {"aliases": [alias(server)]}}} for server in SERVERS
    }
    if engine.has_start_interval:
        for part in parts.values():
            part["healthcheck"] = {"start_interval": "250ms"}
    return json.dumps({"services": parts}, indent=1)


def alias(server: str) -> str:
    """Return a server's name in another project's network, where `primary` may be taken."""
    return f"rushhour-{server}"


def container_environment(scenario: Scenario, values: Mapping[str, str], image: Image) -> dict[str, str]:
    """Return the scenario's variables, and those that start the agent; the image's own stay as they are."""
    asked = asked_environment(scenario, values)
    path = asked.get("PYTHONPATH", image.environment.get("PYTHONPATH", ""))
    python_path = ":".join([f"{AGENT}/inject", *(entry for entry in path.split(":") if entry)])
    return asked | {"PYTHONPATH": python_path, OUT_VARIABLE: POOLS}


def asked_environment(scenario: Scenario, values: Mapping[str, str]) -> dict[str, str]:
    """Return the scenario's variables. Raises UsageError for braces that are not known."""
    return {
        name: fill_in(text, values, f"service.environment.{name}")
        for name, text in {**scenario.target.environment, **scenario.service.environment}.items()
    }


def escaped(value: Any) -> Any:
    """Escape dollar signs, which Compose would read as variables."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, list):
        return [escaped(entry) for entry in value]
    if isinstance(value, dict):
        return {key: escaped(entry) for key, entry in value.items()}
    return value
