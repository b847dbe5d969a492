"""Runs one variant of a case under load, and reads what was said of it."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from tests.field.cases import FOLDER, SERVICES, Case
from tests.judged_runs import ATTEMPTS, BUSY
from tests.matrix.environments import ROOT, environment_of

Variant = Literal["broken", "cured", "no-agent"]
VARIANTS: Final[tuple[Variant, ...]] = ("broken", "cured", "no-agent")
CACHE: Final = ROOT / ".cache" / "field"
RUN_S: Final = 300.0
_HEALTHY: Final = ["queuepool_timeouts == 0", "leaked_connections == 0", "http_5xx == 0", "p95 < 2500ms"]
_DEGRADED: Final = [*_HEALTHY[:-1], "p95 < 800ms"]


class FieldError(Exception):
    """A run that left no verdict."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one run ended with; `cause` is None where it has no diagnosis."""

    verdict: str
    reason: str
    cause: str | None
    confidence: str
    summary: str
    named: tuple[str, ...]  # of the case's lines, those that the diagnosis names
    run: str  # its directory

    @property
    def broke(self) -> bool:
        """Whether the stack or the service never stood up."""
        return self.reason.startswith("the stack broke")

    @property
    def busy(self) -> bool:
        """Whether nothing but a machine busy with other work kept it from a verdict."""
        return self.verdict == "unknown" and any(why in self.reason for why in BUSY)


def environment_for(case: Case) -> Path:
    """The programs of its environment, which is built if it is not there yet: not by two at once."""
    pinned = (FOLDER / f"{case.environment}.txt").read_text(encoding="utf-8").split()
    return environment_of(tuple(pinned))


def run_case(case: Case, variant: Variant, runs: Path) -> Said:
    """What one run said, which is kept for the table.

    What the machine was too busy for is run again: a twin without a verdict, and a broken service without a
    name, which is all that is asked of it.
    """
    file = _write_scenario(case, variant)
    for _ in range(ATTEMPTS):
        said = _run_once(case, variant, file, runs / case.name)
        if not said.busy or (variant != "cured" and said.cause is not None):
            break
    _seen(case, variant).parent.mkdir(parents=True, exist_ok=True)
    _seen(case, variant).write_text(json.dumps(asdict(said), indent=1) + "\n", encoding="utf-8")
    return said


def last_said(case: Case, variant: Variant) -> Said | None:
    """What the last run on this machine said."""
    file = _seen(case, variant)
    if not file.exists():
        return None
    content = json.loads(file.read_text(encoding="utf-8"))
    return Said(**{**content, "named": tuple(content["named"])})


def _seen(case: Case, variant: Variant) -> Path:
    return CACHE / "seen" / f"{case.name}.{variant}.json"


def _run_once(case: Case, variant: Variant, file: Path, runs: Path) -> Said:
    command = [sys.executable, "-m", "rushhour", "run", case.name, "--scenarios", str(file)]
    command += ["--runs", str(runs), "--stack", "embedded"]
    if variant == "no-agent":
        command.append("--no-agent")
    runs.mkdir(parents=True, exist_ok=True)
    pattern = f"*-{case.name}/verdict.json"  # alone in its folder: runs of `self-lock` end with `-lock`, too
    before = set(runs.glob(pattern))
    try:
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=RUN_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise FieldError(f"{case.name} {variant}: no end within {RUN_S:g} s") from error
    verdict_file = max(set(runs.glob(pattern)) - before, default=None)
    if verdict_file is None:
        said = (ended.stdout + ended.stderr).strip()
        raise FieldError(f"{case.name} {variant}: exit {ended.returncode}, no verdict\n{said}")
    return said_of(case, json.loads(verdict_file.read_text(encoding="utf-8")), str(verdict_file.parent))


def said_of(case: Case, verdict: dict[str, Any], run: str) -> Said:
    """The diagnosis in a run's verdict.json.

    A line counts as named in the summary, the fix, the evidence, or as the call site that is shown first.
    """
    diagnosis = verdict.get("diagnosis") or {}
    parts = [diagnosis.get("summary", ""), diagnosis.get("fix", ""), *diagnosis.get("amplifiers", ())]
    for evidence in diagnosis.get("evidence", ()):
        parts += [str(evidence.get(key, "")) for key in ("signal", "value", "meaning")]
    parts += [f"{site['file']}:{site['line']}" for site in diagnosis.get("call_sites", ())[:1]]
    text = "\n".join(parts)
    return Said(
        verdict=verdict["verdict"],
        reason=(verdict.get("reasons") or [""])[0],
        cause=diagnosis.get("cause"),
        confidence=diagnosis.get("confidence", ""),
        summary=diagnosis.get("summary", ""),
        named=tuple(line for line in case.lines if _names(text, line)),
        run=run,
    )


def _names(text: str, line: str) -> bool:
    """`nested.py:1` is not named by `nested.py:17`."""
    return any(not rest[:1].isdigit() for rest in text.split(line)[1:])


def _write_scenario(case: Case, variant: Variant) -> Path:
    """A scenario file of this one run, for `rushhour run --scenarios` (JSON is YAML)."""
    cured = variant == "cured"
    python = environment_for(case) / "python"
    file = CACHE / variant / f"{case.name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    environment = {"CURED": "yes" if cured else "no", "DATABASE_URL": "{primary_url}"}
    target: dict[str, object] = {
        "name": "field",
        "root": os.path.relpath(SERVICES, file.parent),
        "python": str(python),
        "health": "/health",
        "url_scheme": case.url_scheme,
        "command": case.command,
        "environment": environment,
    }
    if case.tables:
        target["setup"] = "{python} make_tables.py"
    load = {
        "shape": "steady",
        "users": case.users,
        "spawn_rate": case.users,
        "duration": "10s",
        "warm_up": "1s",
        "client_timeout": "10s",
        "locustfile": os.path.relpath(FOLDER / case.locustfile, SERVICES),
    }
    scenario = {
        "description": case.description,
        "expect": "healthy" if cured else case.expect,
        "thresholds": _DEGRADED if case.expect == "degraded" else _HEALTHY,
        "pool": {"size": 3, "max_overflow": 2, "timeout": "2s"},
        "service": {"threads": 24},
        "load": load,
        "target": target,
    }
    content = {"scenarios": {case.name: scenario}}
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return file
