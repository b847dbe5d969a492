"""Renders junit.xml: one test case per scenario."""

from collections.abc import Iterable, Sequence

from junitparser import Error, Failure, JUnitXml, Properties, Property, TestCase, TestSuite

from rushhour.report.holders import suspects
from rushhour.report.words import clean, threshold_value
from rushhour.verdict.judge import Outcome, Verdict


def render_junit(verdicts: Sequence[Verdict]) -> str:
    """Render verdicts as a test suite: fail is a failure, unknown an error; metrics are properties."""
    return junit_document("rushhour", map(_case, verdicts))


def junit_document(name: str, cases: Iterable[TestCase]) -> str:
    """Render a document with one suite."""
    suite = TestSuite(name)
    for case in cases:
        suite.add_testcase(case)
    document = JUnitXml("rushhour")
    document.add_testsuite(suite)
    document.update_statistics()  # type: ignore[no-untyped-call]  # junitparser's own gap
    text: bytes = document.tostring()  # type: ignore[no-untyped-call]  # junitparser's own gap
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text.decode("utf-8")}\n'


def set_result(case: TestCase, verdict: Outcome, message: str, kind: str | None, text: str) -> None:
    """Set the result of a case: fail is a failure, unknown an error, pass has none."""
    if verdict != "pass":
        result = (Failure if verdict == "fail" else Error)(clean(message), kind and clean(kind))
        result.text = clean(text)
        case.result = [result]


def _case(verdict: Verdict) -> TestCase:
    case = TestCase(f"{clean(verdict.scenario)} (release {clean(verdict.release)})")
    case.classname = f"rushhour.{clean(verdict.stack)}"
    case.append(_properties(verdict))  # type: ignore[no-untyped-call]  # as below
    lines = [verdict.headline, *verdict.reasons]
    lines += [
        f"threshold {result.expr}: {threshold_value(result)}"
        for result in verdict.thresholds
        if not result.ok
    ]
    lines += [f"cause {verdict.diagnosis.cause}: {verdict.diagnosis.summary}"]
    lines += [f"at {s.file}:{s.line} {s.function}" for s in suspects(verdict.diagnosis)]
    lines += [f"fix: {verdict.diagnosis.fix}"] if verdict.diagnosis.fix else []
    set_result(case, verdict.verdict, verdict.headline, verdict.observed, "\n".join(lines))
    case.system_out = clean("\n".join([*lines, *(f"note: {note}" for note in verdict.notes)]))
    return case


def _properties(verdict: Verdict) -> Properties:
    values = [
        ("expected", clean(verdict.expected)),
        ("observed", verdict.observed),
        ("cause", clean(verdict.diagnosis.cause)),
    ]
    values += [
        (clean(name), "no data" if value is None else f"{value:.10g}")
        for name, value in verdict.metrics.items()
    ]
    properties = Properties()  # type: ignore[no-untyped-call]  # as above
    for name, value in values:
        properties.add_property(Property(name, value))
    return properties
