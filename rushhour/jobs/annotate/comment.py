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
        known = {outcome.headline for outcome in outcomes}
        lines += [_row(annotation, known) for annotation in annotations[:LISTED]]
    if len(annotations) > LISTED:
        lines += ["", f"{len(annotations) - LISTED} more findings are in the reports."]
    return "\n".join(lines) + "\n"


def _title(outcomes: Sequence[Outcome]) -> str:
    verdicts = [outcome.verdict for outcome in outcomes]
    parts = [
        f"{verdicts.count(verdict)} {word}"
        for verdict, word in (("fail", "failed"), ("unknown", "unknown"), ("pass", "as expected"))
        if verdict in verdicts
    ]
    worst = "fail" if "fail" in verdicts else "pass" if {*verdicts} == {"pass"} else "unknown"
    return f"{SIGN[worst]} rushhour: {', '.join(parts) or 'nothing was judged'}"


def _outcomes(outcomes: Sequence[Outcome]) -> Iterator[str]:
    for outcome in outcomes:
        if outcome.verdict != "pass":
            yield f"- {SIGN[outcome.verdict]} **{_text(outcome.name)}**: {_text(outcome.headline)}"
    passed = [_text(outcome.name) for outcome in outcomes if outcome.verdict == "pass"]
    if passed:
        yield f"- {SIGN['pass']} as expected: {', '.join(passed)}"


def _row(annotation: Annotation, known: Set[str]) -> str:
    """Return a finding as a row of a table; what an outcome says already (`known`) is left out."""
    sign = SIGN["fail" if annotation.level == "error" else "unknown"]
    where = ""
    if annotation.spot is not None:
        where = _code(
            annotation.spot.file
            if annotation.spot.line is None
            else f"{annotation.spot.file}:{annotation.spot.line}"
        )
    said = [_text(line) for line in annotation.message.splitlines() if line not in known]
    return f"| {sign} | {where} | {'<br>'.join([f'**{_text(annotation.title)}**', *said[:_LINES]])} |"


def _text(value: str) -> str:
    """Escape text so that Markdown shows it unchanged, and that it mentions no user and no issue.

    Mentions are found in what is shown, after all escapes; a space of no width after the sign ends them.
    """
    plain = " ".join(shown(value).split())
    short = plain if len(plain) <= _LONGEST else f"{plain[:_LONGEST]}..."
    escaped = re.sub(r"([\\`*_\[\]|#~])", r"\\\1", html.escape(short, quote=False))
    return re.sub(r"@(?=\w)|\\#(?=\d)|!(?=\d)", r"\g<0>&#8203;", escaped)


def _code(value: str) -> str:
    plain = html.escape(" ".join(value.split())).replace("|", "&#124;")
    return f"<code>{plain}</code>"
