"""Short lists for the terminal: the scenarios of a file, the doctor's findings, what `rushhour check` saw."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rushhour.archive.rows import RunRow
from rushhour.check.result import CheckResult
from rushhour.history.facts import CheckOut
from rushhour.report.words import clean
from rushhour.scenario.file import ScenarioFile
from rushhour.scenario.model import Scenario
from rushhour.verdict.judge import Verdict

FIX = "Release the session when its request ends: remove() in teardown_appcontext, or a with block."
_STYLE = {"pass": "bold green", "fail": "bold red", "unknown": "bold yellow"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor: `ok` False only where the embedded stack cannot run without it."""

    what: str
    ok: bool
    found: str
    advice: str = ""


def title(scenario: Scenario, number: int, total: int) -> RenderableType:
    """One line that opens a run: which scenario, of how many, with which release and load."""
    count = f"[{number}/{total}] " if total > 1 else ""
    load, pool = scenario.load, scenario.pool
    return Text.assemble(
        ("\n" + count, "dim"),
        (scenario.name, "bold"),
        f"  release {scenario.release}, {load.users} customers ({load.shape}, {load.duration:g} s), "
        f"pool {pool.size} + {pool.max_overflow}, time-out {pool.timeout:g} s",
    )


def causes(results: Sequence[tuple[Scenario, Verdict]]) -> Table:
    """What each scenario of a suite was expected to show, and the cause that was told."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in ("scenario", "expected", "cause told", "verdict"):
        table.add_column(head)
    for scenario, verdict in results:
        told = f"{verdict.diagnosis.cause} ({verdict.diagnosis.confidence})"
        table.add_row(
            Text(clean(scenario.name)), Text(scenario.cause or scenario.expect), Text(told), verdict.verdict
        )
    return table


def scenario_list(file: ScenarioFile) -> RenderableType:
    """A table of scenarios, then the suites."""
    table = Table("scenario", "release", "customers", "expects", "what it is", box=None, pad_edge=False)
    for name, one in file.scenarios.items():
        expects = one.expect + (f": {one.cause}" if one.cause else "")
        table.add_row(Text(name, "bold"), one.release, str(one.load.users), expects, one.description)
    suites = [Text(f"suite {name}: {', '.join(members)}") for name, members in file.suites.items()]
    return Group(table, Text(), *suites)


def run_list(rows: Sequence[RunRow]) -> RenderableType:
    """Past runs, oldest first."""
    if not rows:
        return Text("no run is known here yet")
    table = Table(
        "start (UTC)", "scenario", "release", "verdict", "observed", "cause", "run", box=None, pad_edge=False
    )
    for row in rows:
        table.add_row(
            row.started_at.removesuffix("+00:00").replace("T", " "),
            Text(clean(row.scenario)),
            Text(clean(row.release)),
            Text(row.verdict, _STYLE[row.verdict]),
            row.observed,
            Text("" if row.cause == "none" else clean(f"{row.cause} {row.site or ''}".rstrip())),
            Text(row.run, "dim", overflow="fold"),
        )
    return table


def doctor(findings: Iterable[Finding]) -> RenderableType:
    """What was found, and what to do where something is missing."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for one in findings:
        mark = Text("ok", "green") if one.ok else Text("missing", "bold red")
        advice = f"\n{one.advice}" if one.advice and not one.ok else ""
        table.add_row(mark, one.what, Text(one.found + advice))
    return table


def check_summary(result: CheckResult, scenario: Scenario, run_path: Path) -> RenderableType:
    """First what happened; then each request, and each connection that stayed out with its line."""
    verdict = result.verdict
    told = f"check of {scenario.target.name} {scenario.release}"
    lines: list[RenderableType] = []
    if verdict == "fail":
        where = "; ".join(
            dict.fromkeys(f"{out.site.file}:{out.site.line} {out.site.function}" for out in result.leaked)
        )
        count = len(result.leaked)
        what = f"{count} connection{'s' * (count > 1)} did not come back, checked out at {where}"
    elif verdict == "unknown":
        what = "not every endpoint could be checked"
    else:
        what = f"every connection came back after {len(result.answers)} requests"
    lines.append(Text.assemble((verdict.upper(), _STYLE[verdict]), f" {told}: {what}"))
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


def _held(out: CheckOut) -> Text:
    return Text(
        f"  pool {out.pool}: taken by {out.endpoint or 'code outside a request'} "
        f"at {out.site.file}:{out.site.line} {out.site.function}, "
        f"still out {out.t_s - out.taken_s:.1f} s later (thread {out.thread}, server pid {out.server_pid})"
    )
