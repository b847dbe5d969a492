"""The two files that `rushhour init` writes (pure)."""

import json
import keyword
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

from rushhour.jobs.init.document import Login, Needed
from rushhour.jobs.init.routes import Route, health_of, left_out

_PARAMETER: Final = re.compile(r"\{(\w+)\}")


def scenario_file(
    name: str,
    app: str | None,
    python: str | None,
    routes: Sequence[Route],
    *,
    asgi: bool = False,
    driver: str | None = None,
    setup: str | None = None,
) -> str:
    """Return a scenarios.yaml with one scenario; what has to be looked at is said beside it.

    `setup` is the command that makes the tables, where that is known.
    """
    guess = "" if app else " # a guess: the document does not say how the service is started"
    if asgi:
        scheme = f"postgresql+{driver or 'asyncpg'}"
        place = (app or f"{name}:app").removesuffix("()")
        factory = " --factory" if (app or "").endswith("()") else ""
        started = f"""command: "{{python}} -m uvicorn{factory} {place} --host {{host}} --port {{port}}"{guess}
    url_scheme: {scheme} # of {{primary_url}}: the driver that your engine is made with"""
    elif app:
        started = f"app: {app}"
    else:
        started = f"command: gunicorn {name}:app --bind {{host}}:{{port}} --threads {{threads}}{guess}"
    made = (
        f'setup: "{setup}" # tables, and rows if it makes any; the database is empty before'
        if setup
        else """# The database is empty: say which command makes tables and rows, as you would by hand.
    # setup: "{python} -m alembic upgrade head" # or `-m flask db upgrade`, `manage.py migrate`, a script"""
    )
    interpreter = f"\n    python: {python}" if python else ""
    return f"""\
# Written by `rushhour init`; docs/own-service.md explains it. `rushhour run evening` runs it.

defaults:
  target:
    name: {name}
    {started}{interpreter}
    # or in its container, instead: `compose: docker-compose.yaml` and `service: {name}`
    health: {_scalar(health_of(routes))} # answers 200 when the service is ready
    {made}
    environment: # how your service learns of its database; {{replica_url}} is a read-only copy of it
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


def locust_file(
    routes: Sequence[Route],
    login: Login | None = None,
    needed: Mapping[tuple[str, str], Sequence[Needed]] | None = None,
) -> str:
    """Write a locustfile with a task for each GET but the health check; the rest is listed with reasons.

    `needed` are the parameters that a path and method require beside those in the path.
    """
    skipped = left_out(routes)
    out = {route for route, _ in skipped}
    reads = [route for route in routes if route not in out]
    lines = [*_HEAD]
    if login is not None:
        lines += _log_in(login)
    lines += [*_tasks(reads, login, needed or {}), *_left_out(skipped)]
    return "\n".join(map(_printable, lines)) + "\n"


def _scalar(path: str) -> str:
    """Write a path as YAML: in quotes where it has letters that YAML might read."""
    return path if re.fullmatch(r"/[\w./~-]*", path) else json.dumps(path)


def _printable(line: str) -> str:
    """Keep a line a line: names of a document stand in comments, and a line break there would end those."""
    return "".join(letter if letter.isprintable() else " " for letter in line)


def _log_in(login: Login) -> Iterator[str]:
    """Yield a customer's log-in, to fill in; it is Locust's `on_start`, which runs before the first task."""
    yield from ("", "    def on_start(self) -> None:")
    yield f"        # The service asks for {login.what} ({login.scheme}): fill in an account that exists."
    if login.token_path:
        yield '        account = {"username": "FILL IN", "password": "FILL IN"}'
        yield f"        answer = self.client.post({json.dumps(login.token_path)}, data=account)"
        yield '        token = answer.json()["access_token"]'
        yield '        self.headers = {"Authorization": f"Bearer {token}"}'
    elif login.header:
        yield f"        self.headers = {{{json.dumps(login.header)}: {json.dumps(login.prefix + 'FILL IN')}}}"
    else:
        yield f"        # It goes into each path, as in /path?{login.prefix}KEY"
        yield "        self.headers: dict[str, str] = {}"


_HEAD: Final = (
    '"""Customers of the service; written by `rushhour init`. It also runs with stock Locust."""',
    "",
    "from locust import FastHttpUser, between, task",
    "",
    "",
    "class Customer(FastHttpUser):",
    "    wait_time = between(1, 5)  # seconds between two requests of a customer",
)


def _tasks(
    routes: Sequence[Route], login: Login | None, needed: Mapping[tuple[str, str], Sequence[Needed]]
) -> Iterator[str]:
    if not routes:
        yield from ("", "    @task", "    def home(self) -> None:", '        self.client.get("/")')
    taken: set[str] = set()
    for route in routes:
        function = _function(route, taken)
        parameters = _PARAMETER.findall(route.path)
        others = needed.get((route.path, route.method), ())
        query = urlencode([(other.name, other.value) for other in others if not other.header])
        headers = _headers({other.name: other.value for other in others if other.header}, login)
        yield from ("", "    @task", f"    def {function}(self) -> None:")
        if not parameters and not others:
            yield f"        self.client.get({json.dumps(route.path)}{headers})"
            continue
        names = ", ".join([*parameters, *(other.name for other in others)])
        yield f"        # {names}: use values that exist"
        path = json.dumps(_PARAMETER.sub("1", route.path) + (f"?{query}" if query else ""))
        yield f"        self.client.get({path}, name={json.dumps(label(route.path))}{headers})"


def _headers(required: Mapping[str, str], login: Login | None) -> str:
    """Return the argument of a request with the log-in's headers and those that its route requires."""
    if not required:
        return ", headers=self.headers" if login is not None else ""
    return f", headers={'self.headers | ' if login is not None else ''}{json.dumps(required)}"


def _left_out(routes: Sequence[tuple[Route, str]]) -> Iterator[str]:
    if routes:
        yield from ("", "    # Left out: add a task for those that matter.")
        yield from (f"    # {route.method} {route.path}: {why}" for route, why in routes)


def label(path: str) -> str:
    """Return a route as the agent calls it: `id` for every parameter that ends so."""
    return _PARAMETER.sub(lambda item: ":id" if item[1].endswith("id") else f":{item[1]}", path)


def _function(route: Route, taken: set[str]) -> str:
    words = re.findall(r"[a-z0-9]+", _PARAMETER.sub("", route.path).lower()) or ["home"]
    name = "_".join(words)
    if name[0].isdigit() or keyword.iskeyword(name) or name in ("client", "wait_time", "tasks"):
        name = f"get_{name}"
    while name in taken:
        name += "_one" if "{" in route.path else "_again"
    taken.add(name)
    return name
