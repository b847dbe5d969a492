"""A comparison of two runs, in the terminal and in Markdown."""

import re
from collections.abc import Sequence
from typing import Final

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from rushhour.jobs.compare import Change, Comparison, Judgement, MeasuredRun
from rushhour.jobs.compare.counted import FAILURES
from rushhour.jobs.compare.judging import CONFIDENCE, FEWEST_SECONDS, RESAMPLES
from rushhour.report.markdown import text as markdown_text
from rushhour.report.words import clean, metric

HEADS: Final = ("", "before", "after", "change", f"{CONFIDENCE:.0%} interval", "")
CHANGE: Final = HEADS.index("change")
WIDE: Final = 100  # columns from which the change stands beside its interval
_STYLE: Final = {
    Judgement.WORSE: "bold red",
    Judgement.BETTER: "bold green",
    Judgement.NO_DATA: "bold yellow",
    Judgement.SAME: "",
}
_OUTCOME_STYLE: Final = {"worse": "bold red", "not worse": "bold green", "unknown": "bold yellow"}
_SIGN: Final = {Judgement.WORSE: "❌ ", Judgement.BETTER: "✅ ", Judgement.NO_DATA: "⚠️ "}


def terminal_comparison(comparison: Comparison) -> RenderableType:
    """Show the outcome, then what differs besides, and every metric of both runs."""
    outcome = comparison.outcome
    parts: list[RenderableType] = [
        Text.assemble(
            (outcome.upper(), _OUTCOME_STYLE[outcome]), "  ", (clean(headline(comparison)), "bold")
        ),
        Text(f"before  {_named(comparison.before)}", "dim"),
        Text(f"after   {_named(comparison.after)}", "dim"),
    ]
    parts += [Text(f"  not comparable: {clean(doubt)}", "yellow") for doubt in comparison.doubts]
    parts += [Text(f"  differs: {clean(difference)}", "yellow") for difference in comparison.differences]
    parts += [Text(), _Changes(comparison.changes)]
    if comparison.block_s is not None:
        parts.append(Text(f"\n{method(comparison)}", "dim"))
    return Group(*parts)


