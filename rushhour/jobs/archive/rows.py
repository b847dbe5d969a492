"""What the history keeps of one judged run."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from rushhour.errors import RunDataError
from rushhour.jobs.archive.directories import STAMP, night_of, runs_folder_of
from rushhour.judging.saved import read_environment, read_verdict
from rushhour.rundir import RunDir
from rushhour.verdict.judge import Verdict


@dataclass(frozen=True, slots=True)
class RunRow:
    """One judged run; metrics as verdict.json names them, None without data."""

    run: str  # its directory, relative to the runs folder
    night: str | None
    started_at: str  # ISO 8601, UTC
    scenario: str
    release: str
    stack: str
    code_commit: str | None
    expected: str
    observed: str
    verdict: str
    headline: str
    cause: str
    site_file: str | None = None
    site_line: int | None = None
    site_function: str | None = None
    requests: int | None = None
    achieved_rps: float | None = None
    http_5xx: int | None = None
    http_5xx_rate: float | None = None
    queuepool_timeouts: int | None = None
    leaked_connections: int | None = None
    pool_in_use_max: int | None = None
    pool_capacity: int | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    primary_cpu_cores_mean: float | None = None
    replica_cpu_cores_mean: float | None = None
    time_to_exhaustion_s: float | None = None

    @property
    def site(self) -> str | None:
        """`app/x.py:12 list_referrals`, where a cause was named."""
        return None if self.site_file is None else f"{self.site_file}:{self.site_line} {self.site_function}"


METRICS: Final = (
    "requests",
    "achieved_rps",
    "http_5xx",
    "http_5xx_rate",
    "queuepool_timeouts",
    "leaked_connections",
    "pool_in_use_max",
    "pool_capacity",
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "primary_cpu_cores_mean",
    "replica_cpu_cores_mean",
    "time_to_exhaustion_s",
)


def row_of(run: RunDir, verdict: Verdict) -> RunRow:
    """Return the row of a run that was just judged. Raises RunDataError on a broken environment.json."""
    environment = read_environment(run)
    diagnosis = verdict.diagnosis
    site = diagnosis.call_sites[0] if diagnosis.call_sites and diagnosis.cause != "none" else None
    values = {name: verdict.metrics.get(name) for name in METRICS}
    return RunRow(
        run=run.path.resolve().relative_to(runs_folder_of(run)).as_posix(),
        night=night_of(run),
        started_at=environment.started_at if environment else _start_in_name(run),
        scenario=verdict.scenario,
        release=verdict.release,
        stack=verdict.stack,
        code_commit=environment.commit if environment else None,
        expected=verdict.expected,
        observed=verdict.observed,
        verdict=verdict.verdict,
        headline=verdict.headline,
        cause=diagnosis.cause,
        site_file=site.file if site else None,
        site_line=site.line if site else None,
        site_function=site.function if site else None,
        **values,  # type: ignore[arg-type]  # as verdict.json types them
    )


def read_row(run: RunDir) -> RunRow | None:
    """Return the row of a saved run; None when it was never judged. Raises RunDataError."""
    verdict = read_verdict(run)
    return None if verdict is None else row_of(run, verdict)


def _start_in_name(run: RunDir) -> str:
    stamp = run.path.name.partition("-")[0]
    try:
        return datetime.strptime(stamp, STAMP).replace(tzinfo=UTC).isoformat()
    except ValueError:
        raise RunDataError(f"{run.path}: no environment.json, and no start in its name") from None
