"""Renders the reports of a judged run, and writes those of a suite."""

from collections.abc import Collection, Sequence
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


def report_files(
    run: RunDir,
    scenario: Scenario,
    history: History,
    verdict: Verdict,
    source_root: Path | None,
    *,
    alarms: AlarmSection | None = None,
    traffic: TrafficSection | None = None,
    beside: Collection[str] = (),
) -> dict[Path, str]:
    """Render report.html, junit.xml and summary.md of a run: the path and the text of each.

    `source_root` is the folder that source excerpts are read from, `beside` are files that are written with
    the reports, which the page links as it does those that are there.
    """
    new = {"junit.xml", "summary.md", *beside}
    links = [name for name in BESIDE if name in new or run.file(name).exists()]
    if run.logs.is_dir():
        links += [f"logs/{path.name}" for path in sorted(run.logs.iterdir()) if path.is_file()]
    page = render_html(scenario, history, verdict, source_root, links, alarms=alarms, compared=traffic)
    return {
        run.file("report.html"): page,
        run.file("junit.xml"): render_junit([verdict]),
        run.file("summary.md"): render_markdown(scenario, verdict, source_root, traffic),
    }


def write_suite(folder: Path, results: Sequence[tuple[Scenario, Verdict]]) -> list[Path]:
    """Write junit.xml and summary.md of a suite into `folder`; return their paths."""
    summaries = [
        render_comparison(results),
        *(render_markdown(scenario, verdict) for scenario, verdict in results),
    ]
    files = {
        folder / "junit.xml": render_junit([verdict for _, verdict in results]),
        folder / "summary.md": "\n".join(summaries),
    }
    write_whole(files)
    return [*files]
