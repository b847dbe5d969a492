"""Writes the reports of a judged run into its directory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rushhour.report.alarms import AlarmSection
from rushhour.report.html import render_html
from rushhour.report.junit import render_junit
from rushhour.report.markdown import render_comparison, render_markdown
from rushhour.report.traffic import TrafficSection
from rushhour.rundir import History, RunDir
from rushhour.rundir.directory import write_whole
from rushhour.rundir.traffic import TRAFFIC_FILE
from rushhour.scenario.model import Scenario
from rushhour.verdict.judge import Verdict

RAW: Final = (
    "verdict.json",
    "scenario.json",
    "environment.json",
    "events.jsonl",
    "requests.jsonl",
    "generator.jsonl",
    "pool.jsonl",
    "postgres.jsonl",
    "host.jsonl",
    "notifications.jsonl",
    "alarms.json",
    TRAFFIC_FILE,
)
BESIDE: Final = ("locust.html", "junit.xml", "summary.md", *RAW)


def write_reports(
    run: RunDir,
    scenario: Scenario,
    history: History,
    verdict: Verdict,
    source_root: Path | None,
    *,
    alarms: AlarmSection | None = None,
    traffic: TrafficSection | None = None,
) -> list[Path]:
    """Write junit.xml, summary.md and report.html of a run, each atomically; return their paths.

    `source_root` is the folder that source excerpts are read from.
    """
    written = [
        write(run.file("junit.xml"), render_junit([verdict])),
        write(run.file("summary.md"), render_markdown(scenario, verdict, source_root, traffic)),
    ]
    beside = [name for name in BESIDE if run.file(name).exists()]
    if run.logs.is_dir():
        beside += [f"logs/{path.name}" for path in sorted(run.logs.iterdir()) if path.is_file()]
    page = render_html(scenario, history, verdict, source_root, beside, alarms=alarms, compared=traffic)
    return [write(run.file("report.html"), page), *written]


def write_suite(folder: Path, results: Sequence[tuple[Scenario, Verdict]]) -> list[Path]:
    """Write junit.xml and summary.md of a suite into `folder`; return their paths."""
    summaries = [
        render_comparison(results),
        *(render_markdown(scenario, verdict) for scenario, verdict in results),
    ]
    return [
        write(folder / "junit.xml", render_junit([verdict for _, verdict in results])),
        write(folder / "summary.md", "\n".join(summaries)),
    ]


def write(path: Path, text: str) -> Path:
    """Write a file atomically, and return its path."""
    write_whole(path, text)
    return path
