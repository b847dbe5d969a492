"""The file that is laid over the user's own: what makes its project one of ours (pure)."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.tag import Tag

from rushhour.stack.compose.files import escaped
from rushhour.stack.compose_service.user_file import UserFile, UserService

SERVERS_NETWORK: Final = "rushhour-servers"


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of this machine in the container under test."""

    local: str
    inside: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Injection:
    """What the container under test is given."""

    publish: str  # "127.0.0.1:40123:8000"
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    network: str | None = None  # of our servers, by its name in the engine
    cpu_shares: int = 0  # 0: as the file has it


def image_of(project: str, service: UserService) -> str:
    """Return the name of a service's image in this run: a build must not take that of the user's own."""
    return f"{project}-{service.name}" if service.context else str(service.image)


def override_file(
    file: UserFile, service: str, project: str, labels: Mapping[str, str], injection: Injection
) -> str:
    """Return YAML for `docker compose -f FILE -f OVERRIDE`.

    Everything is labelled and named after the run, and no port is published but the one under test.
    """
    labels = escaped(dict(labels))
    services = {name: _any(user_service, project, labels) for name, user_service in file.services.items()}
    target = services[service]
    target["ports"] = _tagged("!override", [injection.publish])
    # Our own probe comes from outside: one in the container would start the agent, and may need a connection.
    target["healthcheck"] = {"disable": True}
    target["environment"] = escaped(dict(injection.environment))
    target["volumes"] = [
        {"type": "bind", "source": escaped(mount.local), "target": mount.inside, "read_only": mount.read_only}
        for mount in injection.mounts
    ]
    target["scale"] = 1
    if file.services[service].has_replicas:
        target.setdefault("deploy", {})["replicas"] = 1
    if injection.cpu_shares:
        target["cpu_shares"] = injection.cpu_shares
    networks = {name: {"name": f"{project}_{name}", "labels": dict(labels)} for name in own(file.networks)}
    volumes = {name: {"name": f"{project}_{name}", "labels": dict(labels)} for name in own(file.volumes)}
    plain: dict[str, Any] = {"services": services, "networks": networks, "volumes": volumes}
    if injection.network:
        plain["networks"][SERVERS_NETWORK] = {"external": True, "name": injection.network}
        joined = [*file.services[service].networks, SERVERS_NETWORK]
        plain["services"][service]["networks"] = dict.fromkeys(joined)
    text = io.StringIO()
    YAML(typ="rt").dump({key: value for key, value in plain.items() if value}, text)
    return text.getvalue()


def own(resources: Mapping[str, bool]) -> list[str]:
    """Return those that are not external."""
    return [name for name, external in resources.items() if not external]


def _any(service: UserService, project: str, labels: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {"labels": dict(labels), "restart": "no"}  # a service that ends is reported
    if service.publishes:
        found["ports"] = _tagged("!reset", [])
    if service.container_name:
        found["container_name"] = f"{project}-{service.name}-1"
    if service.context:
        found["image"] = image_of(project, service)
        found["build"] = {"labels": dict(labels)}
    if service.has_restart_policy:
        found["deploy"] = {"restart_policy": {"condition": "none"}}
    return found


def _tagged(tag: str, values: list[str]) -> CommentedSeq:
    found = CommentedSeq(values)
    found.yaml_set_ctag(Tag(suffix=tag))
    return found
