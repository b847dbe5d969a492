"""Commands for services other than the one of this repository."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rushhour.agent.environment import JOURNAL_VARIABLE, agent_environment
from rushhour.cli.console import say, say_aside
from rushhour.errors import UsageError
from rushhour.jobs.attach.run import NOTHING_SEEN, check_report, run_attached, write_findings
from rushhour.jobs.init.document import described
from rushhour.jobs.init.files import locust_file, scenario_file
from rushhour.jobs.init.routes import (
    default_python,
    driver_of,
    left_out,
    of_app,
    of_openapi,
    read_openapi,
    setup_of,
)


def agent_exec(
    command: Sequence[str],
    *,
    long_s: float,
    fail_on_leak: bool,
    report: Path | None,
    keep: Path | None,
    metrics: str | None,
) -> int:
    """Run a command with the agent in it; returns the exit code."""
    if report is not None:
        check_report(report)
    attached = run_attached(command, long_s=long_s, say=say_aside, keep=keep, metrics=metrics)
    if report is not None:
        write_findings(report, attached)
    code = attached.leak_code if fail_on_leak else attached.exit_code
    if code == NOTHING_SEEN != attached.exit_code:
        say_aside("rushhour: --fail-on-leak: no check-out was seen, so leaks are unknown: exit code 2")
    return code


def init(app: str | None, *, openapi: Path | None, python: Path | None, into: Path, force: bool) -> None:
    """Write a scenario file and a locustfile for a service, and say what to do next."""
    if (app is None) == (openapi is None):
        raise UsageError(["give --app MODULE:APP, or --openapi FILE"])
    interpreter = str(python) if python else default_python(into)
    if openapi:
        routes, service = of_openapi(openapi), described(read_openapi(openapi))
    else:
        routes, service = of_app(app or "", interpreter, into)
    own = interpreter if interpreter != sys.executable else None
    name = (app or into.resolve().name).partition(":")[0].rpartition(".")[2]
    files = {
        into / "scenarios.yaml": scenario_file(
            name,
            app,
            own,
            routes,
            asgi=service.asgi,
            driver=driver_of(interpreter) if own else None,
            setup=setup_of(into, app),
        ),
        into / "customers.py": locust_file(routes, service.login),
    }
    if there := [str(path) for path in files if path.exists() and not force]:
        raise UsageError([f"{path} is there already; --force overwrites it" for path in there])
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
        say(f"wrote {path}")
    skipped = left_out(routes)
    say(f"{len(routes)} routes: {len(routes) - len(skipped)} have a task, {len(skipped)} are left out:")
    for route, why in skipped:
        say(f"  {route.method} {route.path}: {why}")
    if service.login:
        say(f"customers.py: fill in the log-in ({service.login.what})")
    if not setup_of(into, app):
        say("scenarios.yaml: fill in `setup`, the command that makes the tables: the database is empty")
    say("Look through both files, then: rushhour run evening")


def agent_env(out: Path, metrics: str | None) -> None:
    """Print the variables that start the agent, one a line, as systemd and Compose read them from a file."""
    found = agent_environment(out, os.environ, metrics=metrics) | {
        JOURNAL_VARIABLE: "off" if metrics else "on"
    }
    for name, value in found.items():
        say(f"{name}={value}")
