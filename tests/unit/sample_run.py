"""Writes a sample run with pool exhaustion, for tests of the reports."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rushhour.diagnosis import Diagnosis, Evidence, HeldSite
from rushhour.metrics.latencies import new_histogram
from rushhour.metrics.requests import request_metrics
from rushhour.metrics.window import find_window
from rushhour.report.files import report_files
from rushhour.rundir import History, Recorder, RunDir, load_history
from rushhour.rundir import facts as f
from rushhour.rundir.directory import write_whole
from rushhour.scenario.model import Load, Scenario, Target
from rushhour.scenario.thresholds import parse_threshold
from rushhour.verdict.judge import ThresholdResult, Verdict
from tests.unit.saved_runs import ENVIRONMENT

START_S = 3.0  # the load starts this long after the anchor
LOAD_S = 70.0
WARM_UP_S = 10.0
FULL_S = 24.4  # after the start of the load
CAPACITY = 30
USERS = 800
HEAVY = "GET /customers/:id/referrals"
LEAK = f.CallSite("app/queries.py", 9, "list_referrals")
LIGHT = f.CallSite("app/queries.py", 16, "summary")
SOURCE = '''"""What the service reads."""

from app.db import primary, replica
from app.models import Referral


def list_referrals(customer_id: int) -> list[Referral]:
    session = replica.session()  # the new connector
    rows = session.scalars(heavy_join(customer_id)).all()
    return [row for row in rows if row.status != "<deleted>"]


def summary(customer_id: int) -> dict[str, int]:
    with primary.session() as session:
        # one indexed row
        return session.execute(counts(customer_id)).mappings().one()
'''


@dataclass(frozen=True, slots=True)
class SampleRun:
    """A run directory with its scenario, its verdict and the service's source."""

    run: RunDir
    scenario: Scenario
    verdict: Verdict
    source_root: Path


def build(folder: Path, *, load_s: float = LOAD_S) -> SampleRun:
    """Write the run below `folder`; equal arguments give equal records."""
    root = folder / "src"
    (root / "app").mkdir(parents=True)
    (root / "app" / "queries.py").write_text(SOURCE, encoding="utf-8")
    run = RunDir(folder / "run")
    run.path.mkdir()
    scenario = sample_scenario(root, load_s)
    recorder = Recorder(run)
    dice = random.Random(7)  # noqa: S311 - the same run each time
    recorder.write(_events(load_s))
    recorder.write(_load(dice, load_s))
    recorder.write(_pools(dice, load_s))
    recorder.write(_checkouts(load_s))
    recorder.write(_servers(dice, load_s))
    recorder.close()
    run.write_json("scenario.json", scenario)
    run.write_json("environment.json", _environment())
    run.file("locust.html").write_text("<title>Locust</title>", encoding="utf-8")
    history = load_history(run)
    window = find_window(history, WARM_UP_S)
    rows = [row for row in history.requests if row.t_s >= START_S + WARM_UP_S]
    endpoints = {
        name: request_metrics([row for row in rows if row.endpoint == name], window)
        for name in {row.endpoint for row in rows}
    }
    return SampleRun(run, scenario, replace(sample_verdict(), endpoints=endpoints), root)


def written(sample: SampleRun, history: History) -> list[Path]:
    """Write the reports of the run, and return their paths, the page first."""
    files = report_files(sample.run, sample.scenario, history, sample.verdict, sample.source_root)
    write_whole(files)
    return [*files]


def page_of(sample: SampleRun, history: History) -> Path:
    """Write the reports of the run, and return the page."""
    return written(sample, history)[0]


def sample_scenario(root: Path, load_s: float = LOAD_S) -> Scenario:
    return Scenario(
        name="rush-hour",
        target=Target(
            name="referrals",
            command="{python} -m gunicorn",
            health="/health",
            releases=("1.0", "1.1", "1.1.1"),
            schema="app/schema.sql",
            root=str(root),
        ),
        load=Load(users=USERS, duration=load_s, warm_up=WARM_UP_S),
        release="1.1",
        expect="exhausted",
        cause="scope-never-removed",
        description="Release 1.1 under the evening's traffic: the replica's pool runs full of leaks.",
    )


