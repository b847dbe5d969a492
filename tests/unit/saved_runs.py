"""Writes saved runs for tests that read them."""

import dataclasses
import math
import random
from pathlib import Path

from rushhour.metrics.latencies import new_histogram
from rushhour.rundir import FactWriter, History, RunDir
from rushhour.rundir import facts as f
from rushhour.scenario.model import Scenario
from rushhour.verdict.judge import judge, verdict_json
from tests.unit import histories

ENVIRONMENT = f.Environment(
    started_at="2025-01-01T18:00:00+00:00",
    rushhour="0.1.0",
    commit="0123abc",
    python="3.13.1",
    platform="Linux x86_64",
    cpu_count=2,
    memory_mb=8192,
    stack="embedded",
    postgres="18.0",
    locust="2.47",
    sqlalchemy="2.1",
    limits={"replica": "0.5 cores by cgroup cpu.max"},
)


def save(
    path: Path,
    history: History,
    scenario: Scenario | None = None,
    environment: f.Environment | None = ENVIRONMENT,
    *,
    judged: bool = True,
    listed: bool = False,
) -> RunDir:
    """Write a run into `path`, with verdict.json if it is `judged`.

    With `listed`, the manifest names scenario.json and environment.json, as that of a real run does. A test
    that changes one of these files afterwards leaves it out.
    """
    run = RunDir(path)
    path.mkdir(parents=True)
    chosen = scenario or histories.scenario(release="1.1.1")
    writer = FactWriter(run)
    write_json = writer.write_json if listed else run.write_json
    write_json("scenario.json", chosen)
    if environment is not None:
        write_json("environment.json", environment)
    for field in dataclasses.fields(history):
        if field.name != "environment":
            writer.write(getattr(history, field.name))
    writer.close()
    if judged:
        run.write_json("verdict.json", verdict_json(judge(chosen, history, "embedded")))
    return run


def noisy(history: History, seed: int, slower: float = 1.0) -> History:
    """Add noise to a run: varying counts, spread latencies, and slow seconds that come in groups."""
    dice = random.Random(seed)  # noqa: S311 - the same run each time
    drift: dict[int, float] = {}
    level = 0.0
    for second in range(400):
        level = 0.6 * level + dice.gauss(0, 0.08)
        drift[second] = level
    rows = []
    for row in history.requests:
        histogram = new_histogram()
        usual_us = slowest_us(row.latency)
        count = max(1, round(dice.gauss(row.count, math.sqrt(row.count)))) if row.count > 5 else row.count
        for _ in range(count):
            took = usual_us * slower * math.exp(drift[row.t_s] + dice.gauss(0, 0.4))
            histogram.record_value(min(max(1, round(took)), 290_000_000))
        rows.append(dataclasses.replace(row, count=count, latency=histogram.encode().decode()))
    return dataclasses.replace(history, requests=tuple(rows))


def slowest_us(encoded: str) -> float:
    """Return the highest latency of an encoded histogram, in microseconds."""
    histogram = new_histogram()
    histogram.decode_and_add(encoded)
    return float(histogram.get_max_value())
