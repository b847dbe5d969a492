"""Finds the container engine, and checks that it is local and recent enough, as is Compose."""

import http.client
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import docker
import requests
import urllib3
from docker.context import ContextAPI
from docker.errors import DockerException

from rushhour.errors import StackError
from rushhour.process.ports import HOST
from rushhour.process.tools import ask_program

MIN_COMPOSE: Final = (2, 20)  # `up --wait-timeout`, and `healthcheck.start_interval`
MIN_API: Final = (1, 41)  # statistics in one shot, without waiting for a second sample
START_INTERVAL_API: Final = (1, 44)  # a probe that is frequent only until the container is healthy
ANSWER_TIMEOUT_S: Final = 10
LOOPBACK: Final = frozenset({"localhost", HOST, "::1"})

# The exceptions of docker-py if the engine does not answer, or answers with an error.
# A broken stream can also raise the exceptions of docker-py's libraries.
ENGINE_ERRORS: Final = (
    DockerException,
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)


@contextmanager
def engine_errors() -> Iterator[None]:
    """Convert docker-py's exceptions to StackError."""
    try:
        yield
    except ENGINE_ERRORS as error:
        raise StackError(f"the container engine failed: {last_reason(error)}") from error


@dataclass(frozen=True, slots=True)
class Engine:
    """A container engine. `cpus` is the number of CPUs of its machine, which may be virtual."""

    base_url: str
    host: str  # the host on which published ports are reached
    version: str
    api: tuple[int, ...]
    compose: str
    cpus: int
    cgroups: str  # "1" or "2"

    @property
    def environment(self) -> Mapping[str, str]:
        """The caller's environment, with the command line bound to this engine whatever its context says."""
        return command_line_environment(self.base_url)

    @property
    def publish(self) -> str:
        """The address that ports are published on: a named engine elsewhere is not reached by loopback."""
        return self.host if self.host in LOOPBACK else "0.0.0.0"  # noqa: S104  # --allow-host asked for it

    @property
    def has_start_interval(self) -> bool:
        return self.api >= START_INTERVAL_API

    def client(self, timeout_s: int = 60) -> docker.DockerClient:
        """Return a client of this engine; the caller closes it."""
        return docker.DockerClient(base_url=self.base_url, version="auto", timeout=timeout_s)


def command_line_environment(base_url: str) -> dict[str, str]:
    """Return an environment in which `docker` uses this engine."""
    kept = {
        name: value for name, value in os.environ.items() if name not in ("DOCKER_CONTEXT", "DOCKER_HOST")
    }
    return kept | {"DOCKER_HOST": base_url}


def find_engine(allow_host: str | None = None, environ: Mapping[str, str] = os.environ) -> Engine:
    """Return the engine that `docker` would use, if it is on this machine or on `allow_host`.

    Raises StackError that says why there is none to use.
    """
    base_url = engine_url(environ)
    host = local_host(base_url, allow_host)
    try:
        client = docker.DockerClient(base_url=base_url, version="auto", timeout=ANSWER_TIMEOUT_S)
    except ENGINE_ERRORS as error:
        raise StackError(f"no container engine answers at {base_url}: {last_reason(error)}") from error
    try:
        version, info = client.version(), client.info()
    except ENGINE_ERRORS as error:
        raise StackError(
            f"the container engine at {base_url} does not say what it is: {last_reason(error)}"
        ) from error
    finally:
        client.close()
    api = numbers(version["ApiVersion"])
    if api < MIN_API:
        raise StackError(
            f"the container engine {version['Version']} at {base_url} speaks API {version['ApiVersion']}; "
            f"{'.'.join(map(str, MIN_API))} is the least (Docker 20.10)"
        )
    return Engine(
        base_url=base_url,
        host=host,
        version=version["Version"],
        api=api,
        compose=compose_version(base_url),
        cpus=int(info["NCPU"]),
        cgroups=str(info.get("CgroupVersion") or "1"),
    )


def engine_url(environ: Mapping[str, str]) -> str:
    """Return DOCKER_HOST, else the address of the context in use, as the command line has it."""
    if address := environ.get("DOCKER_HOST"):
        return address
    name = environ.get("DOCKER_CONTEXT") or None
    try:
        context = ContextAPI.get_context(name)
    except (DockerException, OSError, ValueError, KeyError) as error:
        raise StackError(f"Docker's context {name or 'in use'} cannot be read: {error}") from error
    if context is None or not context.Host:
        raise StackError(f"there is no Docker context {name or 'in use'}, or it has no address")
    return str(context.Host).removeprefix("http+")


def local_host(base_url: str, allow_host: str | None) -> str:
    """Return where ports that the engine publishes are reached: the loopback address, or the allowed host.

    Raises StackError for an engine elsewhere: a load test must not start containers on somebody's server.
    """
    address = urlsplit(base_url)
    if address.scheme in ("unix", "npipe") or (
        address.hostname in LOOPBACK and address.scheme in ("tcp", "http")
    ):
        return HOST
    if allow_host is not None and address.hostname == allow_host:
        return allow_host
    raise StackError(
        f"the container engine is at {base_url}, not on this machine; unset DOCKER_HOST or change Docker's "
        f"context, or allow that machine by name: --allow-host {address.hostname or base_url}"
    )


def compose_version(base_url: str) -> str:
    """Return the version of Compose. Raises StackError if it is missing or too old."""
    command = ["docker", "compose", "version", "--format", "json"]
    least = ".".join(map(str, MIN_COMPOSE))
    answer = ask_program(
        command,
        timeout_s=ANSWER_TIMEOUT_S,
        environment=command_line_environment(base_url),
        advice="install Docker's command line and Compose",
    )
    try:
        version = str(json.loads(answer.stdout)["version"])
    except (ValueError, KeyError, TypeError):
        said = (answer.stderr or answer.stdout).strip().splitlines()[:3]
        raise StackError(
            f"`docker compose` is missing or older than {least}; install Compose v2",
            said,
        ) from None
    if numbers(version) < MIN_COMPOSE:
        raise StackError(f"Compose {version} is too old: {least} is the least")
    return version


def numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: "v2.26.1-4" gives (2, 26, 1)."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def last_reason(error: BaseException) -> str:
    """Return the innermost reason of an exception that docker-py wrapped several times."""
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__ or error
    return str(error) or type(error).__name__