class _Changes:
    """A row per change, those of an endpoint under its name; without the change where there is no room."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self._changes = changes

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = [at for at in range(len(HEADS)) if at != CHANGE or options.max_width >= WIDE]
        cells = [
            ("  " + _metric(item), *row[1:])
            for item, row in zip(self._changes, rows(self._changes), strict=True)
        ]
        widths = [max(len(row[at]) for row in (HEADS, *cells)) for at in range(len(HEADS))]
        yield Text("  ".join(_aligned(HEADS[at], widths[at], at) for at in shown), "dim")
        endpoint = None
        for item, row in zip(self._changes, cells, strict=True):
            if item.endpoint != endpoint:
                yield Text(clean(item.endpoint or "CPU"), "bold")
                endpoint = item.endpoint
            line = Text("  ".join(_aligned(row[at], widths[at], at) for at in shown[:-1]) + "  ")
            yield line.append(row[-1], _STYLE.get(item.judgement, "dim"))


def _aligned(cell: str, width: int, at: int) -> str:
    return cell.rjust(width) if 0 < at < len(HEADS) - 1 else cell.ljust(width)


def markdown_comparison(changes: Sequence[Change]) -> list[str]:
    """Return the table alone, as lines of Markdown."""
    lines = ["| metric | before | after | change | interval | |", "| --- | --: | --: | --: | --- | --- |"]
    for item, row in zip(changes, rows(changes), strict=True):
        cells = [markdown_text(cell) for cell in row]
        lines.append("| " + " | ".join([*cells[:-1], _SIGN.get(item.judgement, "") + cells[-1]]) + " |")
    return lines


def headline(comparison: Comparison) -> str:
    """Return what changed, in one sentence."""
    runs = (comparison.before, comparison.after)
    if any(run.endpoints and run.seconds < FEWEST_SECONDS for run in runs):
        load_s = max(run.scenario.load.warm_up for run in runs) + FEWEST_SECONDS + 2
        return (
            f"too short to compare: {runs[0].seconds} and {runs[1].seconds} measured seconds, and each run "
            f"needs {FEWEST_SECONDS}, warm-up left out: make both with --duration {load_s:.0f}s or more"
        )
    if comparison.outcome == "unknown" and comparison.doubts:
        return comparison.doubts[0]
    worse = [_described(change) for change in comparison.changes if change.judgement is Judgement.WORSE]
    better = [_described(change) for change in comparison.changes if change.judgement is Judgement.BETTER]
    parts = [f"worse: {'; '.join(worse)}"] if worse else []
    parts += [f"better: {'; '.join(better)}"] if better else []
    missing = [
        _name(change)
        for change in comparison.changes
        if change.judgement is Judgement.NO_DATA and change.decides
    ]
    parts += [f"no data: {', '.join(missing)}"] if missing else []
    unproven = [f"{_described(change)}: {change.why}" for change in comparison.changes if _unproven(change)]
    parts += [f"not proven: {'; '.join(unproven)}"] if unproven else []
    return "; ".join(parts) or "no evidence of any change that matters"


def _unproven(change: Change) -> bool:
    """Return whether requests failed in one run alone, and still in too few of its seconds."""
    rate = change.metric in FAILURES and change.endpoint is None and change.judgement is Judgement.NO_EVIDENCE
    return rate and bool(change.before) != bool(change.after)


def comparison_json(comparison: Comparison) -> dict[str, object]:
    """Return what a program reads; metrics as verdict.json names them."""
    return {
        "outcome": comparison.outcome,
        "headline": headline(comparison),
        "not_comparable": comparison.doubts,
        "differences": comparison.differences,
        "measured_s": [comparison.before.seconds, comparison.after.seconds],
        "block_s": comparison.block_s,
        "changes": comparison.changes,
    }


def method(comparison: Comparison) -> str:
    """Return how the intervals came about."""
    return (
        f"Intervals of {CONFIDENCE:.0%} from {RESAMPLES:,} resamples of the measured seconds "
        f"({comparison.before.seconds} and {comparison.after.seconds}, warm-up left out) in blocks of "
        f"{comparison.block_s} s. They hold what chance does within a run, not from one run to the next. "
        "Worse or better: all of the interval lies beyond the tolerance."
    )


def rows(changes: Sequence[Change]) -> list[tuple[str, str, str, str, str, str]]:
    """Return the cells of each row, as HEADS names them."""
    return [
        (
            _name(change),
            _value(change.metric, change.before),
            _value(change.metric, change.after),
            _change(change),
            _interval(change),
            f"{change.judgement} ({clean(change.why)})" if change.why else str(change.judgement),
        )
        for change in changes
    ]


def _named(run: MeasuredRun) -> str:
    release, commit = run.scenario.release, run.environment.commit if run.environment else None
    return clean(
        f"{run.path.name}: {run.scenario.name}, release {release}" + (f", commit {commit}" if commit else "")
    )


def _name(change: Change) -> str:
    return clean(f"{_metric(change)}  {change.endpoint}") if change.endpoint else _metric(change)


def _metric(change: Change) -> str:
    name = change.metric.replace("_s_max", "_max")
    for unit in ("_ms", "_s", "_mean", "_cores_mean"):
        name = name.removesuffix(unit)
    for plain, shown in (("_", " "), ("http", "HTTP"), ("cpu", "CPU"), ("rps", "requests/s")):
        name = name.replace(plain, shown)
    return clean(name)


def _value(name: str, value: float | str | None) -> str:
    if isinstance(value, str):
        return clean(value)
    if value is not None and name.endswith("_ms"):
        return f"{value:,.1f} ms"
    if value is not None and name.endswith("_rps"):
        return f"{value:,.1f}/s"
    return metric(name, value)


def _signed(name: str, value: float) -> str:
    if name.endswith("_rate"):
        return f"{value * 100:+.3f} pp"
    if name.endswith("_ms"):
        return f"{value:+,.1f} ms"
    if name.endswith("_rps"):
        return f"{value:+,.1f}/s"
    return f"{value:+,.2f}" if "_cores" in name or name.endswith(("_s", "_s_max")) else f"{value:+,.0f}"


def _change(change: Change) -> str:
    if (
        isinstance(change.before, str)
        or isinstance(change.after, str)
        or change.before is None
        or change.after is None
    ):
        return ""
    return _signed(change.metric, change.after - change.before)


def _interval(change: Change) -> str:
    if change.low is None or change.high is None:
        return ""
    low, high = _signed(change.metric, change.low), _signed(change.metric, change.high)
    return f"{re.sub(r'[a-z/ ]+$', '', low)} to {high}"  # the unit once


def _described(change: Change) -> str:
    return f"{_name(change)} {_value(change.metric, change.before)} -> {_value(change.metric, change.after)}"
