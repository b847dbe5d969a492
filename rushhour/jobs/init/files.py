"""The two files that `rushhour init` writes (pure)."""

import json
import keyword
import re
from collections.abc import Iterator, Sequence
from typing import Final

from rushhour.jobs.init.routes import Route, health_of

_PARAMETER: Final = re.compile(r"\{(\w+)\}")


def scenario_file(name: str, app: str | None, python: str | None, routes: Sequence[Route]) -> str:
    """A scenarios.yaml with one scenario; what has to be looked at is said beside it."""
    started = (
        f"app: {app}"
        if app
        else f"command: gunicorn {name}:app --bind {{host}}:{{port}} --threads {{threads}}"
    )
    interpreter = f"\n    python: {python}" if python else ""
    return f"""\
# Written by `rushhour init`; docs/own-service.md explains it. `rushhour run evening` runs it.

defaults:
  target:
    name: {name}
    {started}{interpreter}
    # or in its container, instead: `compose: docker-compose.yaml` and `service: {name}`
    health: {health_of(routes)} # answers 200 when the service is ready
    # setup: "{{python}} -m flask db upgrade" # tables and rows; the database is empty before
    environment: # how your service is told its database; {{replica_url}} is a read-only copy of it
      DATABASE_URL: "{{primary_url}}"
  pool: {{ size: 5, max_overflow: 10, timeout: 30s }} # what your service has: SQLAlchemy's defaults
  service: {{ workers: 1, threads: 32 }}
  thresholds:
    - queuepool_timeouts == 0
    - leaked_connections == 0
    - http_5xx_rate < 0.1%
    - p95 < 500ms

scenarios:
  evening:
    description: A rush hour, before its customers come.
    load: {{ users: 200, spawn_rate: 20, duration: 60s, locustfile: customers.py, client_timeout: 60s }}
    expect: healthy
"""


def locust_file(routes: Sequence[Route]) -> str:
    """A locustfile that reads: a task for each GET but the health check; what writes is left to a person."""
    reads = [one for one in routes if one.method == "GET" and one.path != health_of(routes)]
    return (
        "\n".join([*_HEAD, *_tasks(reads), *_writes([one for one in routes if one.method != "GET"])]) + "\n"
    )


_HEAD: Final = (
    '"""Customers of the service; written by `rushhour init`. It also runs with stock Locust."""',
    "",
    "from locust import FastHttpUser, between, task",
    "",
    "",
    "class Customer(FastHttpUser):",
    "    wait_time = between(1, 5)  # seconds between two requests of a customer",
)


def _tasks(routes: Sequence[Route]) -> Iterator[str]:
    if not routes:
        yield from ("", "    @task", "    def home(self) -> None:", '        self.client.get("/")')
    taken: set[str] = set()
    for route in routes:
        function = _function(route, taken)
        parameters = _PARAMETER.findall(route.path)
        yield from ("", "    @task", f"    def {function}(self) -> None:")
        if not parameters:
            yield f"        self.client.get({json.dumps(route.path)})"
            continue
        yield f"        # {', '.join(parameters)}: use values that exist"
        path = json.dumps(_PARAMETER.sub("1", route.path))
        yield f"        self.client.get({path}, name={json.dumps(label(route.path))})"


def _writes(routes: Sequence[Route]) -> Iterator[str]:
    if routes:
        yield from ("", "    # These change something: add a task for those that matter.")
        yield from (f"    # {route.method} {route.path}" for route in routes)


def label(path: str) -> str:
    """As the agent calls the route: `id` for every parameter that ends so."""
    return _PARAMETER.sub(lambda one: ":id" if one[1].endswith("id") else f":{one[1]}", path)


def _function(route: Route, taken: set[str]) -> str:
    words = re.findall(r"[a-z0-9]+", _PARAMETER.sub("", route.path).lower()) or ["home"]
    name = "_".join(words)
    if name[0].isdigit() or keyword.iskeyword(name) or name in ("client", "wait_time", "tasks"):
        name = f"get_{name}"
    while name in taken:
        name += "_one" if "{" in route.path else "_again"
    taken.add(name)
    return name
