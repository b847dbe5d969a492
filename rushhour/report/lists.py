"""Renders short lists for the terminal: the scenarios of a file, and what a suite showed."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rushhour.report.settings import pool_words
from rushhour.report.words import clean
from rushhour.scenario.file import ScenarioFile
from rushhour.scenario.model import Scenario
from rushhour.verdict.judge import Verdict


def title(scenario: Scenario, number: int, total: int) -> RenderableType:
    """One line that opens a run: which scenario, of how many, with which release and load."""
    count = f"[{number}/{total}] " if total > 1 else ""
    load, pool = scenario.load, pool_words(scenario)
    return Text.assemble(
        ("\n" + count, "dim"),
        (scenario.name, "bold"),
        f"  release {scenario.release}, {load.users} customers ({load.shape}, {load.duration:g} s)"
        + (f", {pool}" if pool else ""),
    )


def causes(results: Sequence[tuple[Scenario, Verdict]]) -> Table:
    """What each scenario of a suite was expected to show, and the cause that was told."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in ("scenario", "expected", "cause told", "verdict"):
        table.add_column(head)
    for scenario, verdict in results:
        told = f"{verdict.diagnosis.cause} ({verdict.diagnosis.confidence})"
        table.add_row(
            Text(clean(scenario.name)), Text(scenario.cause or scenario.expect), Text(told), verdict.verdict
        )
    return table


def scenario_objects(file: ScenarioFile) -> list[dict[str, object]]:
    """The same for programs: an object for each scenario, with the suites that it belongs to."""
    return [
        {
            "name": name,
            "release": one.release,
            "users": one.load.users,
            "duration_s": one.load.duration,
            "shape": one.load.shape,
            "expect": one.expect,
            "cause": one.cause,
            "description": one.description,
            "suites": [suite for suite, members in file.suites.items() if name in members],
        }
        for name, one in file.scenarios.items()
    ]


def scenario_list(file: ScenarioFile) -> RenderableType:
    """A table of scenarios, then the suites."""
    table = Table("scenario", "release", "customers", "expects", "what it is", box=None, pad_edge=False)
    for name, one in file.scenarios.items():
        expects = one.expect + (f": {one.cause}" if one.cause else "")
        table.add_row(Text(name, "bold"), one.release, str(one.load.users), expects, one.description)
    suites = [Text(f"suite {name}: {', '.join(members)}") for name, members in file.suites.items()]
    return Group(table, Text(), *suites)
