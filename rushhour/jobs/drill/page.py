"""Renders a drill: in the terminal, as a page, as Markdown, as JUnit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from junitparser import TestCase
from rich.table import Table
from rich.text import Text

from rushhour.jobs.drill.facts import VERDICT_OF, Drill, Figures
from rushhour.jobs.drill.judge import EVENTS, HOST, POOL, REQUESTS
from rushhour.report import words
from rushhour.report.junit import junit_document, set_result
from rushhour.report.markdown import code, text
from rushhour.report.page import render_page, timeline_chart
from rushhour.report.panels import timeline
from rushhour.rundir import History, RunDir
from rushhour.verdict.lost import RESTS_ALL

TONE: Final = {"proven": "pass", "not proven": "fail", "unknown": "unknown"}
SIGN: Final = {"proven": "✓", "not proven": "✕", "unknown": "?"}
STYLE: Final = {"proven": "green", "not proven": "red", "unknown": "yellow"}


def headline(drill: Drill) -> str:
    """Return the drill in one sentence."""
    by = f" (by {drill.rollout.by})" if drill.rollout else ""
    if drill.outcome == "proven":
        rewritten = sum(change.what == "rewritten" for change in drill.changes)
        others = (
            f"restarted no other service; it wrote the definitions of {rewritten} anew"
            if rewritten
            else "touched no other service"
        )
        return f"Hotfix {drill.hotfix}{by} cured {drill.target} and {others}"
    if drill.rollout is not None and drill.rollout.state == "rolled back":
        return f"Hotfix {drill.hotfix}{by} was rolled back by itself"
    return f"Hotfix {drill.hotfix}{by}: {drill.outcome}"


def touched(drill: Drill) -> str:
    """Return what became of the siblings, counted."""
    count = {
        what: sum(change.what == what for change in drill.changes)
        for what in ("untouched", "rewritten", "restarted")
    }
    own = drill.target_change.what if drill.target_change else "not seen"
    return (
        f"{drill.target} {own}; {len(drill.changes)} others: {count['untouched']} untouched, "
        f"{count['rewritten']} rewritten (new version, same tasks), {count['restarted']} restarted"
    )


def rows(drill: Drill) -> list[tuple[str, str]]:
    """Name and value of each figure, the same in every form; unknown where the file it rests on lost rows."""
    found = drill.figures
    if found is None:
        return []
    cores = f"{words.cores(found.replica_cores_before)} and {words.cores(found.replica_cores_after)} cores"
    named = [
        *((name, file, took(seconds)) for name, file, seconds in times(found)),
        ("requests lost in the roll-out", REQUESTS, _lost(found)),
        ("pool time-outs before", POOL, f"{found.timeouts_before:,}"),
        ("without a 5xx at the end", REQUESTS, f"{found.quiet_s:.0f} s, {found.requests_quiet:,} requests"),
        ("replica CPU before and after", HOST, cores),
    ]
    unknown = RESTS_ALL & {*drill.lost}
    return [(name, "unknown" if unknown or file in drill.lost else value) for name, file, value in named]


def _lost(found: Figures) -> str:
    lost = f"{found.lost_in_rollout:,} of {found.requests_in_rollout:,}"
    return f"{lost}, and {found.http_5xx_in_rollout:,} HTTP 5xx"


def times(found: Figures) -> list[tuple[str, str, float | None]]:
    """Return how long the command took for each effect: name, file it rests on, seconds (None: never)."""
    return [
        ("command to roll-out's end", EVENTS, found.rollout_s),
        ("command to last pool time-out", POOL, found.last_timeout_s),
        ("command to HTTP 5xx at zero", REQUESTS, found.http_5xx_zero_s),
        ("command to pool drained", POOL, found.drained_s),
    ]


def took(seconds: float | None) -> str:
    """Return a time in words."""
    return "never" if seconds is None else f"{seconds:.1f} s"


def terminal(drill: Drill, folder: Path) -> Table:
    """Return the summary."""
    table = Table.grid(padding=(0, 2))
    table.add_row(
        Text(f"{SIGN[drill.outcome]} {drill.outcome.upper()}", STYLE[drill.outcome]), Text(headline(drill))
    )
    for reason in drill.reasons:
        table.add_row("", Text(reason, "yellow"))
    for name, value in [*rows(drill), *([("services", touched(drill))] if drill.changes else [])]:
        table.add_row(Text(name, "dim"), Text(value))
    if drill.mutable:
        table.add_row(Text("latent", "dim"), Text(latent(drill)))
    table.add_row(Text("report", "dim"), Text(str(folder / "report.html")))
    return table


def latent(drill: Drill) -> str:
    """Return who would take another image at the next reschedule, and for whom that has come true already."""
    words = f"{len(drill.mutable)} services are on a tag that may move"
    if drill.moved:
        words += f"; it has moved since {', '.join(drill.moved)} started, which would change at a reschedule"
    return words


def markdown(drill: Drill) -> str:
    """Render summary.md."""
    lines = [f"# {SIGN[drill.outcome]} {text(headline(drill))}", ""]
    lines += [f"- {text(reason)}" for reason in drill.reasons]
    if drill.rollout:
        lines += ["", f"Command: {code(drill.rollout.command)}", ""]
    if drill.figures:
        lines += ["| figure | value |", "| --- | --- |"]
        lines += [f"| {name} | {text(value)} |" for name, value in rows(drill)]
        lines += ["", text(touched(drill)) + "."]
    if drill.mutable:
        lines += ["", f"Latent blast radius: {text(latent(drill))}."]
    return "\n".join(lines) + "\n"


def junit(drills: Sequence[Drill]) -> str:
    """Render a test case for each drill: not proven is a failure, unknown an error."""
    return junit_document("rushhour drill", map(_case, drills))


def _case(drill: Drill) -> TestCase:
    case = TestCase(f"hotfix by {drill.rollout.by if drill.rollout else 'none'}", "rushhour.jobs.drill")
    set_result(case, VERDICT_OF[drill.outcome], headline(drill), None, "\n".join(drill.reasons))
    return case


def page(drill: Drill, history: History) -> str:
    """Render report.html, in the look of a run's report."""
    picture = timeline(history)
    after = {state.name: state for state in drill.after}
    changes = [*([drill.target_change] if drill.target_change else []), *drill.changes]
    found: list[tuple[str, Any]] = [
        (change.what, (change, after[change.name])) for change in changes if change.name in after
    ]
    content: dict[str, object] = {
        "what": "drill",
        "timeline": picture,
        "drill": drill,
        "tone": TONE[drill.outcome],
        "sign": SIGN[drill.outcome],
        "headline": headline(drill),
        "touched": touched(drill),
        "services": [pair for _, pair in found],
        "tiles": [
            (name, value.split(", ")[0], ", ".join(value.split(", ")[1:])) for name, value in rows(drill)
        ],
    }
    return render_page("drill.html.j2", content, package=__package__, chart=timeline_chart(picture))


def drill_files(run: RunDir, drill: Drill, history: History) -> dict[Path, str]:
    """Return path and text of report.html, summary.md and junit.xml."""
    return {
        run.file("report.html"): page(drill, history),
        run.file("summary.md"): markdown(drill),
        run.file("junit.xml"): junit([drill]),
    }
