"""Writes customers.py, the scenario, traffic.json and traffic.html."""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from rushhour.errors import RunDataError, UsageError
from rushhour.jobs.traffic.locustfile import customers_file
from rushhour.jobs.traffic.model import TrafficModel, read_model, to_json
from rushhour.jobs.traffic.page import comparison_page, model_page
from rushhour.jobs.traffic.scenario_text import (
    ScenarioAsked,
    new_file,
    relative_to_root,
    scenario_lines,
    why_no_scenario,
    write_into,
)
from rushhour.jobs.traffic.service import Service, bodies_of
from rushhour.judging.judge import render_run
from rushhour.rundir import RunDir
from rushhour.rundir.traffic import TRAFFIC_FILE, TrafficComparison

CUSTOMERS: Final = "customers.py"
MODEL: Final = "traffic.json"


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where files go, and whether they may replace others."""

    folder: Path
    force: bool = False


def check_folder(outputs: Outputs) -> None:
    """Raise UsageError before the log is read where a file that is edited by hand would be replaced."""
    if outputs.folder.exists() and not outputs.folder.is_dir():
        raise UsageError([f"--out {outputs.folder}: is no folder"])
    there = [
        outputs.folder / name for name in (CUSTOMERS, "scenarios.yaml") if (outputs.folder / name).exists()
    ]
    if there and not outputs.force:
        raise UsageError([f"{path} is there already; --force replaces it" for path in there])


def write_outputs(
    model: TrafficModel, service: Service, scenario: ScenarioAsked, outputs: Outputs, app: str | None
) -> list[str]:
    """Write the files; what was written and what was not, a line each."""
    folder = outputs.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError([f"--out {folder}: cannot be made: {error.strerror}"]) from None
    customers = folder / CUSTOMERS
    model = replace(model, scales=_scales(model, scenario, folder / MODEL))
    said = [_write(folder / MODEL, to_json(model)), _write(folder / "traffic.html", model_page(model))]
    if not model.walks:
        return [
            *said,
            *(f"no {CUSTOMERS} and no scenario were written: {why}" for why in why_no_scenario(model)),
        ]
    text = customers_file(model, bodies_of(service.target, model), fill=scenario.closed or model.fills)
    said.append(_write(customers, text))
    if model.users is None:
        return [*said, *(f"no scenario was written: {why}" for why in why_no_scenario(model))]
    if service.file is None or service.target is None:
        return [*said, _write(folder / "scenarios.yaml", new_file(model, scenario, app))]
    locustfile = relative_to_root(customers, Path(service.target.root))
    lines = scenario_lines(model, scenario, locustfile)
    write_into(service.file.path, lines, scenario.name, force=outputs.force)
    return [*said, f"wrote the scenario {scenario.name} into {service.file.path}"]


def _scales(model: TrafficModel, scenario: ScenarioAsked, path: Path) -> dict[str, float]:
    """The scales of the scenarios that this log was made into, those of an earlier call among them."""
    if not model.walks or model.users is None:
        return {}
    earlier: dict[str, float] = {}
    if path.is_file():
        with suppress(UsageError):  # it is replaced, whatever it is
            old = read_model(path)
            earlier = old.scales if _same_log(old, model) else {}
    return {**earlier, scenario.name: scenario.scale}


def _same_log(one: TrafficModel, other: TrafficModel) -> bool:
    a, b = one.arrivals, other.arrivals
    same = (a.requests, a.sessions) == (b.requests, b.sessions)
    return same and abs(a.first_t - b.first_t) < 0.01 and abs(a.last_t - b.last_t) < 0.01


def write_comparison(
    found: TrafficComparison, source: TrafficModel, run: TrafficModel, outputs: Outputs
) -> list[str]:
    """Write comparison.json and comparison.html."""
    outputs.folder.mkdir(parents=True, exist_ok=True)
    return [
        _write(outputs.folder / "comparison.json", json.dumps(comparison_json(found), indent=1) + "\n"),
        _write(outputs.folder / "comparison.html", comparison_page(found, source, run)),
    ]


def write_into_run(found: TrafficComparison, run: Path) -> list[str]:
    """Write the comparison into a run's directory, and its reports anew; what was written, a line each.

    A directory that cannot be written keeps its reports, and the lines say so.
    """
    folder = RunDir(run)
    try:
        folder.write_json(TRAFFIC_FILE, comparison_json(found))
        return [f"wrote {path}" for path in (folder.file(TRAFFIC_FILE), *render_run(folder))]
    except OSError as error:
        return [f"the run's reports do not show the comparison: {run}: {error.strerror}"]
    except RunDataError as error:
        return [f"the run's reports do not show the comparison: {error}"]


def comparison_json(found: TrafficComparison) -> dict[str, Any]:
    """The content of comparison.json and of a run's traffic-comparison.json."""
    rows = [{**asdict(row), "difference": row.difference, "ok": row.ok} for row in found.rows]
    return {**asdict(found), "outcome": found.outcome, "rows": rows}


def _write(path: Path, text: str) -> str:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError([f"{path}: cannot be written: {error.strerror}"]) from None
    return f"wrote {path}"
