"""For the unit tests, which share a process in any order."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from rushhour.screen.console import UNBOUNDED

# Where the commands' consoles are; a test that needs none of them does not import them.
_CONSOLES = ("rushhour.cli.console", "rushhour.jobs.drill.command")


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Fails a test that changes what later tests find: folder, environment, or where consoles write to."""
    before = _shared()
    yield
    assert _shared() == before, "the test leaves state behind for the tests after it"


@pytest.fixture
def no_loop_goes_on() -> Iterator[None]:
    """Ends the threads of a test's loops."""
    yield
    from tests.unit.rounds_subject import Loop  # noqa: PLC0415  # only the tests that use it import it

    while Loop.all:
        Loop.all.pop().end()


def _shared() -> tuple[Path, dict[str, str], list[str]]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    fixed = [
        f"{module}.{name}"
        for module in _CONSOLES
        if module in sys.modules
        for name, console in vars(sys.modules[module]).items()
        if isinstance(console, Console)
        and (console._file is not None or console._width not in (None, UNBOUNDED))
    ]
    return Path.cwd(), environment, fixed
