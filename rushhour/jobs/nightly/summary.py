"""summary.md of a night: what failed and why, what changed since the last good night, then the numbers."""

from collections.abc import Iterator, Sequence

from rushhour.jobs.archive import RunRow
from rushhour.jobs.compare import Judgement
from rushhour.jobs.compare.render import headline, markdown_comparison, method
from rushhour.jobs.nightly.night import Night
from rushhour.jobs.nightly.since import Since
from rushhour.metrics.wording import counted
from rushhour.report.markdown import SIGN, code, render_comparison, text
from rushhour.scenario.model import Scenario
from rushhour.verdict.judge import Verdict

_NOTABLE = {Judgement.WORSE, Judgement.BETTER, Judgement.MORE, Judgement.LESS, Judgement.NO_DATA}


def render_night(
    night: Night, results: Sequence[tuple[Scenario, Verdict]], good: Night | None, changes: Sequence[Since]
) -> str:
    """Return the whole summary."""
    lines = [f"# {title(night)}", "", *_outcomes(night), "", *_since(good, changes)]
    if results:
        lines += [render_comparison(results), *_details(changes)]
    return "\n".join(lines).rstrip() + "\n"


def title(night: Night) -> str:
    """Return how the night went, in one line."""
    worst = "fail" if night.failed else "unknown" if night.unknown or not night.complete else "pass"
    words = [f"{len(night.failed)} of {len(night.planned)} failed"] if night.failed else []
    words += [f"{len(night.unknown)} unknown"] if night.unknown else []
    words += [] if night.complete else [f"cut short after {len(night.runs)} of {len(night.planned)}"]
    words = words or [f"all {len(night.planned)} as expected"]
    when = night.started_at.replace("T", " ").replace("+00:00", " UTC")
    return f"{SIGN[worst]} Night of {text(when)}, release {text(night.release)}: {', '.join(words)}"


def _outcomes(night: Night) -> Iterator[str]:
    for row in (*night.failed, *night.unknown):
        words = f"- {SIGN[row.verdict]} **{text(row.scenario)}**, release {text(row.release)}: "
        words += f"{text(row.headline.removeprefix(f'{row.scenario} (release {row.release}): '))}."
        if row.site and row.verdict == "fail":
            words += f" Cause {text(row.cause)}, at {code(row.site)}."
        yield f"{words} [Report]({_report(night, row)})"
    for name in night.planned[len(night.runs) :]:
        yield f"- ⚠️ **{text(name)}** did not run to its verdict."
    passed = [row for row in night.runs if row.verdict == "pass"]
    if passed:
        words = ", ".join(f"[{text(row.scenario)}]({_report(night, row)})" for row in passed)
        yield f"- {SIGN['pass']} as expected: {words}"


def _report(night: Night, row: RunRow) -> str:
    return f"{row.run.partition(f'{night.night}/')[2]}/report.html"


def _since(good: Night | None, changes: Sequence[Since]) -> Iterator[str]:
    if good is None:
        yield "No night before this one was good, so there is nothing to compare with."
        yield ""
        return
    yield f"## Since the last good night, {text(good.night)} (release {text(good.release)})"
    yield ""
    for change in changes:
        comparison = change.comparison
        if comparison is None:
            yield f"- **{text(change.scenario)}** was not compared: {text(change.why)}"
            continue
        release = (
            ""
            if change.then is None or change.then.release == change.now.release
            else (f", release {text(change.then.release)} -> {text(change.now.release)}")
        )
        yield f"- **{text(change.scenario)}**{release}: {text(headline(comparison))}"
        for difference in comparison.differences:
            yield f"  - differs: {text(difference)}"
    yield ""


def _details(changes: Sequence[Since]) -> Iterator[str]:
    """Yield every metric then and now, folded away."""
    for item in changes:
        if item.comparison is None or not item.comparison.changes:
            continue
        notable = sum(change.judgement in _NOTABLE for change in item.comparison.changes)
        words = f"{text(item.scenario)}, then and now: {counted(notable, 'notable change')}"
        yield f"<details><summary>{words}</summary>"
        yield ""
        yield from markdown_comparison(item.comparison.changes)
        yield ""
        if item.comparison.block_s is not None:
            yield text(method(item.comparison))
            yield ""
        yield "</details>"
        yield ""
