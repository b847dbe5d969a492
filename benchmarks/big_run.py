"""Writes the directory of a long run with many endpoints, for what reads and renders runs.

Its records go through the writers of `rushhour.rundir`, and equal arguments give equal records. A few latency
histograms are shared by all rows, because encoding one for each row would take longer than all else.
"""

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rushhour.metrics.latencies import new_histogram
from rushhour.rundir import FactWriter, RunDir
from rushhour.rundir import facts as f
from rushhour.scenario.model import Load, Scenario, Target

START_S: Final = 2
WARM_UP_S: Final = 10
ENDPOINTS, SECONDS = 100, 3600
HISTOGRAMS: Final = 200
VALUES: Final = 20  # in a histogram: requests of an endpoint in a second
USERS: Final = 10_000
CAPACITY: Final = 30
BATCH: Final = 10_000  # facts in a write
PEAK_S, PEAK_IN_USE = 1800, CAPACITY  # one sample of one pool has it; all others have less


def write_big_run(
    path: Path,
    *,
    endpoints: int = ENDPOINTS,
    seconds: int = SECONDS,
    pools: int = 2,
    processes: int = 2,
    workers: int = 1,
) -> RunDir:
    """Write a run of `seconds` of load with a row per endpoint and second, and pools sampled at 10 Hz.

    Locust's `workers` have a row each second in generator.jsonl; those of requests.jsonl are merged.
    """
    run = RunDir(path)
    path.mkdir(parents=True)
    dice = random.Random(7)  # noqa: S311 - the same run each time
    scenario, environment = _scenario(seconds), _environment()
    writer = FactWriter(run)
    writer.write_json("scenario.json", scenario)
    writer.write_json("environment.json", environment)
    end = START_S + seconds
    writer.write(
        [
            f.Event(0.0, f.ANCHOR, {"manifest": True}),
            f.Event(1.0, f.STACK_UP, {"seconds": 1.0}),
            f.Event(float(START_S), f.LOAD_STARTED),
            f.Event(START_S + scenario.load.warm_up, f.WARMUP_ENDED),
            f.Event(float(end), f.LOAD_ENDED, {"completed": True}),
            f.Event(end + 1.0, f.DRAINED),
            f.Event(end + 2.0, f.RUN_ENDED),
        ]
    )
    batch: list[object] = []
    for fact in _facts(dice, endpoints, seconds, pools, processes, workers=workers):
        batch.append(fact)
        if len(batch) == BATCH:
            writer.write(batch)
            batch.clear()
    writer.write(batch)
    writer.close()
    return run


def _scenario(seconds: int) -> Scenario:
    target = Target(
        name="shop", command="{python} -m shop", health="/health", releases=("1.0",), schema="schema.sql"
    )
    load = Load(users=USERS, duration=float(seconds), warm_up=float(WARM_UP_S))
    return Scenario(name="soak", target=target, load=load, release="1.0", expect="healthy")


def _environment() -> f.Environment:
    return f.Environment(
        started_at="2025-01-01T18:00:00+00:00",
        rushhour="1",
        commit=None,
        python="3.13",
        platform="Linux x86_64",
        cpu_count=16,
        memory_mb=65_536,
        stack="embedded",
        postgres="18.0",
        locust="2.47",
        sqlalchemy="2.1",
    )


def _facts(
    dice: random.Random, endpoints: int, seconds: int, pools: int, processes: int, *, workers: int
) -> Iterator[object]:
    names = [f"GET /shops/:id/aisles/:id/list-{number:03}" for number in range(endpoints)]
    histograms = [_histogram(dice) for _ in range(HISTOGRAMS)]
    for pid in range(1, processes + 1):
        yield f.AgentProcess(1.0, pid, 99, "3.13", "2.1", "3.1.0", ("gunicorn",))
    for second in range(START_S, START_S + seconds):
        for name in names:
            latency = dice.choice(histograms)
            yield f.RequestCount(second, name, f.Outcome.OK, VALUES, latency, latency_due=f.SAME_LATENCY)
        if second % 7 == 0:
            latency = dice.choice(histograms)
            yield f.RequestCount(
                second, dice.choice(names), f.Outcome.HTTP_5XX, VALUES, latency, latency_due=f.SAME_LATENCY
            )
        users = round(USERS / workers * min(1.0, (second + 1) / 60))
        sent = endpoints * VALUES // workers
        for number in range(workers):
            name = "local" if workers == 1 else f"worker-{number}"
            late_ms = dice.uniform(1, 3), dice.uniform(3, 9)
            yield f.GeneratorSample(second, name, users, sent, 0, *late_ms, 0.5, due=sent)
        for component in ("primary", "replica", "service", "generator", "harness", "machine"):
            yield f.HostSample(float(second), component, dice.uniform(0.2, 0.9), 80.0, 4)
        for server in ("primary", "replica"):
            yield f.ServerSample(
                float(second),
                server,
                max_connections=100,
                states={"idle": 20, "active": dice.randrange(9)},
                connections=30,
                in_recovery=server == "replica",
                streaming=True,
                lag_s=dice.uniform(0, 0.1) if server == "replica" else None,
            )
        for pid in range(1, processes + 1):
            for pool in range(pools):
                yield from _pool(dice, second, pid, pool)


def _pool(dice: random.Random, second: int, pid: int, pool: int) -> Iterator[f.PoolFact]:
    """Yield a second of a pool: ten samples and its times."""
    name = ("replica", "primary")[pool] if pool < 2 else f"10.0.0.{pool}:5432/shop"
    for tenth in range(10):
        taken = (second * 10 + tenth) * 20
        held = dice.randrange(CAPACITY // 2)
        if (pid, pool, second, tenth) == (1, 0, START_S + PEAK_S, 0):
            held = PEAK_IN_USE
        yield f.PoolSample(
            second + tenth / 10,
            pid,
            name,
            "QueuePool",
            CAPACITY - 10,
            10,
            30.0,
            held,
            held,
            0,
            0,
            0,
            CAPACITY,
            taken,
            taken - held,
        )
    yield f.PoolTimes(second + 0.95, pid, name, hold_us={4096: 150, 8192: 50}, wait_us={1: 200})


def _histogram(dice: random.Random) -> str:
    histogram = new_histogram()
    median_ms = dice.uniform(4, 12)
    for _ in range(VALUES):
        histogram.record_value(round(1000 * median_ms * math.exp(dice.gauss(0, 0.6))))
    return str(histogram.encode().decode("ascii"))