def sample_verdict() -> Verdict:
    """Return a verdict written by hand, so that tests of the reports do not depend on the judge."""
    return Verdict(
        scenario="rush-hour",
        release="1.1",
        stack="embedded",
        expected="exhausted (scope-never-removed)",
        observed="exhausted",
        verdict="pass",
        headline="Pool replica was exhausted as expected: 30 of 30 connections held, all 30 leaked at "
        "app/queries.py:9 list_referrals; 15 requests timed out after 30 s",
        reasons=("15 QueuePool time-outs were seen", "the diagnosis is scope-never-removed, as expected"),
        diagnosis=Diagnosis(
            cause="scope-never-removed",
            confidence="certain",
            summary="30 of 30 connections of pool replica belong to requests that have ended; each thread "
            "that served the endpoint keeps one.",
            fix="Release the scoped session when the request ends: call replica.session.remove() in "
            "teardown_appcontext.",
            amplifiers=("64 threads share a pool of 30", "a waiting request blocks its thread for 30 s"),
            evidence=(
                Evidence(
                    "leaked check-outs at the end",
                    30,
                    "connections",
                    "pool.jsonl sample.leaked",
                    "none came back",
                ),
                Evidence(
                    "share of holds that outlived their request", "100 %", "", "pool.jsonl checkout", "a leak"
                ),
                Evidence(
                    "median query time on the replica",
                    7.4,
                    "ms",
                    "pool.jsonl times.hold_us",
                    "not saturation",
                ),
            ),
            call_sites=(
                HeldSite(LEAK.file, LEAK.line, LEAK.function, HEAVY, "replica", 30, 30, 1577.2, 69.8),
            ),
        ),
        thresholds=(
            ThresholdResult(parse_threshold("queuepool_timeouts == 0"), 15.0, ok=False),
            ThresholdResult(parse_threshold("http_5xx_rate < 0.1%"), 0.0027, ok=False),
            ThresholdResult(parse_threshold("p95 < 400ms"), 41.2, ok=True),
            ThresholdResult(parse_threshold("pool_in_use_max < 80%"), 1.0, ok=False),
            ThresholdResult(parse_threshold("replica_lag_max < 2s"), None, ok=None),
        ),
        metrics={
            "requests": 5589,
            "offered_rps": 93.4,
            "achieved_rps": 93.2,
            "http_5xx": 15,
            "queuepool_timeouts": 15,
            "leaked_connections": 30,
            "pool_in_use_max": 30,
            "pool_capacity": 30,
            "pool_waiters_max": 6,
            "time_to_exhaustion_s": FULL_S,
            "time_to_detection_s": FULL_S + 0.6,
            "p50_ms": 11.3,
            "p95_ms": 41.2,
            "p99_ms": 30_010.0,
            "primary_cpu_cores_mean": 0.21,
            "replica_cpu_cores_mean": 0.44,
            "replica_lag_s_max": None,
            "generator_lateness_p99_ms": 2.4,
        },
        notes=("Under ten testers the same release held 9 connections and failed nobody.",),
    )


def encoded(millis: list[float]) -> str:
    """Encode latencies in milliseconds as `RequestCount.latency` does."""
    histogram = new_histogram()
    for latency_ms in millis:
        histogram.record_value(round(latency_ms * 1000))
    return str(histogram.encode().decode("ascii"))


def _environment() -> f.Environment:
    return replace(ENVIRONMENT, limits={"replica": "0.5 cores by cgroup cpu.max", "primary": "nice 10"})


def _events(load_s: float) -> list[f.Event]:
    site = {"file": LEAK.file, "line": LEAK.line, "function": LEAK.function}
    full = START_S + FULL_S
    return [
        f.Event(2.4, f.STACK_UP, {"seconds": 2.4}),
        f.Event(START_S, f.LOAD_STARTED),
        f.Event(START_S + WARM_UP_S, f.WARMUP_ENDED),
        f.Event(
            full,
            f.POOL_FULL,
            {"pool": "replica", "pid": 7, "checked_out": CAPACITY, "capacity": CAPACITY, "leaked": 29},
        ),
        f.Event(full + 0.6, f.LEAK_DETECTED, {"pool": "replica", "pid": 7, "site": site, "leaked": 30}),
        f.Event(full + 30.0, f.FIRST_TIMEOUT, {"pool": "replica", "pid": 7, "endpoint": HEAVY}),
        f.Event(START_S + load_s, f.LOAD_ENDED, {"exit_code": 0}),
        f.Event(START_S + load_s + 2.0, f.DRAINED),
        f.Event(START_S + load_s + 2.4, f.RUN_ENDED),
    ]


def _users(at_s: float) -> int:
    """Return few users at the start, rising to nearly all."""
    return round(USERS * (0.15 + 0.85 / (1 + math.exp(-(at_s - 16) / 3.2))))


