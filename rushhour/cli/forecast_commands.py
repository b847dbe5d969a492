"""Commands that predict from saved runs."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from rushhour.cli.as_json import json_option, print_json
from rushhour.cli.console import console
from rushhour.cli.deployment_options import deployment_options, pool_options
from rushhour.cli.options import RUN_PATH, Exit, think_time_option
from rushhour.cli.param_types import Number
from rushhour.errors import InsufficientDataError, RunDataError
from rushhour.jobs.forecast.job import Asked, forecast_run
from rushhour.report.forecast import terminal
from rushhour.rundir import run_at
from rushhour.scenario.day import EXAMPLES, parse_day

_CODES = {"yes": Exit.NOT_MET, "no": Exit.MET, "unsure": Exit.UNKNOWN}


def _day(_context: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    try:
        if given is not None and given.strip():
            parse_day(given)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return given


@click.command(name="forecast", short_help="Forecast whether a release exhausts a pool in production.")
@click.argument("run", type=RUN_PATH)
@deployment_options
@pool_options
@think_time_option("instead of the run's")
@click.option(
    "--push-share",
    metavar="SHARE",
    type=Number(0, 1),
    help="Share of the waiting customers that act at once on a push notification of the day's curve: 0.2.",
)
@click.option(
    "--day",
    metavar="CURVE",
    callback=_day,
    help=f"The course of the day: {EXAMPLES}. Without it, all customers stay a day.",
)
@json_option
def forecast_command(run: Path, *, as_json: bool, **asked: Any) -> int:
    """Forecast from a saved run whether its release would exhaust a pool in production.

    RUN is a run directory: runs/latest. What no option gives is as in the `production:` of the run's
    scenario, and else as in the run, with 1 instance. Without a `production:`, --customers is needed.

    Exit codes: 0 no pool is exhausted; 1 one is; 2 unsure, or the run does not hold enough.
    """
    wanted = Asked(**asked)
    if not as_json:
        made = forecast_run(str(run), run_at(run), wanted)
        console.print(terminal(made))
        return _CODES[made.exhausts]
    try:
        made = forecast_run(str(run), run_at(run), wanted)
    except (RunDataError, InsufficientDataError) as error:
        print_json([{"run": run, "error": str(error)}])
        return Exit.USAGE if isinstance(error, RunDataError) else Exit.UNKNOWN
    print_json([{"run": run, **asdict(made), "error": None}])
    return _CODES[made.exhausts]
