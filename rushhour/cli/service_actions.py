"""Commands for services other than the one of this repository."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rushhour.agent.environment import JOURNAL_VARIABLE, agent_environment
from rushhour.cli.console import say, say_aside
from rushhour.errors import UsageError
from rushhour.jobs.attach.run import NOTHING_SEEN, check_report, run_attached, write_findings
from rushhour.jobs.init.files import locust_file, scenario_file
from rushhour.jobs.init.routes import default_python, of_flask, of_openapi


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
    routes = of_openapi(openapi) if openapi else of_flask(app or "", interpreter, into)
    own = interpreter if interpreter != sys.executable else None
    name = (app or into.resolve().name).partition(":")[0].rpartition(".")[2]
    files = {
        into / "scenarios.yaml": scenario_file(name, app, own, routes),
        into / "customers.py": locust_file(routes),
    }
    if there := [str(path) for path in files if path.exists() and not force]:
        raise UsageError([f"{path} is there already; --force overwrites it" for path in there])
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
        say(f"wrote {path}")
    say(f"{len(routes)} routes. Look through both files, then: rushhour run evening")


def agent_env(out: Path, metrics: str | None) -> None:
    """Print the variables that start the agent, one a line, as systemd and Compose read them from a file."""
    found = agent_environment(out, os.environ, metrics=metrics) | {
        JOURNAL_VARIABLE: "off" if metrics else "on"
    }
    for name, value in found.items():
        say(f"{name}={value}")
