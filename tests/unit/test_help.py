"""`--help` of each command tells a new user what each option takes."""

from collections.abc import Iterator

import click
import pytest

from rushhour.cli import cli
from rushhour.cli.param_types import Duration


def commands(group: click.Group, name: str = "rushhour") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for each in group.list_commands(context):
        command = group.get_command(context, each)
        assert command is not None
        yield f"{name} {each}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} {each}")


COMMANDS = dict(commands(cli))


def options(command: click.Command) -> list[click.Option]:
    return [param for param in command.params if isinstance(param, click.Option)]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained_in_a_sentence(name: str) -> None:
    for option in options(COMMANDS[name]):
        assert option.help, option.opts
        assert option.help[0].isupper(), option.help
        assert option.help.endswith("."), option.help


@pytest.mark.parametrize("name", COMMANDS)
def test_text_and_durations_show_an_example_or_a_default(name: str) -> None:
    for option in options(COMMANDS[name]):
        takes_text = option.type is click.STRING or isinstance(option.type, Duration)
        if takes_text and not option.is_flag:
            shown = ":" in (option.help or "") or "RUSHHOUR" in (option.help or "")
            assert shown or isinstance(option.default, (str, float)), (option.opts, option.help)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_what_it_does_in_a_sentence_that_begins_with_a_verb(name: str) -> None:
    help_text = (COMMANDS[name].help or "").strip()
    first = help_text.splitlines()[0]
    assert first[0].isupper()
    assert first.split()[0].lower() not in {"the", "a", "an", "whom", "do", "does", "one", "locust's"}, first


def test_help_names_every_exit_code_of_the_program() -> None:
    assert cli.help is not None
    for code in ("0 ", "1 ", "2 ", "64 ", "70 ", "130 "):
        assert code in cli.help


@pytest.mark.parametrize(
    "name", [name for name, command in COMMANDS.items() if isinstance(command, click.Group)]
)
def test_the_list_of_commands_cuts_no_sentence_at_80_columns(name: str) -> None:
    assert_whole(COMMANDS[name])


def test_the_list_of_all_commands_cuts_no_sentence_at_80_columns() -> None:
    assert_whole(cli)


def assert_whole(group: click.Command) -> None:
    help_text = group.get_help(click.Context(group, terminal_width=80))
    assert "Commands:" in help_text
    for line in help_text.partition("Commands:")[2].splitlines()[1:]:
        assert line.endswith((".", "?")), line
        assert not line.endswith("..."), line


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_shows_what_it_takes_and_not_its_python_type(name: str) -> None:
    context = click.Context(COMMANDS[name])
    for option in options(COMMANDS[name]):
        shown = option.make_metavar(context)
        assert shown not in {"TEXT", "FLOAT", "INTEGER", "FLOAT RANGE", "INTEGER RANGE"}, option.opts
