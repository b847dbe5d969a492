"""The routes of a service: from a Flask application's URL map, or from an OpenAPI document."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from rushhour.errors import UsageError
from rushhour.jobs.init.document import Described, described
from rushhour.process.regular import read_at_most

IMPORT_TIMEOUT_S: Final = 60.0
METHODS: Final = ("get", "post", "put", "patch", "delete", "head", "options", "trace")
_TAIL_LINES: Final = 5
MOST_BYTES: Final = 20_000_000

# Runs in the service's own interpreter, where rushhour need not be installed.
_ASK_FLASK: Final = """
import importlib, json, re, sys
sys.path.insert(0, ".")
module, _, name = sys.argv[1].partition(":")
app = importlib.import_module(module)
for part in (name or "app").rstrip("()").split("."):
    app = getattr(app, part)
kinds = {base.__module__.partition(".")[0] for base in type(app).__mro__}
if not hasattr(app, "url_map") and not kinds & {"fastapi", "starlette"} and callable(app):
    app = app()
    kinds = {base.__module__.partition(".")[0] for base in type(app).__mro__}
if kinds & {"fastapi", "starlette"}:
    # What a router of FastAPI includes is no longer copied into the application's routes.
    flat = getattr(sys.modules.get("fastapi.routing"), "iter_route_contexts", iter)
    def routes(owner, prefix):
        for route in flat(owner.routes):
            path = prefix + re.sub(r":[a-z]+}", "}", getattr(route, "path", None) or "")
            if getattr(route, "methods", None) and getattr(route, "include_in_schema", True):
                yield [path, sorted(route.methods - {"HEAD", "OPTIONS"})]
            elif hasattr(route, "routes"):
                yield from routes(route, path)
            elif type(getattr(route, "original_route", route)).__name__.endswith("WebSocketRoute"):
                yield [path, ["WEBSOCKET"]]
    document = app.openapi() if hasattr(app, "openapi") else {}
    json.dump({"rules": list(routes(app, "")), "document": document}, sys.__stdout__)
    sys.exit()
if not hasattr(app, "url_map"):
    sys.exit(f"{sys.argv[1]} is a {type(app).__name__}, which has no url_map: "
             "it is no Flask application, nor FastAPI nor Starlette")
json.dump([[rule.rule, sorted(rule.methods)] for rule in app.url_map.iter_rules()
           if rule.endpoint.rpartition(".")[2] != "static"], sys.__stdout__)
