"""Names from outside, such as endpoints with `:id:`, are printed as they are."""

import ast
from pathlib import Path

import pytest
from rich.console import Console
from rich.rule import Rule
from rich.table import Table

import rushhour
from rushhour.cli import console as commands_console
from rushhour.cli.main import main
from rushhour.jobs.drill import command as drill_command
from rushhour.process.printable import without_commands
from rushhour.screen.console import make_console

OUTSIDE = "GET /products/:id:/:heart: [bold]x[/bold] [/nothing]"
OWN = (commands_console.console, commands_console.errors, drill_command.console)


def written(console: Console) -> str:
    # The consoles are the package's own: nothing of them may stay changed for the tests that follow.
    with console.capture() as captured:
        table = Table(OUTSIDE, title=OUTSIDE)
        table.add_row(OUTSIDE)
        console.print(table, width=200)
        console.print(OUTSIDE, soft_wrap=True)
        console.print(Rule(OUTSIDE), width=200)
    return captured.get()


def test_consoles_print_emoji_names_and_markup_as_text() -> None:
    for console in OWN:
        assert written(console).count(OUTSIDE) == 5


@pytest.mark.parametrize("text", ["::error file=a::b", "  ::set-output name=a::b", "##[error]b"])
def test_no_text_from_outside_is_a_command_to_a_ci_server(
    text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    console = make_console()
    console.print(text)
    console.print(f"first\n{text}", soft_wrap=True)
    with pytest.raises(SystemExit) as ended:
        main(["traffic", str(tmp_path / f"x\n{text}")])
    said = capsys.readouterr()
    assert ended.value.code == 64
    assert said.out.startswith(f"| {text}\nfirst\n| {text}\n")
    assert f"\n| {text}" in said.err


def test_an_address_is_no_command() -> None:
    assert without_commands("::1\n::ffff:10.0.0.1 is bound") == "::1\n::ffff:10.0.0.1 is bound"


def test_every_console_of_the_package_disables_emoji_and_markup() -> None:
    found = 0
    for path in Path(rushhour.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "Console":
                found += 1
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert given.get("emoji") == given.get("markup") == "False", f"{path}:{node.lineno}"
            if isinstance(node, ast.Call) and getattr(node.func, "attr", None) == "print":
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert "True" not in (given.get("emoji"), given.get("markup")), f"{path}:{node.lineno}"
    assert found == 1  # of screen/console.py, which makes them all
