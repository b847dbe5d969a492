"""Options that describe a deployment which was not run: its customers, instances, processes and pools."""

import click

from rushhour.cli.options import Command, Decorator
from rushhour.scenario.model import MOST_FORECAST, MOST_INSTANCES, MOST_PROCESSES, MOST_THREADS

_MOST_CONNECTIONS = 10_000  # of a process, beside its overflow


def _number(flag: str, least: int, most: int, text: str) -> Decorator:
    return click.option(flag, metavar="N", type=click.IntRange(least, most), help=text)


def deployment_options(command: Command) -> Command:
    """Add the customers and processes of a deployment; each is None where it is not given."""
    for option in (
        _number("--threads", 1, MOST_THREADS, "Threads of each process: 16."),
        _number("--workers", 1, MOST_PROCESSES, "Processes of each instance; each has its own pools: 4."),
        _number("--instances", 1, MOST_INSTANCES, "Instances of the service: 12."),
        _number("--customers", 1, MOST_FORECAST, "Most customers at once, of all instances together: 800."),
    ):
        command = option(command)
    return command


def pool_options(command: Command) -> Command:
    """Add the sizes of a process's pools; each is None where it is not given."""
    for option in (
        _number("--max-overflow", 0, _MOST_CONNECTIONS, "The max_overflow of each pool there: 10."),
        _number("--pool-size", 1, _MOST_CONNECTIONS, "The pool_size of each pool there: 20."),
    ):
        command = option(command)
    return command
