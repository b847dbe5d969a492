"""Renders short lists for the terminal: the scenarios of a file, and the causes that a suite found."""

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
    """Render the line that starts a run: number, scenario, release, load and pool."""
    count = f"[{number}/{total}] " if total > 1 else ""
    load, pool = scenario.load, pool_words(scenario)
    return Text.assemble(
        ("\n" + count, "dim"),
        (scenario.name, "bold"),
        f"  release {scenario.release}, {load.in_words()} ({load.shape_in_words()}, {load.duration:g} s)"
        + (f", {pool}" if pool else ""),
    )


def causes(results: Sequence[tuple[Scenario, Verdict]]) -> Table:
    """Render a table of the expected and the diagnosed cause of each scenario of a suite."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in ("scenario", "expected", "diagnosis", "verdict"):
        table.add_column(head)
    for scenario, verdict in results:
        diagnosed = f"{verdict.diagnosis.cause} ({verdict.diagnosis.confidence})"
        table.add_row(
            Text(clean(scenario.name)),
            Text(scenario.cause or scenario.expect),
            Text(diagnosed),
            verdict.verdict,
        )
    return table


def scenario_objects(file: ScenarioFile) -> list[dict[str, object]]:
    """Return an object for each scenario, with the suites that it belongs to, for programs."""
    return [
        {
            "name": name,
            "release": item.release,
            "users": item.load.users,
            "arrivals": [[point.at_s, point.per_s] for point in item.load.arrivals or ()] or None,
            "duration_s": item.load.duration,
            "shape": item.load.shape if item.load.arrivals is None else None,
            "expect": item.expect,
            "cause": item.cause,
            "description": item.description,
            "suites": [suite for suite, members in file.suites.items() if name in members],
        }
        for name, item in file.scenarios.items()
    ]


def scenario_list(file: ScenarioFile) -> RenderableType:
    """Render a table of the scenarios of a file, then its suites."""
    table = Table("scenario", "release", "customers", "expects", "what it is", box=None, pad_edge=False)
    for name, scenario in file.scenarios.items():
        expects = scenario.expect + (f": {scenario.cause}" if scenario.cause else "")
        users = scenario.load.short()
        table.add_row(Text(name, "bold"), scenario.release, users, expects, scenario.description)
    suites = [Text(f"suite {name}: {', '.join(members)}") for name, members in file.suites.items()]
    return Group(table, Text(), *suites)
