"""The two environment variables that start the agent in a service."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

OUT_VARIABLE = "RUSHHOUR_AGENT_DIR"
METRICS_VARIABLE = "RUSHHOUR_AGENT_METRICS"
JOURNAL_VARIABLE = "RUSHHOUR_AGENT_JOURNAL"
INJECT_DIR = Path(__file__).resolve().parent / "inject"


def agent_environment(out: Path, base: Mapping[str, str], *, metrics: str | None = None) -> dict[str, str]:
    """Return the variables to add to `base`, the environment of the service without the agent.

    `out` is where each process of the service writes `<pid>.jsonl`; it must exist and be writable for the
    service's user, as INJECT_DIR must be readable. `metrics` is where they serve Prometheus's text: "PORT",
    "HOST:PORT", or "file" for `out`/pools.prom alone.
    """
    rest = [entry for entry in base.get("PYTHONPATH", "").split(os.pathsep) if entry]
    paths = [str(INJECT_DIR), *(entry for entry in rest if entry != str(INJECT_DIR))]
    found = {"PYTHONPATH": os.pathsep.join(paths), OUT_VARIABLE: str(out.resolve())}
    return found | {METRICS_VARIABLE: metrics} if metrics else found
