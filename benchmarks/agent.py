"""What the agent costs: per check-out, and in a service's throughput; beside its alternatives.

The agent goes in and out of one process; alternatives run beside each other, each in a process of its own,
and are measured in turn, round by round. Times are CPU times of the whole process: on a machine that is
shared with others, wall-clock times say little.
"""

import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.asyncio_cost import asyncio_rows
from benchmarks.cycle_cost import cost_row
from benchmarks.harness import ROOT
from benchmarks.subject import ask, environment, subject
from benchmarks.table import Row
from benchmarks.throughput import throughput_rows

OTEL: Final = ROOT / ".cache" / "bench-otel"
OTEL_PACKAGES: Final = ("opentelemetry-instrumentation-sqlalchemy", "sqlalchemy<2.1")

CYCLES: Final = 20_000
SESSIONS: Final = 3_000
CYCLE_STARTS: Final = 4
CYCLE_ROUNDS: Final = 3


def run() -> list[Row]:
    """Measure for about five minutes; the first time, an environment for OpenTelemetry is made as well."""
    with tempfile.TemporaryDirectory(prefix="rushhour-bench-") as folder:
        out = Path(folder)
        rows = cycle_rows(out)
        rows += otel_rows(out)
        rows += throughput_rows(out)
        rows += asyncio_rows(out)
    return rows


def cycle_rows(out: Path) -> list[Row]:
    """With this environment's SQLAlchemy: the agent, and `echo_pool="debug"`."""
    here = Path(sys.executable)
    plain, echo = measure_cycles(Variant(here), Variant(here, "echo"), cycles=CYCLES)
    session, observed = measure_cycles(
        Variant(here, work="session"), Variant(here, work="session", agent_out=out), cycles=SESSIONS
    )
    return [
        cost_row("agent: check-out and check-in", here, "sqlite://", "sync", out),
        cost_row("  in a thread of an executor", here, "sqlite://", "gthread", out),
        cost_row("  in a greenlet of gevent", here, "sqlite://", "gevent", out),
        Row("  with an ORM session around it", on_top(observed, session), "", None),
        Row('  beside it: echo_pool="debug"', on_top(echo, plain), "", None),
    ]


def otel_rows(out: Path) -> list[Row]:
    """With SQLAlchemy 2.0, for OpenTelemetry's instrumentation refuses 2.1: both, in that environment.

    An ORM session is around each cycle: OpenTelemetry's instrumentation works there, not in the bare pool.
    """
    name = "  beside it: OpenTelemetry"
    try:
        python = otel_python()
    except subprocess.CalledProcessError as error:
        last = (error.stderr or b"").decode(errors="replace").strip().splitlines()[-1:] or [str(error)]
        return [Row(name, f"not measured, no environment: {last[0][:80]}", "", None)]
    except (OSError, subprocess.TimeoutExpired) as error:
        return [Row(name, f"not measured, no environment: {str(error)[:80]}", "", None)]
    plain, agent, otel = measure_cycles(
        Variant(python, work="session"),
        Variant(python, work="session", agent_out=out),
        Variant(python, "otel", work="session"),
        cycles=SESSIONS,
    )
    measured = (
        f"{added(otel, plain):.1f} us added, the agent {on_top(agent, plain)} (SQLAlchemy 2.0, session)"
    )
    return [Row(name, measured, "", None)]


def added(with_it: Sequence[float], without: Sequence[float]) -> float:
    """Median over the rounds of what was added, in microseconds."""
    return median(one - other for one, other in zip(with_it, without, strict=True))


def on_top(with_it: Sequence[float], without: Sequence[float]) -> str:
    return f"{added(with_it, without):.1f} us added to {median(without):.1f} us"


def otel_python() -> Path:
    """The interpreter of an environment with OpenTelemetry's instrumentation, made when it is not there."""
    python = OTEL / "bin" / "python"
    ready = OTEL / ".ready"
    if not ready.exists():
        venv.create(OTEL, with_pip=True, clear=True)
        subprocess.run(
            [python, "-m", "pip", "install", "-qq", "--root-user-action=ignore", *OTEL_PACKAGES],
            check=True,
            capture_output=True,
            timeout=300,
        )
        ready.touch()
    return python


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run benchmarks/subjects/pool_cycle.py; with the agent where `agent_out` is set."""

    python: Path
    kind: str = "plain"
    work: str = "raw"
    agent_out: Path | None = None


def measure_cycles(*variants: Variant, cycles: int) -> list[list[float]]:
    """CPU microseconds per cycle of each variant, round by round."""
    rounds: list[list[float]] = []
    for _ in range(CYCLE_STARTS):  # for no two processes are laid out alike in memory
        with ExitStack() as stack:
            subjects = [stack.enter_context(cycle_subject(variant)) for variant in variants]
            rounds += [[ask(subject, cycles) for subject in subjects] for _ in range(CYCLE_ROUNDS)]
    return [list(column) for column in zip(*rounds, strict=True)]


def cycle_subject(variant: Variant) -> AbstractContextManager[subprocess.Popen[str]]:
    command = [str(variant.python), "benchmarks/subjects/pool_cycle.py", variant.kind, variant.work]
    return subject(command, environment(variant.agent_out))
