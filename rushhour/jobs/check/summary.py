"""Renders what `rushhour check` saw for the terminal."""

from pathlib import Path
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rushhour.jobs.check.result import CheckResult
from rushhour.report.words import VERDICT_STYLE
from rushhour.rundir.facts import CheckOut
from rushhour.scenario.model import Scenario

FIX: Final = (
    "Release the session when its request ends: a with block, a dependency that yields it (FastAPI), or "
    "remove() in teardown_appcontext (Flask); when its job ends: remove() or close() in a finally."
)


def check_summary(result: CheckResult, scenario: Scenario, run_path: Path) -> RenderableType:
    """Show what happened, then each request, and each connection that stayed out with its line."""
    verdict = result.verdict
    subject = f"check of {scenario.target.name} {scenario.release}"
    lines: list[RenderableType] = []
    lines.append(Text.assemble((verdict.upper(), VERDICT_STYLE[verdict]), f" {subject}: {headline(result)}"))
    table = Table(box=None, show_header=False, pad_edge=True)
    for answer in result.answers:
        status = str(answer.status) if answer.status else "none"
        request = f"{answer.request.method} {answer.request.path}"
        table.add_row(request, status, f"{answer.took_ms:.0f} ms")
    lines.append(table)
    for out in result.leaked:
        lines += [_held(out), *(Text(f"      {frame}", "dim") for frame in out.stack[1:])]
    lines += [Text(f"  not checked: {doubt}", "yellow") for doubt in result.doubts]
    if verdict == "fail":
        lines.append(Text(f"  {FIX}"))
    lines.append(Text(f"  {run_path}", "dim"))
    return Group(*lines)


def headline(result: CheckResult) -> str:
    """Say in one sentence what became of the connections."""
    if result.verdict == "fail":
        where = "; ".join(
            dict.fromkeys(f"{out.site.file}:{out.site.line} {out.site.function}" for out in result.leaked)
        )
        count = len(result.leaked)
        return f"{count} connection{'s' * (count > 1)} did not come back, checked out at {where}"
    if result.verdict == "unknown":
        return "not every endpoint could be checked"
    return f"every connection came back after {len(result.answers)} requests"


def _held(out: CheckOut) -> Text:
    return Text(
        f"  pool {out.pool}: taken by {out.endpoint or 'code outside a request'} "
        f"at {out.site.file}:{out.site.line} {out.site.function}, "
        f"still out {out.t_s - out.taken_s:.1f} s later (in {out.thread}, server pid {out.server_pid})"
    )
