"""A repository, a finding, a judged run and readers of formats, for the tests of annotations."""

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from rushhour.jobs.annotate.annotation import Annotation, Fact, Spot, annotation
from rushhour.jobs.annotate.of_runs import of_run
from rushhour.jobs.annotate.repository import Repository
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.scenario.model import Scenario
from rushhour.verdict.judge import judge
from tests.unit import histories as h

ROOT = Path(__file__).parents[2]
SITE = f.CallSite("shop/views.py", 2, "report")
HEALTHY = h.scenario(release="1.1")
NAMES = (
    "shop/views.py",
    "a, b/c:d.py",
    "zwei\nzeilen.py",
    "änderung/größe.py",
    "100%/x y.py",
    "back\\slash.py",
)


def lines_in(top: Path | None, environment: dict[str, str] | None = None) -> Repository:
    return Repository(top / "service" if top else None, top or Path("/"), environment or {})


def error(**changes: Any) -> Annotation:
    found = annotation(
        "error",
        "unclosed-path",
        "gate (release 1.1): unclosed-path",
        ["30 of 30 connections leaked", "fix: close it"],
        Spot("app/referrals.py", 27, "list_referrals", "session = Session()"),
        ["gate", "replica", "GET /customers/:id"],
        [Fact("leaked", "30", "of 30")],
    )
    return replace(found, **changes)


def judged(history: History, scenario: Scenario = HEALTHY) -> list[Annotation]:
    lines = Repository(ROOT, ROOT, {})
    return of_run(scenario, judge(scenario, history, "embedded"), lines, lambda _: ())


def unescaped(command: str) -> tuple[str, dict[str, str], str]:
    """Parse a command as GitHub's runner does."""
    _, head, data = command.split("::", 2)
    level, _, pairs = head.partition(" ")
    properties = dict(pair.split("=", 1) for pair in pairs.split(","))
    return level, {key: unquote(value) for key, value in properties.items()}, unquote(data)


def validated(text: str) -> dict[str, Any]:
    """Validate a log by the published schema, and return its run."""
    jsonschema = import_module("jsonschema")  # comes with check-jsonschema; has no types
    schema = json.loads((Path(__file__).parent / "schemas" / "sarif-2.1.0.json").read_text(encoding="utf-8"))
    log = json.loads(text)
    jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker()).validate(log)
    run: dict[str, Any] = log["runs"][0]
    return run
