"""The command that says how large a pool must be."""

from dataclasses import replace
from pathlib import Path

import click

from rushhour.cli.as_json import json_option, print_json
from rushhour.cli.console import console
from rushhour.cli.deployment_options import deployment_options
from rushhour.cli.options import Exit, runs_argument
from rushhour.cli.param_types import Duration
from rushhour.errors import InsufficientDataError, RunDataError, UsageError
from rushhour.forecast.demand import Demand
from rushhour.forecast.queueing import Setting, measured_setting
from rushhour.jobs.size.advice import WAIT_S, size_pools
from rushhour.jobs.size.reading import read_for_sizing
from rushhour.jobs.size.render import sizing_objects, terminal_sizing


@click.command(short_help="Say how large a service's pools must be, from saved runs.")
@runs_argument
@deployment_options
@click.option(
    "--max-connections",
    metavar="N",
    type=click.IntRange(4, 1_000_000),
    help="Connections that the server allows, instead of those of the run's servers: 200.",
)
@click.option(
    "--wait",
    "wait_s",
    type=Duration(zero=True),
    default=f"{WAIT_S * 1e3:g}ms",
    show_default=True,
    help="How long the slowest hundredth of the check-outs may wait for a connection: 1s.",
)
@click.option(
    "--over",
    "over_s",
    type=Duration(),
    help="With scraped metrics: over how long they were counted, since the service started or since the "
    "earlier text: 1h.",
)
@json_option
def size(
    runs: tuple[Path, ...],
    *,
    customers: int | None,
    instances: int | None,
    workers: int | None,
    threads: int | None,
    max_connections: int | None,
    wait_s: float,
    over_s: float | None,
    as_json: bool,
) -> int:
    """Say how large a service's pools must be, from runs that were made.

    RUNS are run directories of one release, or one or two texts of the agent's metrics as Prometheus scraped
    them from production (the earlier one first, with --over). Two runs at different loads also show how much
    longer busy servers keep connections. What no option gives is as in the run, with 1 instance.

    Exit codes: 0 sizes are recommended; 2 none can be, since the service leaks, nests check-outs or would be
    near its CPU, or since the data do not suffice; 64 bad usage.
    """
    try:
        demand = read_for_sizing(runs, over_s)
    except (RunDataError, InsufficientDataError) as error:
        if not as_json:
            raise
        print_json([{"run": ", ".join(str(path) for path in runs), "error": str(error)}])
        return Exit.USAGE if isinstance(error, RunDataError) else Exit.UNKNOWN
    setting = _setting(demand, customers, instances, workers, threads)
    sizing = size_pools(demand, setting, wait_s=wait_s, max_connections=max_connections)
    if as_json:
        print_json(sizing_objects(sizing))
    else:
        console.print(terminal_sizing(sizing))
    known = all(found.enough is not None for found in sizing.pools)
    return Exit.MET if known else Exit.UNKNOWN


def _setting(
    demand: Demand, customers: int | None, instances: int | None, workers: int | None, threads: int | None
) -> Setting:
    if customers is not None and not demand.seconds:
        raise UsageError(
            ["--customers: scraped metrics do not say how many customers there were; size a run"]
        )
    ran = measured_setting(demand)
    return replace(
        ran,
        customers=customers or ran.customers,
        instances=instances or ran.instances,
        processes=workers or ran.processes,
        threads=threads or ran.threads,
    )
