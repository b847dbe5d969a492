"""Options that mean the same are alike in every command, and refuse numbers that mean nothing."""

from collections import defaultdict
from typing import Any, Final

import click
import pytest

from rushhour.cli.param_types import Duration, Number
from tests.unit.test_help import COMMANDS, options

DIFFERENT: Final = {
    "--duration",  # the longest time of a drill; what a run sets instead of its scenario's
    "--force",  # each names the files it replaces
    "--from",  # a rate, and a moment
    "--image",  # of the release under test, and of the release that leaks
    "--json",  # to a file while a command of another program writes to stdout
    "--keep",  # a number of nights, and a folder
    "--over",  # how long an evening lasts, and how long metrics were counted
    "--release",  # capacity takes several; a drill has a default
    "--runs",
    "--scenario",
    "--scenarios",  # traffic adds to the file
    "--stack",  # a drill has other stacks
    "--think-time",  # each says instead of what
    "--until",
    "--users",  # what a run sets goes to the scenario's reader
    "--workers",  # of Locust, and of the service
}
ALL: Final = [(name, option) for name, command in COMMANDS.items() for option in options(command)]


def meaning(option: click.Option) -> tuple[Any, ...]:
    kind = option.type
    bounds = (kind.min, kind.max) if isinstance(kind, (click.IntRange, click.FloatRange)) else ()
    return (type(kind), bounds, option.metavar, str(option.default), option.multiple, option.help)


def test_options_of_the_same_name_have_the_same_type_bounds_and_help() -> None:
    found: dict[str, dict[tuple[Any, ...], list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, option in ALL:
        found[option.opts[0]][meaning(option)].append(name)
    unlike = {flag: list(kinds.values()) for flag, kinds in found.items() if len(kinds) > 1}
    assert not {flag: names for flag, names in unlike.items() if flag not in DIFFERENT}


def test_options_of_a_deployment_are_those_of_one_definition() -> None:
    flags = {"--customers", "--instances", "--workers", "--threads"}
    for flag in flags:
        kinds = {
            meaning(option)
            for name, option in ALL
            if flag in option.opts and name in ("rushhour size", "rushhour forecast")
        }
        assert len(kinds) == 1, flag


@pytest.mark.parametrize(
    ("name", "option"),
    [(name, option) for name, option in ALL if isinstance(option.type, click.types.FloatRange)],
    ids=lambda value: value if isinstance(value, str) else value.opts[0],
)
def test_no_number_within_bounds_is_nan_or_infinite(name: str, option: click.Option) -> None:
    assert isinstance(option.type, Number), name
    for text in ("nan", "inf", "-inf"):
        with pytest.raises(click.BadParameter):
            option.type.convert(text, option, None)


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("alarms", "--over"),
        ("alarms", "--per"),
        ("alarms", "--attention"),
        ("capacity", "--think-time"),
        ("capacity", "--step"),
        ("capacity", "--budget"),
        ("drill hotfix", "--duration"),
        ("forecast", "--think-time"),
        ("nightly", "--soak"),
        ("size", "--over"),
    ],
)
def test_a_duration_of_nothing_is_refused_where_it_means_nothing(name: str, flag: str) -> None:
    (option,) = (item for item in options(COMMANDS[f"rushhour {name}"]) if flag in item.opts)
    for text in ("0s", "0ms", "0h0m"):
        with pytest.raises(click.BadParameter, match=r"is not above 0; write 500ms, 30s, 2m or 1h"):
            option.type.convert(text, option, None)
    assert option.type.convert("90s", option, None) == 90.0


def test_a_duration_may_be_0_where_it_means_at_once() -> None:
    assert Duration(zero=True).convert("0s", None, None) == 0.0
