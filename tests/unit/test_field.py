"""The field cases are whole, and a wrong name is never counted as a right one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rushhour.scenario.model import CAUSES
from tests.field.__main__ import exit_code, main, worst_of
from tests.field.cases import CASES, SERVICES, Case
from tests.field.run import Said, said_of
from tests.field.table import BEGIN, END, judged, rows, twin_in_words, write_table

ROOT = Path(__file__).parents[2]
NESTED = next(case for case in CASES if case.name == "nested")


def said(cause: str | None, *named: str, verdict: str = "pass") -> Said:
    return Said(verdict, "", cause, "likely", "", named, "")


def verdict_with(evidence: str) -> dict[str, Any]:
    found = {"signal": "line where most of them are", "value": evidence, "meaning": ""}
    return {
        "verdict": "pass",
        "reasons": ["exhaustion came as expected"],
        "diagnosis": {"cause": "nested-checkout", "confidence": "certain", "evidence": [found]},
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_says_what_goes_wrong_and_has_a_cure_and_lines_to_name(case: Case) -> None:
    source = (SERVICES / f"{case.module}.py").read_text(encoding="utf-8")
    assert case.description.endswith(".")
    assert "CURED" in source
    assert case.lines
    assert set(case.causes) <= set(CAUSES) - {"none"}
    assert f"`{case.name}`" in (ROOT / "docs/field.md").read_text(encoding="utf-8")


def test_no_service_hides_a_package_that_a_locustfile_imports() -> None:
    names = {path.stem for path in SERVICES.glob("*.py")}
    assert not names & {"locust", "gevent", "websocket", "customers", "visitors", "logging"}


def test_a_line_is_named_as_a_whole_number() -> None:
    first, second = NESTED.lines
    assert said_of(NESTED, verdict_with(f"{first} audit"), "").named == (first,)
    assert said_of(NESTED, verdict_with(f"{first}1 audit, then {second}0"), "").named == ()
    assert said_of(NESTED, verdict_with(f"{first} audit, then {second} item"), "").named == (first, second)


def test_a_right_name_without_a_line_is_less_than_right() -> None:
    assert judged(NESTED, said("nested-checkout", *NESTED.lines)) == "right"
    assert judged(NESTED, said("nested-checkout", NESTED.lines[0])) == "less"
    assert judged(NESTED, said("none")) == "open"
    assert judged(NESTED, said("saturation", *NESTED.lines)) == "WRONG"
    assert judged(NESTED, None) == "not measured"


def test_only_right_and_open_names_end_with_zero() -> None:
    assert exit_code(NESTED, "broken", said("nested-checkout")) == 0
    assert exit_code(NESTED, "no-agent", said("none")) == 0
    assert exit_code(NESTED, "broken", said("saturation")) == 1
    assert exit_code(NESTED, "no-agent", said("saturation")) == 1
    jobs = next(case for case in CASES if case.name == "jobs")
    assert exit_code(jobs, "no-agent", said("unclosed-path")) == 0  # from outside the two look alike
    assert exit_code(jobs, "broken", said("unclosed-path")) == 1
    assert exit_code(NESTED, "broken", said(None, verdict="unknown")) == 2
    broke = replace(said("none", verdict="unknown"), reason="the stack broke: target.setup ended with 1")
    assert [exit_code(NESTED, variant, broke) for variant in ("broken", "cured", "no-agent")] == [2, 2, 2]
    assert judged(NESTED, broke) == "not measured"
    assert exit_code(NESTED, "cured", said("none")) == 0
    assert exit_code(NESTED, "cured", said("none", verdict="fail")) == 1
    assert exit_code(NESTED, "cured", said("nested-checkout")) == 1
    assert exit_code(NESTED, "cured", said("none", verdict="unknown")) == 2
    busy = replace(said("saturation", verdict="unknown"), reason="the machine was busy with other work: 1.9")
    assert exit_code(NESTED, "cured", busy) == 2
    assert [worst_of(codes) for codes in ([], [0, 0], [2, 0], [2, 1, 0])] == [0, 0, 2, 1]


@pytest.mark.parametrize(
    ("reason", "busy"),
    [
        ("the machine was busy with other work: 1.90 of its 2 cores on average", True),
        ("the load generator fell behind: its timers fired 300 ms late at p99 (bound 100 ms)", True),
        ("the load generator stood still for 3.1 s (bound 1 s)", True),
        ("the load generator was starved of CPU: local used 0.9 cores or more in 8 of 9 s", True),
        ("the load generator: the load did not run to its end", False),
        ("the load generator could not send 3 requests (local): it had no open file left", False),
        ("the load generator wrote nothing about itself, so it is unknown whether it kept", False),
        ("the load generator had no room for 3 of the customers who arrived", False),
    ],
)
def test_a_fault_of_the_load_generator_is_no_busy_machine(reason: str, busy: bool) -> None:
    unknown = replace(said("saturation", verdict="unknown"), reason=reason)
    assert unknown.busy is busy
    assert replace(unknown, verdict="fail").busy is False


def test_a_healthy_twin_that_is_given_a_cause_shows_it() -> None:
    assert twin_in_words(said("none")) == "healthy"
    assert twin_in_words(said("saturation")) == "healthy, saturation (likely)"
    assert twin_in_words(said("none", verdict="fail")) == "fail"
    busy = replace(said("saturation", verdict="unknown"), reason="the machine was busy with other work: 1.9")
    assert twin_in_words(busy) == "not judged: the machine was busy"


def test_the_table_is_written_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "field.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nbehind\n")
    write_table(page, rows([(NESTED, said("nested-checkout"), None, None)]))
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nbehind\n")
    assert "old" not in text
    assert "| `nested` | nested-checkout | nested-checkout (likely) | 0 of 2 | less | not measured |" in text
    page.write_text("no marks\n")
    with pytest.raises(ValueError, match="no '<!-- table"):
        write_table(page, [])


def test_an_unknown_case_or_variant_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nestd", "--only", "broken,curd"]) == 64
    error = capsys.readouterr().err
    assert "no case 'nestd'; there are stream, nested," in error
    assert "--only: no 'curd'; there are broken, cured, no-agent" in error
