"""What a scenario file says of the service whose log is read: its routes, and bodies of its requests."""

import json
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rushhour.errors import UsageError
from rushhour.jobs.check.result import parse_request
from rushhour.jobs.init.routes import Route, default_python, of_app, of_openapi
from rushhour.jobs.traffic.model import TrafficModel
from rushhour.scenario.file import ScenarioFile, load_scenarios
from rushhour.scenario.model import Target

_APP: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*(?:\(\))?")
_SERVERS: Final = frozenset(("gunicorn", "uvicorn", "hypercorn", "granian", "daphne", "waitress-serve"))
_NOWHERE: Final = "127.0.0.1:9/nothing"  # an import makes engines, which connect later


@dataclass(frozen=True, slots=True)
class Service:
    """What is known of the service."""

    routes: tuple[Route, ...] = ()
    said: str = ""  # where the routes are from, or why there are none
    target: Target | None = None
    file: ScenarioFile | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """The options that say what the service is."""

    app: str | None = None
    openapi: Path | None = None
    python: Path | None = None
    scenarios: Path | None = None
    extends: str | None = None


def service_of(given: Given) -> Service:
    """Find the routes of the service. Raises UsageError for an option that leads nowhere."""
    target = file = None
    if given.scenarios is not None:
        file = load_scenarios(given.scenarios)
        target = _target(file, given.extends)
    elif given.extends:
        raise UsageError(["--extends needs --scenarios: the file that has the scenario"])
    if given.openapi is not None:
        return Service(tuple(of_openapi(given.openapi)), f"the routes of {given.openapi.name}", target, file)
    if given.app is not None:
        root = Path(target.root) if target else Path.cwd()
        python = str(given.python) if given.python else default_python(root)
        return Service(tuple(of_app(given.app, python, root)[0]), f"the routes of {given.app}", target, file)
    if target is not None:
        routes, said = _routes_of_target(target)
        return Service(routes, said, target, file)
    return Service(said="templates are learnt from the log")


def _target(file: ScenarioFile, name: str | None) -> Target:
    if name is not None:
        return file.select([name])[0].target
    return next(iter(file.scenarios.values())).target


def _routes_of_target(target: Target) -> tuple[tuple[Route, ...], str]:
    app = target.app or _app_in(target.command)
    if not app:
        return (), f"{target.name} names no application to import, so templates are learnt from the log"
    root = Path(target.root)
    python = str(root / target.python) if target.python else sys.executable
    environment = {name: _stand_in(value, target) for name, value in target.environment.items()}
    try:
        return tuple(of_app(app, python, root, environment)[0]), f"the routes of {app}"
    except UsageError as error:
        last = error.problems[-1].strip()
        return (), f"{app} cannot be imported ({last}), so templates are learnt; --openapi gives the routes"


def _app_in(command: str) -> str:
    """The import path in the command of a server: `app:create_app()` after gunicorn."""
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    servers = [at for at, word in enumerate(words) if Path(word).name in _SERVERS]
    after = words[servers[0] + 1 :] if servers else []
    return next((word for word in after if _APP.fullmatch(word)), "")


def _stand_in(template: str, target: Target) -> str:
    """A value that an import accepts, for what rushhour fills in before a run."""
    filled = re.sub(r"\{\w+_url\}", f"{target.url_scheme}://{_NOWHERE}", template)
    filled = filled.replace("{release}", target.releases[-1])
    return re.sub(r"\{\w+\}", "1", filled)


def bodies_of(target: Target | None, model: TrafficModel) -> dict[str, Any]:
    """JSON bodies of the target's `check:` requests, by the endpoint that each is of."""
    found: dict[str, Any] = {}
    for line in target.check if target else ():
        request = parse_request(line)
        if not request.body:
            continue
        path = request.path.partition("?")[0]
        for endpoint in model.endpoints:
            if endpoint.method == request.method and re.fullmatch(
                _pattern(endpoint.form.rstrip("/")), path.rstrip("/")
            ):
                found.setdefault(endpoint.name, json.loads(request.body))
                break
    return found


def _pattern(form: str) -> str:
    return "".join(
        "[^/]+" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{\w+\})", form)
    )


def routes_of_model(model: TrafficModel) -> Sequence[Route]:
    """The endpoints of a model as routes, so that another log is sorted in the same way."""
    return [Route(endpoint.form, endpoint.method) for endpoint in model.endpoints]
