"""The user's Compose file as Compose understands it, and what in it cannot be run beside everything else."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

from rushhour.errors import StackError, UsageError
from rushhour.process.tools import ask_program
from rushhour.scenario.model import Scenario, Target
from rushhour.stack.compose.engine import Engine, numbers

MIN_COMPOSE: Final = (2, 24, 4)  # `!override` and `!reset`: the file's ports are replaced, not added to
CONFIG_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Bind:
    """A folder or file of this machine in a container."""

    local: Path
    inside: PurePosixPath


@dataclass(frozen=True, slots=True)
class UserService:
    """One service of the file, as far as it matters here."""

    name: str
    image: str | None = None
    context: str | None = None  # what it is built from: a folder, or an address
    ports: tuple[int, ...] = ()  # in the container, of those it publishes; else of those it exposes
    publishes: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    networks: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    binds: tuple[Bind, ...] = ()
    depends_on: tuple[str, ...] = ()
    network_mode: str | None = None
    container_name: str | None = None
    cores: float | None = None
    has_shares: bool = False
    has_restart_policy: bool = False
    has_replicas: bool = False


@dataclass(frozen=True, slots=True)
class UserFile:
    """The whole of it. Of a network or volume: whether it is external."""

    services: Mapping[str, UserService]
    networks: Mapping[str, bool]
    volumes: Mapping[str, bool]

    def started_with(self, name: str) -> list[UserService]:
        """Return the service, and what it depends on."""
        found: dict[str, UserService] = {}
        waiting = [name]
        while waiting:
            dependency = self.services.get(waiting.pop())
            if dependency is not None and dependency.name not in found:
                found[dependency.name] = dependency
                waiting += dependency.depends_on
        return list(found.values())


def read(engine: Engine, scenario: Scenario) -> UserFile:
    """Return the scenario's Compose file. Raises UsageError with all that is wrong with it."""
    target = scenario.target
    paths = files_of(target)
    file = read_user_file(engine, paths, variables_of(scenario))
    if problems := [f"{paths[0]}: {what}" for what in refusals(file, target.service, target.port)]:
        raise UsageError(problems)
    return file


def files_of(target: Target) -> tuple[Path, ...]:
    """Return absolute paths: Compose takes the first one's folder for the project's."""
    return tuple(Path(target.root, name).resolve() for name in target.compose)


def variables_of(scenario: Scenario) -> Mapping[str, str]:
    """Return what the file may hold as ${...}, beside what the caller's environment has."""
    return {"RUSHHOUR_RELEASE": scenario.release}


def read_user_file(engine: Engine, files: Sequence[Path], variables: Mapping[str, str]) -> UserFile:
    """Return what `docker compose config` makes of the files.

    Raises UsageError with what Compose says of them, and StackError when Compose cannot be asked.
    """
    if numbers(engine.compose) < MIN_COMPOSE:
        least = ".".join(map(str, MIN_COMPOSE))
        raise StackError(
            f"Compose {engine.compose} is too old for a Compose service as target: {least} is the least"
        )
    named = [part for path in files for part in ("--file", str(path))]
    command = ["docker", "compose", "--profile", "*", *named, "config", "--format", "json"]
    answer = ask_program(
        command,
        timeout_s=CONFIG_TIMEOUT_S,
        environment={**engine.environment, **variables},
        name="docker compose config",
    )
    if answer.returncode != 0:
        raise UsageError([f"{files[0]}: Compose refuses it: {' '.join(answer.stderr.split())}"])
    return parse_config(json.loads(answer.stdout))


def parse_config(plain: Mapping[str, Any]) -> UserFile:
    """Parse the output of `docker compose config --format json`, read as JSON."""
    return UserFile(
        {name: _service(name, service or {}) for name, service in (plain.get("services") or {}).items()},
        {
            name: bool((network or {}).get("external"))
            for name, network in (plain.get("networks") or {}).items()
        },
        {name: bool((volume or {}).get("external")) for name, volume in (plain.get("volumes") or {}).items()},
    )


def _service(name: str, plain: Mapping[str, Any]) -> UserService:
    deploy = plain.get("deploy") or {}
    limits = (deploy.get("resources") or {}).get("limits") or {}
    cores = plain.get("cpus") or limits.get("cpus")
    mounts = plain.get("volumes") or ()
    published = [port["target"] for port in plain.get("ports") or ()]
    exposed = [str(port).partition("/")[0] for port in plain.get("expose") or ()]
    return UserService(
        name=name,
        image=plain.get("image"),
        context=(plain.get("build") or {}).get("context"),
        ports=tuple(dict.fromkeys(int(port) for port in published or exposed if str(port).isdecimal())),
        publishes=bool(published),
        # A dollar sign is written twice there, as in the file.
        environment={
            key: str(value).replace("$$", "$")
            for key, value in (plain.get("environment") or {}).items()
            if value is not None
        },
        networks=tuple(plain.get("networks") or ()),
        volumes=tuple(
            mount["source"] for mount in mounts if mount.get("type") == "volume" and mount.get("source")
        ),
        binds=tuple(
            Bind(Path(mount["source"]), PurePosixPath(mount["target"]))
            for mount in mounts
            if mount.get("type") == "bind"
        ),
        depends_on=tuple(plain.get("depends_on") or ()),
        network_mode=plain.get("network_mode"),
        container_name=plain.get("container_name"),
        cores=float(cores) if cores else None,
        has_shares=bool(plain.get("cpu_shares")),
        has_restart_policy=bool(deploy.get("restart_policy")),
        has_replicas=bool(deploy.get("replicas") or plain.get("scale")),
    )


def port_of(file: UserFile, service: str, port: int) -> int:
    """Return the port in the container: the named one, else the only one published or exposed; or 0."""
    published = file.services[service].ports
    return port or (published[0] if len(published) == 1 else 0)


def refusals(file: UserFile, service: str, port: int) -> Iterator[str]:
    """Yield why this service cannot be a target; nothing when it can."""
    target = file.services.get(service)
    if target is None:
        yield f"no service {service!r}; it has: {', '.join(file.services)}"
        return
    if not target.image and not target.context:
        yield f"services.{service}: has neither `image` nor `build`"
    if target.network_mode:
        yield (
            f"services.{service}: `network_mode: {target.network_mode}` leaves no port to publish "
            "and no network to join; take it out"
        )
    if not port_of(file, service, port):
        seen = ", ".join(map(str, target.ports)) or "none"
        yield f"services.{service}: say where it listens: `port` of the target (the file names: {seen})"
    for started in file.started_with(service):
        for kind, used, known in (
            ("network", started.networks, file.networks),
            ("volume", started.volumes, file.volumes),
        ):
            for name in used:
                if known.get(name):
                    yield (
                        f"services.{started.name}: the {kind} {name} is external: a load test must not reach "
                        f"what others use; a second `compose` file gives it its own: "
                        f"`{kind}s: {{{name}: !override {{}}}}`"
                    )