"""


@dataclass(frozen=True, slots=True, order=True)
class Route:
    """One endpoint; `path` has its parameters in braces: /customers/{customer_id}."""

    path: str
    method: str  # "GET"


def of_flask(app: str, python: str, root: Path) -> list[Route]:
    """Read the routes of `module:application` or `module:factory()`. Raises UsageError for a bad import."""
    return of_app(app, python, root)[0]


def of_app(
    app: str, python: str, root: Path, environment: Mapping[str, str] | None = None
) -> tuple[list[Route], Described]:
    """Return also what the application says of itself; `environment` is added to this process's."""
    try:
        done = subprocess.run(
            [python, "-c", _ASK_FLASK, app],
            cwd=root,
            env=os.environ | (environment or {}),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=IMPORT_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise UsageError([f"--python {python}: no such interpreter"]) from None
    except subprocess.TimeoutExpired:
        raise UsageError([f"--app {app}: its import has not ended after {IMPORT_TIMEOUT_S:g} s"]) from None
    if done.returncode != 0:
        tail = done.stderr.strip().splitlines()[-_TAIL_LINES:]
        raise UsageError([f"--app {app} cannot be imported by {python} in {root}:", *tail])
    answer = json.loads(done.stdout.splitlines()[-1])
    if isinstance(answer, dict):  # FastAPI or Starlette
        routes = {Route(path, method) for path, methods in answer["rules"] for method in methods}
        return sorted(routes), replace(described(answer["document"]), asgi=True)
    rules: list[tuple[str, list[str]]] = answer
    routes = {
        Route(re.sub(r"<(?:[^<>]*:)?(\w+)>", r"{\1}", rule), method)
        for rule, methods in rules
        for method in methods
        if method.lower() in METHODS and method not in ("HEAD", "OPTIONS")  # Flask adds these by itself
    }
    return sorted(routes), Described()


def of_openapi(path: Path) -> list[Route]:
    """Read the routes of an OpenAPI document, JSON or YAML. Raises UsageError when it is none."""
    return sorted(_operations(read_openapi(path)["paths"]))


def read_openapi(path: Path) -> dict[str, Any]:
    """Return an OpenAPI document, JSON or YAML, that has paths. Raises UsageError when it is none."""
    try:
        text = read_at_most(path, MOST_BYTES).decode("utf-8")
        document = json.loads(text) if path.suffix == ".json" else YAML(typ="safe").load(text)
    except FileNotFoundError:
        raise UsageError([f"--openapi {path}: no such file"]) from None
    except RecursionError:
        raise UsageError([f"--openapi {path}: its lists and objects are nested too deeply"]) from None
    except (OSError, ValueError, YAMLError) as error:
        raise UsageError([f"--openapi {path}: cannot be read: {error}"]) from None
    except Exception as error:  # noqa: BLE001 - ruamel passes on what int(), date() and dicts raise
        raise UsageError([f"--openapi {path}: cannot be read: {type(error).__name__}: {error}"]) from None
    paths = document.get("paths") if isinstance(document, dict) else None
    if not isinstance(paths, dict) or not paths:
        raise UsageError([f"--openapi {path}: has no `paths`: it is no OpenAPI document"])
    if strange := [path_ for path_ in paths if not isinstance(path_, str)]:
        raise UsageError([f"--openapi {path}: paths: {strange[0]!r} is no path; write text as /orders"])
    found: dict[str, Any] = document
    return found


def _operations(paths: dict[str, Any]) -> Iterator[Route]:
    for path, operations in paths.items():
        for method in METHODS:
            if isinstance(operations, dict) and method in operations:
                yield Route(path, method.upper())


def health_of(routes: Sequence[Route]) -> str:
    """Return the path that looks like a health check, else the shortest that takes no parameter."""
    plain = [route.path for route in routes if route.method == "GET" and "{" not in route.path]
    for word in ("ready", "health", "ping", "alive", "status"):
        for path in plain:
            if word in path.lower():
                return path
    return min(plain, key=len, default="/")


def default_python(root: Path) -> str:
    """Return the interpreter of the folder's own virtual environment, where it has one."""
    own = root / ".venv" / "bin" / "python"
    return str(own) if own.exists() else sys.executable


def left_out(routes: Sequence[Route]) -> list[tuple[Route, str]]:
    """List the routes that get no task, and why."""
    health = health_of(routes)
    reasons = {"HEAD": "a GET without its body", "OPTIONS": "asked by browsers", "TRACE": "for diagnosis"}
    reasons |= {"WEBSOCKET": "no request: it needs a client of its own"}
    found = []
    for route in routes:
        if route.method == "GET":
            if route.path == health and len(routes) > 1:
                found.append((route, "the health check"))
        else:
            found.append((route, reasons.get(route.method, "it changes something: say with which values")))
    return found


DRIVERS: Final = ("asyncpg", "psycopg", "psycopg2")


def driver_of(python: str) -> str | None:
    """Return the first PostgreSQL driver of an interpreter, those for asyncio first; None if unknown."""
    code = "import importlib.util as u, sys; print(next((n for n in sys.argv[1:] if u.find_spec(n)), ''))"
    try:
        done = subprocess.run(
            [python, "-c", code, *DRIVERS],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=IMPORT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def setup_of(root: Path, app: str | None) -> str | None:
    """Return the command that makes the tables, from files in the folder: Alembic, Flask-Migrate, Django."""
    if (root / "alembic.ini").is_file():
        return "{python} -m alembic upgrade head"
    if (root / "migrations" / "env.py").is_file():
        return f"{{python}} -m flask{f' --app {app}' if app else ''} db upgrade"
    if (root / "manage.py").is_file():
        return "{python} manage.py migrate"
    return None