def _load(dice: random.Random, load_s: float) -> Iterator[object]:
    mix = ((HEAVY, 0.34, 12.0), ("GET /customers/:id/summary", 0.38, 4.0), ("GET /referrals/:id", 0.2, 5.0))
    for second in range(int(load_s)):
        users = _users(second)
        t_s = int(START_S) + second
        started = 0
        for endpoint, part, median in (*mix, ("POST /login", 0.08, 9.0)):
            count = max(0, round(users * 0.13 * part * dice.uniform(0.8, 1.2)))
            started += count
            slow = 1.8 if endpoint == HEAVY and second > FULL_S else 1.0
            if count:
                took = [median * slow * math.exp(dice.gauss(0, 0.45)) for _ in range(count)]
                yield f.RequestCount(t_s, endpoint, f.Outcome.OK, count, encoded(took))
        if second >= FULL_S + 30 and second % 3 != 1:
            failed = 1 + second % 2
            took = [30_000 + dice.uniform(5, 40) for _ in range(failed)]
            yield f.RequestCount(t_s, HEAVY, f.Outcome.QUEUEPOOL_TIMEOUT, failed, encoded(took))
        yield f.GeneratorSample(t_s, "local", users, started, 0, dice.uniform(1, 3), dice.uniform(3, 9), 0.24)


def _leaked(at_s: float) -> int:
    return min(CAPACITY, int(CAPACITY * (at_s / FULL_S) ** 1.7)) if at_s > 0 else 0


def _pools(dice: random.Random, load_s: float) -> Iterator[object]:
    yield f.AgentProcess(0.9, 7, 1, "3.11.7", "2.1.0", "3.1.0", ("gunicorn",))
    for tenth in range(10, int((START_S + load_s + 2) * 10)):
        t_s = tenth / 10
        at_s = t_s - START_S
        loaded = 0 < at_s < load_s
        leaked = _leaked(at_s)
        queue = 4 if at_s > FULL_S else 0
        timeouts = max(0, int((at_s - FULL_S - 30) * 0.95)) if loaded else 15
        waiting = min(queue + dice.randrange(3), 6) if queue and loaded else 0
        held = min(CAPACITY, leaked + (dice.randrange(3) if loaded else 0))
        common = ("QueuePool", 20, 10, 30.0)
        yield f.PoolSample(
            t_s,
            7,
            "replica",
            *common,
            held,
            held,
            waiting,
            leaked,
            timeouts,
            held,
            tenth * 4,
            tenth * 4 - held,
        )
        busy = dice.randrange(4) if loaded else 0
        yield f.PoolSample(t_s, 7, "primary", *common, busy, busy, 0, 0, 0, 6, tenth * 6, tenth * 6 - busy)


def _checkouts(load_s: float) -> Iterator[object]:
    end = START_S + load_s
    for at in range(CAPACITY):
        taken = START_S + FULL_S * ((at + 1) / CAPACITY) ** (1 / 1.7)
        stack = (f"{LEAK.file}:{LEAK.line} {LEAK.function}", "app/views.py:31 referrals")
        yield f.CheckOut(
            taken + 1,
            7,
            at,
            "replica",
            LEAK,
            stack,
            HEAVY,
            f"ThreadPoolExecutor-0_{at}",
            400 + at,
            taken,
            taken + 0.02,
        )
    yield f.SiteTotal(end, 7, "primary", LIGHT, "GET /customers/:id/summary", 2400, 11.2, 0.09)
    yield f.SiteTotal(end, 7, "replica", LEAK, HEAVY, CAPACITY, 0.0, 0.0)


def _servers(dice: random.Random, load_s: float) -> Iterator[object]:
    limits = {"replica": 0.5}
    for second in range(1, int(START_S + load_s + 2)):
        busy = _users(second - START_S) / USERS if second > START_S else 0.0
        for component, cores in (("primary", 0.22), ("replica", 0.47), ("service", 0.6), ("generator", 0.24)):
            used = min(cores * busy * dice.uniform(0.85, 1.15) + 0.01, limits.get(component, 2.0))
            yield f.HostSample(float(second), component, used, 60.0, 4, limits.get(component))
        idle = min(CAPACITY, _leaked(second - START_S))
        for server in ("primary", "replica"):
            yield f.ServerSample(
                float(second),
                server,
                max_connections=100,
                states={"idle in transaction": idle if server == "replica" else 0, "idle": 6},
                connections=idle + 6,
                in_recovery=server == "replica",
                streaming=True,
                lag_s=dice.uniform(0.0, 0.08) if server == "replica" else None,
            )
