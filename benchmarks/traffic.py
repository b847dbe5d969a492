"""A log of the shipped customers at the rush hour, its model, and how far the run of the model is from it."""

import re
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import ROOT, kept_run, rushhour
from benchmarks.table import Row
from rushhour.jobs.traffic.build import Asked
from rushhour.jobs.traffic.options import ReadingOptions
from rushhour.jobs.traffic.study import compare_run
from rushhour.report.traffic import bound, difference, figure
from rushhour.rundir import facts as f
from rushhour.rundir import load_history
from rushhour.rundir.traffic import Row as Figure
from rushhour.rundir.traffic import TrafficComparison

DURATION_S = 480.0
# Of the duration. The shape is at its peak from half of it on; at 0.53 of it a push notification makes many
# customers drop their sessions at once, which the model does not have.
PEAK_FROM = 0.6
LOG_FORMAT = (
    '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s" %(D)s'  # gunicorn's own, and how long
)
WORDS = {
    "mix": "mix of endpoints",
    "sessions": "sessions a minute",
    "think": "median think times",
    "concurrency": "customers present at the peak",
}


def run() -> list[Row]:
    """A run of eight minutes, and a run of its model of three; the table of every figure goes to stderr."""
    with tempfile.TemporaryDirectory(prefix="rushhour-traffic-") as folder:
        found = measured(Path(folder))
    print(table(found), file=sys.stderr)
    return [row for kind in WORDS for row in rows(found, kind)]


def measured(folder: Path) -> TrafficComparison:
    """Make the log, the model and its run; how far they lie apart."""
    scenarios = folder / "scenarios.yaml"
    scenarios.write_text(
        with_durations((ROOT / "scenarios.yaml").read_text(encoding="utf-8")), encoding="utf-8"
    )
    file = ("--scenarios", str(scenarios))
    source = kept_run(folder, "gate", *file, "--duration", f"{DURATION_S:g}s")
    history = load_history(source)
    anchor = history.event(f.ANCHOR)
    started_s, ended_s = history.time_of(f.LOAD_STARTED), history.time_of(f.LOAD_ENDED)
    if anchor is None or started_s is None or ended_s is None:
        raise RuntimeError("the source run was cut short")
    wall_s = float(anchor.detail["wall_s"])
    made = rushhour(
        "traffic",
        str(source.logs / "access.log"),
        *(*file, "--extends", "gate", "--out", str(folder / "traffic"), "--log-format", LOG_FORMAT),
        *(
            "--from",
            f"{wall_s + started_s + PEAK_FROM * DURATION_S:.3f}",
            "--until",
            f"{wall_s + ended_s:.3f}",
        ),
    )
    if made.returncode:
        raise RuntimeError(f"rushhour traffic: exit {made.returncode}\n{made.stdout}{made.stderr}")
    run = kept_run(folder, "evening-peak", *file)
    model = str(folder / "traffic" / "traffic.json")
    return compare_run([model], run.path, ReadingOptions(), Asked())[0]


def with_durations(text: str) -> str:
    """The scenario file for another folder, whose service logs how long a request took."""
    text = re.sub(r"^service:\n", f"service:\n  root: {ROOT}\n", text, count=1, flags=re.MULTILINE)
    logged = "--access-logfile {logs}/access.log"
    return text.replace(logged, f"{logged} --access-logformat '{LOG_FORMAT}'", 1)


def table(found: TrafficComparison) -> str:
    """Every figure, as docs/traffic.md has it."""
    lines = ["| figure | source | run | difference | allowed |", "| --- | --- | --- | --- | --- |"]
    for one in found.rows:
        cells = (one.what, figure(one, one.source), figure(one, one.run), difference(one), bound(one))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def rows(found: TrafficComparison, kind: str) -> list[Row]:
    """The figure of a kind that lies furthest off."""
    known = [one for one in found.rows if one.kind == kind]
    if not known:
        return [Row(f"traffic model: {WORDS[kind]}", "unknown: the log shows none", "", False)]
    worst = max(known, key=lambda one: float("inf") if one.difference is None else abs(one.difference))
    return [
        Row(f"traffic model: {WORDS[kind]}", _measured(worst), f"within {bound(worst)}", worst.ok is True)
    ]


def _measured(one: Figure) -> str:
    return f"{difference(one)} ({one.what}: {figure(one, one.source)}, run {figure(one, one.run)})"
