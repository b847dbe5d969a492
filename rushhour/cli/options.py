"""Options and exit codes that commands share."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import click

from rushhour.cli.param_types import Duration
from rushhour.cli.scenario_completion import release_names, scenario_names
from rushhour.scenario.settings import Setting
from rushhour.stack.choose import Asked

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]


@dataclass(frozen=True, slots=True)
class Options:
    """What every command that brings a stack up is given, as the command line has it."""

    scenarios: Path
    stack: Asked
    image: str | None
    allow_host: str | None
    release: str | None
    runs: Path
    postgres_bin: Path | None
    workers: int | None
    workers_at: str | None
    settings: tuple[Setting, ...] = ()  # keys of the scenarios that the command line sets


class Exit(IntEnum):
    """Exit codes; docs/verdict.md explains them."""

    MET = 0
    NOT_MET = 1
    UNKNOWN = 2
    USAGE = 64
    FAULT = 70
    INTERRUPTED = 130


def exit_code(verdicts: Sequence[str]) -> Exit:
    """Return 0 when all passed; 1 when any failed; else 2 when any is unknown."""
    if "fail" in verdicts:
        return Exit.NOT_MET
    return Exit.MET if verdicts and set(verdicts) == {"pass"} else Exit.UNKNOWN


def with_broken(code: Exit, results: Sequence[object], broken: int) -> Exit:
    """Return the exit code of some runs, of which some could not be read: the worst, 1 before 2 before 64."""
    if not broken:
        return code
    return code if results and code is not Exit.MET else Exit.USAGE


def path_option(flag: str, default: str | None, text: str) -> Decorator:
    return click.option(flag, type=click.Path(path_type=Path), default=default, show_default=True, help=text)


def scenario_option(default: str, text: str) -> Decorator:
    """Return the option that names the scenario whose settings are used."""
    return click.option(
        "--scenario",
        metavar="NAME",
        default=default,
        show_default=True,
        shell_complete=scenario_names,
        help=f"{text}: smoke-leak.",
    )


def think_time_option(text: str) -> Decorator:
    """Return the option for the think time; `text` says where it counts, or instead of what."""
    return click.option(
        "--think-time",
        "think_time_s",
        type=Duration(),
        help=f"Median pause of a customer between two steps, {text}: 5s.",
    )


scenarios_option = path_option("--scenarios", "scenarios.yaml", "File that describes the scenarios.")
postgres_bin_option = path_option(
    "--postgres-bin",
    None,
    "Folder of PostgreSQL's programs, instead of those that came with rushhour: /usr/lib/postgresql/17/bin.",
)
set_option = click.option(
    "--set",
    "assignments",
    metavar="KEY=VALUE",
    multiple=True,
    help="Set a key of the scenario: load.think_time=3s, pool.size=40. May be given several times.",
)
observability_option = click.option(
    "--observability",
    is_flag=True,
    help="On Compose: also start a real Prometheus and Alertmanager with the rules of infra/alerts; a run "
    "shows who was paged.",
)


def run_options(command: Callable[..., int]) -> Command:
    """Add the options of every command that brings a stack up; they arrive as an `Options`."""

    return _with_options(command, _RELEASE)


def run_options_of_releases(command: Callable[..., int]) -> Command:
    """Add the same to a command that takes `--release` several times, handed over as `releases`."""
    return _with_options(command, _RELEASES)


_RELEASE = click.option(
    "--release",
    metavar="NAME",
    shell_complete=release_names,
    help="Release of the service, instead of the scenario's own: 1.1.1. The scenario file lists them.",
)
_RELEASES = click.option(
    "--release",
    "releases",
    metavar="NAME",
    multiple=True,
    shell_complete=release_names,
    help="Release of the service, instead of the scenario's own: 1.1.1. May be given several times; the "
    "releases are then shown side by side.",
)


def _with_options(command: Callable[..., int], release: Decorator) -> Command:
    @functools.wraps(command)
    def with_options(**given: Any) -> int:
        fields = {name: given.pop(name) for name in Options.__dataclass_fields__ if name in given}
        return command(Options(**{"release": None} | fields), **given)

    decorated: Command = with_options
    for option in (
        postgres_bin_option,
        path_option("--runs", "runs", "Folder in which each run gets a directory of its own."),
        release,
        click.option(
            "--stack",
            type=click.Choice(["auto", "embedded", "compose"]),
            default="auto",
            show_default=True,
            envvar="RUSHHOUR_STACK",
            show_envvar=True,
            help="Where the servers and the service run: in containers (compose), as processes of this "
            "machine without Docker (embedded), or in containers where that is possible (auto).",
        ),
        click.option(
            "--workers-at",
            metavar="HOST:PORT",
            help="Start no workers, and wait at this address for those that `rushhour worker` starts, "
            "here or on other machines: 127.0.0.1:5557.",
        ),
        click.option(
            "--workers",
            metavar="N",
            type=click.IntRange(min=0),
            help="How many Locust workers share the customers, instead of the scenario's number; 0: one "
            "process does all.",
        ),
        click.option(
            "--image",
            metavar="IMAGE",
            help="Test this image of the service, on Compose, and build none: registry/referrals:1.1.1.",
        ),
        click.option(
            "--allow-host",
            metavar="HOST",
            help="Only this machine (127.0.0.1) is used unless another host is named here: that of the "
            "service, of the container engine, or of --workers-at.",
        ),
        scenarios_option,
    ):
        decorated = option(decorated)
    return decorated


RUN_PATH: Final = click.Path(
    path_type=Path, readable=False
)  # reading it says what cannot be read, and goes on
runs_argument = click.argument("runs", nargs=-1, required=True, type=RUN_PATH)
