"""Commands that predict from saved runs."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from rushhour.cli.as_json import json_option, print_json
from rushhour.cli.console import console
from rushhour.cli.options import Duration, Exit
from rushhour.errors import InsufficientDataError, RunDataError
from rushhour.jobs.forecast.job import Asked, forecast_run
from rushhour.report.forecast import terminal
from rushhour.rundir import run_at

_CODES = {"yes": Exit.NOT_MET, "no": Exit.MET, "unsure": Exit.UNKNOWN}


@click.command(name="forecast")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--customers",
    metavar="N",
    type=click.IntRange(1, 10_000_000),
    help="Customers of the production at its peak. Needed unless the run's scenario names a production.",
)
@click.option("--instances", metavar="K", type=click.IntRange(1, 10_000), help="Instances of the service.")
@click.option(
    "--workers",
    metavar="W",
    type=click.IntRange(1, 1000),
    help="Processes of an instance; each has its pools.",
)
@click.option("--threads", metavar="T", type=click.IntRange(1, 10_000), help="Threads of each process.")
@click.option(
    "--pool-size", metavar="N", type=click.IntRange(1, 10_000), help="The pool_size of each process there."
)
@click.option(
    "--max-overflow",
    metavar="N",
    type=click.IntRange(0, 10_000),
    help="The max_overflow of each process there.",
)
@click.option(
    "--think-time",
    "think_time_s",
    type=Duration(),
    help="Median pause of a customer between two steps, there: 10s.",
)
@click.option(
    "--push-share",
    type=click.FloatRange(0, 1),
    help="Share of the waiting customers that act at once on a push notification of the day's curve: 0.2.",
)
@click.option(
    "--day",
    metavar="CURVE",
    help="The course of the day: 'rush-hour over 75s', or '07:00 10%, 18:00 100%, 18:30 push 20%'. "
    "Without it, all customers stay a day.",
)
@json_option
def forecast_command(run: Path, *, as_json: bool, **asked: Any) -> int:
    """Forecast from a saved run whether its release would exhaust a pool in production.

    RUN is a run directory: runs/latest. What is not said is as in the `production:` of the run's scenario,
    and else as in the run.

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
