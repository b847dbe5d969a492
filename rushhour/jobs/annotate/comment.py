"""A short comment for a pull request in Markdown (pure)."""

import html
import re
from collections.abc import Iterator, Sequence, Set
from typing import Final

from rushhour.jobs.annotate.annotation import Annotation, Outcome, shown

MARK: Final = "<!-- rushhour -->"  # by which a job finds its comment again, to replace it
SIGN: Final = {"pass": "✅", "fail": "❌", "unknown": "⚠️"}
LISTED: Final = 20  # findings; GitHub takes 65,536 characters in a comment
_LINES, _LONGEST = 5, 300  # of one finding; characters of each line


def comment(outcomes: Sequence[Outcome], annotations: Sequence[Annotation]) -> str:
    """Return the comment: how each run ended, then the findings with their lines."""
    lines = [MARK, f"### {_title(outcomes)}", "", *_outcomes(outcomes)]
    if annotations:
        lines += ["", "| | line | finding |", "| --- | --- | --- |"]
        known = {one.headline for one in outcomes}
        lines += [_row(one, known) for one in annotations[:LISTED]]
    if len(annotations) > LISTED:
        lines += ["", f"{len(annotations) - LISTED} more findings are in the reports."]
    return "\n".join(lines) + "\n"


def _title(outcomes: Sequence[Outcome]) -> str:
    verdicts = [one.verdict for one in outcomes]
    parts = [
        f"{verdicts.count(verdict)} {word}"
        for verdict, word in (("fail", "failed"), ("unknown", "unknown"), ("pass", "as expected"))
        if verdict in verdicts
    ]
    worst = "fail" if "fail" in verdicts else "pass" if {*verdicts} == {"pass"} else "unknown"
    return f"{SIGN[worst]} rushhour: {', '.join(parts) or 'nothing was judged'}"


def _outcomes(outcomes: Sequence[Outcome]) -> Iterator[str]:
    for one in outcomes:
        if one.verdict != "pass":
            yield f"- {SIGN[one.verdict]} **{_text(one.name)}**: {_text(one.headline)}"
    passed = [_text(one.name) for one in outcomes if one.verdict == "pass"]
    if passed:
        yield f"- {SIGN['pass']} as expected: {', '.join(passed)}"


def _row(one: Annotation, known: Set[str]) -> str:
    """Return a finding as a row of a table; what an outcome says already (`known`) is left out."""
    sign = SIGN["fail" if one.level == "error" else "unknown"]
    where = ""
    if one.spot is not None:
        where = _code(one.spot.file if one.spot.line is None else f"{one.spot.file}:{one.spot.line}")
    said = [_text(line) for line in one.message.splitlines() if line not in known]
    return f"| {sign} | {where} | {'<br>'.join([f'**{_text(one.title)}**', *said[:_LINES]])} |"


def _text(value: str) -> str:
    """Escape text so that Markdown shows it unchanged; mentions of users and links stay plain text."""
    plain = " ".join(shown(value).split())
    short = plain if len(plain) <= _LONGEST else f"{plain[:_LONGEST]}..."
    escaped = re.sub(r"([\\`*_\[\]|#~])", r"\\\1", html.escape(short, quote=False))
    return escaped.replace("@", "&#64;")


def _code(value: str) -> str:
    plain = html.escape(" ".join(value.split())).replace("|", "&#124;")
    return f"<code>{plain}</code>"
