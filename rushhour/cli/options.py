"""Options and exit codes that commands share."""

import functools
from collections.abc import Callable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

import click

from rushhour.alarms.moments import epoch_of
from rushhour.cli.run_options import Options
from rushhour.scenario.model import seconds_of

Command = Callable[..., Any]


class Exit(IntEnum):
    """Exit codes; docs/verdict.md explains them."""

    MET = 0
    NOT_MET = 1
    UNKNOWN = 2
    USAGE = 64
    FAULT = 70
    INTERRUPTED = 130


def exit_code(verdicts: Sequence[str]) -> Exit:
    """0 when all passed; 1 when one failed; else 2 when one is unknown."""
    if "fail" in verdicts:
        return Exit.NOT_MET
    return Exit.MET if verdicts and set(verdicts) == {"pass"} else Exit.UNKNOWN


def with_broken(code: Exit, results: Sequence[object], broken: int) -> Exit:
    """The exit code of some runs, of which some could not be read: the worst, 1 before 2 before 64."""
    if not broken:
        return code
    return code if results and code is not Exit.MET else Exit.USAGE


class Duration(click.ParamType[float]):
    """`90s`, `3m`, as in the scenario file; in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return seconds_of(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Moment(click.ParamType[float]):
    """`2026-11-24T18:00Z`; in seconds since 1970."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return epoch_of(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def path_option(flag: str, default: str | None, text: str) -> Callable[[Command], Command]:
    return click.option(flag, type=click.Path(path_type=Path), default=default, show_default=True, help=text)


def run_options(command: Callable[..., int]) -> Command:
    """The options of every command that brings a stack up, handed over as one `Options`."""

    @functools.wraps(command)
    def with_options(**given: Any) -> int:
        options = Options(**{name: given.pop(name) for name in Options.__dataclass_fields__ if name in given})
        return command(options, **given)

    decorated: Command = with_options
    for option in (
        path_option("--postgres-bin", None, "PostgreSQL's bin folder, instead of the wheel's."),
        path_option("--runs", "runs", "Where run directories are kept."),
        click.option("--release", help="Run with this release instead of the scenario's own."),
        click.option(
            "--stack",
            type=click.Choice(["auto", "embedded", "compose"]),
            default="auto",
            show_default=True,
            envvar="RUSHHOUR_STACK",
            show_envvar=True,
            help="What stands under test; auto takes Compose where it can be brought up, else embedded.",
        ),
        click.option(
            "--workers-at",
            metavar="HOST:PORT",
            help="Wait here for workers started by hand (`rushhour worker`), instead of starting them.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=0),
            help="Locust's workers beside its master, instead of the scenario's own number.",
        ),
        click.option("--image", help="The service's image, built by somebody else; runs on Compose."),
        click.option(
            "--allow-host",
            help="A host beyond loopback that may be used: the engine's, or that of --workers-at.",
        ),
        path_option("--scenarios", "scenarios.yaml", "The scenario file."),
    ):
        decorated = option(decorated)
    return decorated


runs_argument = click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
