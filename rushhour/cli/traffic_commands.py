"""The command that models customers after an access log."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from rushhour.cli.console import console, errors, say
from rushhour.cli.options import Exit, path_option
from rushhour.cli.param_types import Duration, Moment
from rushhour.cli.routes_options import routes_options
from rushhour.errors import UsageError
from rushhour.jobs.traffic.build import Asked
from rushhour.jobs.traffic.choice import NAMES
from rushhour.jobs.traffic.options import SESSION_HELP, ReadingOptions, reading_options
from rushhour.jobs.traffic.outputs import (
    Outputs,
    check_folder,
    write_comparison,
    write_into_run,
    write_outputs,
)
from rushhour.jobs.traffic.progress import ReadingProgress
from rushhour.jobs.traffic.scenario_text import ScenarioAsked
from rushhour.jobs.traffic.service import Given, service_of
from rushhour.jobs.traffic.study import compare_run, study
from rushhour.jobs.traffic.words import terminal_comparison, terminal_model

_CODES: Final = {"near": Exit.MET, "far": Exit.NOT_MET, "unknown": Exit.UNKNOWN}


def _name(_context: click.Context, _option: click.Parameter, given: str) -> str:
    if not re.fullmatch(r"[A-Za-z][\w.-]*", given, re.ASCII):
        raise click.BadParameter(f"{given!r} is no name of a scenario; write evening-peak, say")
    return given


def _scale(_context: click.Context, _option: click.Parameter, given: float) -> float:
    if not 0 < given <= 10_000:
        raise click.BadParameter(f"{given:g} is not above 0 and up to 10,000")
    return given


@click.command(short_help="Model customers after access logs.")
@click.argument("logs", nargs=-1, required=True)
@path_option(
    "--out",
    "traffic",
    "Folder for customers.py, traffic.json, traffic.html and, without --scenarios, scenarios.yaml.",
)
@click.option("--force", is_flag=True, help="Replace customers.py and the scenario where they exist.")
@click.option(
    "--compare",
    is_flag=True,
    help="Say how far the access log of a run lies from the source: --compare access.log runs/latest. The "
    "source is a log, or the traffic.json that was made from it. The run's report shows it from then on. "
    "Exits 1 where a figure is too far, 2 where a figure is unknown.",
)
@path_option(
    "--scenarios",
    None,
    "Add the scenario to this file, and take the service's routes and bodies from it: scenarios.yaml.",
)
@click.option("--extends", metavar="NAME", help="Scenario of that file which the new one extends: gate.")
@click.option(
    "--name",
    metavar="NAME",
    default="evening-peak",
    show_default=True,
    callback=_name,
    help="Name of the new scenario.",
)
@click.option(
    "--scale",
    metavar="N",
    type=float,
    default=1.0,
    show_default=True,
    callback=_scale,
    help="Times the log's peak: 2 for twice as many customers. With --compare, the scenario's scale, instead "
    "of what traffic.json has for it.",
)
@click.option(
    "--closed",
    is_flag=True,
    help="Write a number of customers that stay, by Little's law, instead of open arrivals.",
)
@routes_options
@click.option(
    "--format",
    "form",
    metavar="NAME",
    shell_complete=lambda _context, _option, begun: [name for name in NAMES if name.startswith(begun)],
    help="Format of the log, instead of recognising it: combined.",
)
@click.option(
    "--log-format",
    metavar="FORMAT",
    help="The log_format of nginx, LogFormat of Apache or access_log_format of gunicorn: "
    "'%(h)s %(t)s \"%(r)s\" %(s)s %(D)s'.",
)
@click.option(
    "--field",
    "fields",
    metavar="NAME=PLACE",
    multiple=True,
    help="Where a JSON line has what: path=request.uri. May be given several times.",
)
@click.option(
    "--session",
    metavar="KEY",
    default="auto",
    show_default=True,
    help=f"What tells visitors apart: {SESSION_HELP}.",
)
@click.option(
    "--gap",
    type=Duration(zero=True),
    default="30m",
    show_default=True,
    help="A visitor who was silent for longer begins a new session.",
)
@click.option(
    "--at-once",
    type=Duration(zero=True),
    default="1s",
    show_default=True,
    help="A request that comes this soon after an answer is the page's own, and no thinking.",
)
@click.option(
    "--from",
    "since",
    type=Moment(),
    help="Look at the log from here on: 2026-11-24T18:00Z. What is earlier only says which sessions go on.",
)
@click.option("--until", type=Moment(), help="Look at the log up to here: 2026-11-24T20:00Z.")
@click.option(
    "--timezone",
    metavar="ZONE",
    help="Time zone of the day's curve, and of time stamps without an offset, instead of UTC: Europe/Berlin.",
)
def traffic(logs: tuple[str, ...], **given: Any) -> int:
    """Model customers after access logs: a locustfile, a scenario, and a page.

    LOGS are files (also .gz, .bz2, .xz, .zst) or - for standard input; their format is recognised. No
    address, user, token, query, id or agent of a log is written anywhere.

    Start with: rushhour traffic access.log --scenarios scenarios.yaml --extends gate
    """
    reading = reading_options(
        form=given["form"],
        log_format=given["log_format"],
        fields=given["fields"],
        session=given["session"],
        zone=given["timezone"],
    )
    if given["since"] is not None and given["until"] is not None and given["until"] <= given["since"]:
        raise UsageError(["--until is not later than --from"])
    outputs = Outputs(given["out"], given["force"])
    progress = ReadingProgress(errors)
    if given["compare"]:
        return _compare(logs, reading, outputs, progress, given)
    service = service_of(
        Given(given["app"], given["openapi"], given["python"], given["scenarios"], given["extends"])
    )
    check_folder(outputs)
    say(f"endpoints: {service.said}")
    try:
        model, report = study(logs, reading, _asked(given, service.routes), progress)
    finally:
        progress.done()
    console.print(terminal_model(model, report))
    scenario = ScenarioAsked(given["name"], given["scale"], given["extends"], given["closed"])
    for line in write_outputs(model, service, scenario, outputs, given["app"]):
        say(line)
    return Exit.MET


def _asked(given: dict[str, Any], routes: Sequence[Any]) -> Asked:
    return Asked(
        routes=routes,
        gap_s=given["gap"],
        at_once_s=given["at_once"],
        since=given["since"],
        until=given["until"],
    )


def _is_given(option: str) -> bool:
    source = click.get_current_context().get_parameter_source(option)
    return source not in (None, ParameterSource.DEFAULT)


def _compare(
    logs: tuple[str, ...],
    reading: ReadingOptions,
    outputs: Outputs,
    progress: ReadingProgress,
    given: dict[str, Any],
) -> int:
    if len(logs) < 2:
        raise UsageError(["--compare takes the source, then the run: --compare access.log runs/latest"])
    service = service_of(
        Given(given["app"], given["openapi"], given["python"], given["scenarios"], given["extends"])
    )
    try:
        found, source, run = compare_run(
            logs[:-1],
            Path(logs[-1]),
            reading,
            _asked(given, service.routes),
            scale=given["scale"] if _is_given("scale") else None,
            on_progress=progress,
        )
    finally:
        progress.done()
    console.print(terminal_comparison(found))
    for line in (*write_comparison(found, source, run, outputs), *write_into_run(found, Path(logs[-1]))):
        say(line)
    return _CODES[found.outcome]
