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
    """The whole summary."""
    lines = [f"# {title(night)}", "", *_outcomes(night), "", *_since(good, changes)]
    if results:
        lines += [render_comparison(results), *_details(changes)]
    return "\n".join(lines).rstrip() + "\n"


def title(night: Night) -> str:
    """How the night went, in one line."""
    worst = "fail" if night.failed else "unknown" if night.unknown or not night.complete else "pass"
    told = [f"{len(night.failed)} of {len(night.planned)} failed"] if night.failed else []
    told += [f"{len(night.unknown)} unknown"] if night.unknown else []
    told += [] if night.complete else [f"cut short after {len(night.runs)} of {len(night.planned)}"]
    told = told or [f"all {len(night.planned)} as expected"]
    when = night.started_at.replace("T", " ").replace("+00:00", " UTC")
    return f"{SIGN[worst]} Night of {text(when)}, release {text(night.release)}: {', '.join(told)}"


def _outcomes(night: Night) -> Iterator[str]:
    for row in (*night.failed, *night.unknown):
        told = f"- {SIGN[row.verdict]} **{text(row.scenario)}**, release {text(row.release)}: "
        told += f"{text(row.headline.removeprefix(f'{row.scenario} (release {row.release}): '))}."
        if row.site and row.verdict == "fail":
            told += f" Cause {text(row.cause)}, at {code(row.site)}."
        yield f"{told} [Report]({_report(night, row)})"
    for name in night.planned[len(night.runs) :]:
        yield f"- ⚠️ **{text(name)}** did not run to its verdict."
    passed = [row for row in night.runs if row.verdict == "pass"]
    if passed:
        told = ", ".join(f"[{text(row.scenario)}]({_report(night, row)})" for row in passed)
        yield f"- {SIGN['pass']} as expected: {told}"


def _report(night: Night, row: RunRow) -> str:
    return f"{row.run.partition(f'{night.night}/')[2]}/report.html"


def _since(good: Night | None, changes: Sequence[Since]) -> Iterator[str]:
    if good is None:
        yield "No night before this one was good, so there is nothing to compare with."
        yield ""
        return
    yield f"## Since the last good night, {text(good.night)} (release {text(good.release)})"
    yield ""
    for one in changes:
        comparison = one.comparison
        if comparison is None:
            yield f"- **{text(one.scenario)}** was not compared: {text(one.why)}"
            continue
        release = (
            ""
            if one.then is None or one.then.release == one.now.release
            else (f", release {text(one.then.release)} -> {text(one.now.release)}")
        )
        yield f"- **{text(one.scenario)}**{release}: {text(headline(comparison))}"
        for difference in comparison.differences:
            yield f"  - differs: {text(difference)}"
    yield ""


def _details(changes: Sequence[Since]) -> Iterator[str]:
    """Every metric then and now, folded away."""
    for one in changes:
        if one.comparison is None or not one.comparison.changes:
            continue
        notable = sum(change.judgement in _NOTABLE for change in one.comparison.changes)
        told = f"{text(one.scenario)}, then and now: {counted(notable, 'notable change')}"
        yield f"<details><summary>{told}</summary>"
        yield ""
        yield from markdown_comparison(one.comparison.changes)
        yield ""
        if one.comparison.block_s is not None:
            yield text(method(one.comparison))
            yield ""
        yield "</details>"
        yield ""
