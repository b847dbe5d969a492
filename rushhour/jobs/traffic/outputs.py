"""Writes customers.py, the scenario, traffic.json and traffic.html."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from rushhour.errors import UsageError
from rushhour.jobs.traffic.compare import Comparison
from rushhour.jobs.traffic.locustfile import customers_file
from rushhour.jobs.traffic.model import TrafficModel, to_json
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

CUSTOMERS: Final = "customers.py"


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
    said = [
        _write(folder / "traffic.json", to_json(model)),
        _write(folder / "traffic.html", model_page(model)),
    ]
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


def write_comparison(
    found: Comparison, source: TrafficModel, run: TrafficModel, outputs: Outputs
) -> list[str]:
    """Write comparison.json and comparison.html."""
    outputs.folder.mkdir(parents=True, exist_ok=True)
    rows = [{**asdict(row), "difference": row.difference, "ok": row.ok} for row in found.rows]
    text = (
        json.dumps(
            {"outcome": found.outcome, "scale": found.scale, "doubts": found.doubts, "rows": rows}, indent=1
        )
        + "\n"
    )
    return [
        _write(outputs.folder / "comparison.json", text),
        _write(outputs.folder / "comparison.html", comparison_page(found, source, run)),
    ]


def _write(path: Path, text: str) -> str:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError([f"{path}: cannot be written: {error.strerror}"]) from None
    return f"wrote {path}"
