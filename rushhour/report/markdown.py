"""Renders summary.md: a run or a suite for a CI job summary or a merge request."""

import html
import re
from collections.abc import Sequence
from pathlib import Path

from rushhour.diagnosis import Diagnosis, HeldSite
from rushhour.diagnosis.units import after_what
from rushhour.report import forecast
from rushhour.report import traffic as t
from rushhour.report.causes import where_it_is_explained
from rushhour.report.holders import suspects
from rushhour.report.source import Sources, sources_of
from rushhour.report.traffic import TrafficSection
from rushhour.report.words import clean, compared, evidence_value, metric, over_what, seconds, threshold_value
from rushhour.scenario.model import Scenario
from rushhour.verdict.judge import Verdict

SIGN = {"pass": "✅", "fail": "❌", "unknown": "⚠️"}
_OK = {True: "✅", False: "❌", None: "⚠️ no data"}


def render_markdown(
    scenario: Scenario,
    verdict: Verdict,
    source_root: Path | None = None,
    traffic: TrafficSection | None = None,
) -> str:
    """Render one run: headline, reasons, thresholds, diagnosis with source lines, traffic, metrics."""
    lines = [
        f"## {SIGN[verdict.verdict]} {text(verdict.headline)}",
        "",
        *_forecast_line(verdict),
        (
            f"**{text(verdict.scenario)}**, release {text(verdict.release)}, {text(verdict.stack)} stack, "
            f"{scenario.load.in_words()}: expected *{text(verdict.expected)}*, "
            f"observed *{verdict.observed}*, verdict **{verdict.verdict}**."
        ),
        "",
        *[f"- {prose(reason)}" for reason in verdict.reasons],
        "",
        *_table(
            "Thresholds",
            ("", "threshold", "value"),
            [(_OK[result.ok], code(result.expr), threshold_value(result)) for result in verdict.thresholds],
        ),
        *_diagnosis(verdict.diagnosis, sources_of(scenario, source_root)),
        *_forecast(verdict),
        *_traffic(traffic),
        *([f"> {prose(note)}  " for note in verdict.notes] + [""] if verdict.notes else []),
        *([text(over_what(scenario)), ""] if verdict.metrics else []),
        *_metrics(verdict),
    ]
    return "\n".join(lines).rstrip() + "\n"


def render_comparison(results: Sequence[tuple[Scenario, Verdict]]) -> str:
    """Render a suite as a table with one row per scenario."""
    heads, rows = compared(results)
    marked = [(*(text(cell) for cell in row[:-1]), f"{SIGN[row[-1]]} {row[-1]}") for row in rows]
    return "\n".join(_table("Scenarios compared", heads, marked)).rstrip() + "\n"


def text(value: object) -> str:
    """Escape text so that Markdown shows it unchanged: no HTML, no table bars, no emphasis."""
    plain = html.escape(" ".join(clean(value).split()), quote=False)
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", plain)


def code(value: object) -> str:
    """Return a code span; bars are escaped, because they would end a table cell even there."""
    plain = " ".join(clean(value).split()).replace("|", "\\|")
    ticks = "`" * (max((len(run) for run in re.findall("`+", plain)), default=0) + 1)
    pad = " " if plain[:1] == "`" or plain[-1:] == "`" else ""
    return f"{ticks}{pad}{plain}{pad}{ticks}"


def prose(value: object) -> str:
    """Escape text, with the parts between backticks as code."""
    parts = clean(value).split("`")
    if len(parts) % 2 == 0:
        return text(value)  # an unpaired backtick stays a backtick
    return "".join(code(part) if at % 2 else _spaced(part) for at, part in enumerate(parts))


def _spaced(part: str) -> str:
    """Escape text, but keep its outer spaces, which separate it from code spans."""
    inner = part.strip()
    if not inner:
        return part
    return part[: len(part) - len(part.lstrip())] + text(inner) + part[len(part.rstrip()) :]


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    return [
        f"### {title}",
        "",
        "| " + " | ".join(heads) + " |",
        "|" + " --- |" * len(heads),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
    ]


def _diagnosis(diagnosis: Diagnosis, sources: Sources) -> list[str]:
    lines = [
        f"### Diagnosis: {text(diagnosis.cause)} ({diagnosis.confidence})",
        "",
        prose(diagnosis.summary),
        "",
    ]
    for site in suspects(diagnosis):
        lines += _site(site, sources)
    if diagnosis.amplifiers:
        lines += ["Made worse by:", "", *[f"- {prose(amplifier)}" for amplifier in diagnosis.amplifiers], ""]
    if diagnosis.fix:
        lines += [f"**Fix:** {prose(diagnosis.fix)}", ""]
    if where := where_it_is_explained(diagnosis.cause):
        lines += [f"More: {text(where)}", ""]
    rows = [
        (
            text(evidence.signal),
            text(evidence_value(evidence)),
            text(evidence.meaning),
            code(evidence.source) if evidence.source else "",
        )
        for evidence in diagnosis.evidence
    ]
    return lines + _table("Evidence", ("signal", "value", "what it says", "source"), rows)


def _site(site: HeldSite, sources: Sources) -> list[str]:
    endpoint = f", {text(site.endpoint)}" if site.endpoint else ""
    lines = [
        (
            f"- {code(f'{site.file}:{site.line}')} {code(site.function)}{endpoint}: pool {text(site.pool)}, "
            f"{site.held} still out when the watch ended, "
            f"{site.leaked} of them {after_what(site.unit, site.leaked)}, longest {seconds(site.max_hold_s)}"
        ),
        "",
    ]
    found = sources.excerpt(site.file, site.line, around=0).hit
    return [*lines, f"      {clean(found)}", ""] if found else lines


def _forecast_line(verdict: Verdict) -> list[str]:
    if verdict.forecast is not None:
        made = verdict.forecast
        return [f"**{forecast.ANSWER[made.exhausts]}** {text(made.headline)}", ""]
    return [f"No forecast for production: {text(verdict.no_forecast)}", ""] if verdict.no_forecast else []


def _forecast(verdict: Verdict) -> list[str]:
    if verdict.forecast is None:
        return []
    rows = [tuple(text(cell) for cell in row) for row in forecast.rows(verdict.forecast)]
    reasons = [f"- {prose(reason)}" for reason in verdict.forecast.reasons]
    return [*_table("Production", ("", "expected", "80 % interval"), rows), *reasons, ""]


def _traffic(traffic: TrafficSection | None) -> list[str]:
    if traffic is None:
        return []
    if traffic.found is None:
        return ["### Traffic", "", text(traffic.problem), ""]
    found = traffic.found
    rows = [tuple(text(cell) for cell in t.cells(row)) for row in found.rows]
    lines = ["### Traffic", "", f"**{found.outcome}**: {text(t.headline(found))}.", ""]
    lines += ["<details><summary>Traffic beside its source</summary>", ""]
    lines += _table("", t.HEADS, rows)[2:]
    lines += [f"{text(note)}  " for note in t.notes(found)]
    return [*lines, "", "</details>", ""]


def _metrics(verdict: Verdict) -> list[str]:
    rows = [(code(name), metric(name, value)) for name, value in verdict.metrics.items()]
    if not rows:
        return []
    table = _table("Metrics", ("metric", "value"), rows)[2:]
    return ["<details><summary>Metrics</summary>", "", *table, "</details>", ""]
