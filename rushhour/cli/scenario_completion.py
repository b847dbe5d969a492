"""What a shell completes from the scenario file: names of scenarios, suites and releases."""

from collections.abc import Iterable
from pathlib import Path

import click

from rushhour.errors import UsageError
from rushhour.scenario.file import ScenarioFile, load_scenarios


def scenario_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a scenario."""
    file = _file(ctx)
    return [] if file is None else _matching(file.scenarios, incomplete)


def scenario_and_suite_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a scenario or a suite."""
    file = _file(ctx)
    return [] if file is None else _matching([*file.suites, *file.scenarios], incomplete)


def release_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a release of any service in the file."""
    file = _file(ctx)
    scenarios = () if file is None else file.scenarios.values()
    return _matching((name for scenario in scenarios for name in scenario.target.releases), incomplete)


def _file(ctx: click.Context) -> ScenarioFile | None:
    """Return the scenario file; None if there is none, or a broken one, because a shell shows no errors."""
    try:
        return load_scenarios(Path(ctx.params.get("scenarios") or "scenarios.yaml"))
    except UsageError:
        return None


def _matching(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]
