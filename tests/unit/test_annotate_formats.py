"""Annotations in the formats of CI servers, and the comment on a pull request."""

import json
from importlib import import_module
from urllib.parse import unquote

import pytest

from rushhour.jobs.annotate.annotation import Outcome, Spot, annotation, fingerprints
from rushhour.jobs.annotate.comment import comment
from rushhour.jobs.annotate.github import workflow_commands
from rushhour.jobs.annotate.gitlab import code_quality
from rushhour.jobs.annotate.rules import HELD_LONG, NOT_MET, NOT_RETURNED, TIMED_OUT, UNKNOWN, rule
from rushhour.jobs.annotate.sarif import sarif
from rushhour.scenario.model import CAUSES
from tests.unit.annotated import NAMES, error, unescaped, validated


def test_a_workflow_command() -> None:
    assert workflow_commands([error()]) == [
        (
            "::error file=app/referrals.py,line=27,title=gate (release 1.1)%3A unclosed-path"
            "::30 of 30 connections leaked%0Afix: close it"
        )
    ]


@pytest.mark.parametrize("text", ["a, b: c", "50% of\nall\r", "::stop-commands::x", "ä → ü", "%0A", "a=b"])
def test_no_text_escapes_from_a_workflow_command(text: str) -> None:
    spot = Spot(f"{text}.py", None)
    (command,) = workflow_commands([error(title=text, message=text, spot=spot)])
    assert "\n" not in command
    assert "\r" not in command
    assert unescaped(command) == ("error", {"file": f"{text}.py", "title": text}, text)


def test_a_finding_without_a_line_is_a_workflow_command_without_a_file() -> None:
    (command,) = workflow_commands([error(level="warning", spot=None)])
    assert command.startswith("::warning title=")


def test_fingerprints_stay_when_the_line_moves_and_differ_within_a_report() -> None:
    moved = error(spot=Spot("app/referrals.py", 99, "list_referrals"), message="29 leaked")
    assert fingerprints([error()]) == fingerprints([moved])
    others = [
        error(),
        error(),
        error(rule="saturation"),
        error(spot=None),
        error(spot=Spot("app/other.py", 27, "list_referrals")),
        error(about=("rush-hour", "replica", "GET /customers/:id")),
    ]
    assert len({*fingerprints(others)}) == len(others)


def test_gitlab_gets_all_that_its_format_demands() -> None:
    scenario = Spot("scenarios.yaml", 40)
    found = [error(), error(level="warning", spot=None), error(spot=None), error(spot=Spot("short.py", None))]
    rows = json.loads(code_quality(found, [None, scenario, None, None]))
    assert [row["location"] for row in rows] == [
        {"path": "app/referrals.py", "lines": {"begin": 27}},
        {"path": "scenarios.yaml", "lines": {"begin": 40}},
        {"path": ".", "lines": {"begin": 1}},
        {"path": "short.py", "lines": {"begin": 1}},
    ]
    assert [row["severity"] for row in rows] == ["critical", "minor", "critical", "critical"]
    assert {"description", "check_name", "fingerprint"} <= {*rows[0]}
    assert json.loads(code_quality([], [])) == []


def test_sarif_is_valid_by_the_published_schema() -> None:
    found = [
        error(),
        error(),
        error(rule=UNKNOWN, level="warning", spot=None),
        *(error(rule=cause) for cause in CAUSES if cause != "none"),
        *(error(spot=Spot(name, 1)) for name in NAMES),
        error(spot=Spot("short.py", None)),
    ]
    run = validated(sarif(found, [None] * len(found)))
    first = run["results"][0]
    assert first["ruleId"] == run["tool"]["driver"]["rules"][first["ruleIndex"]]["id"] == "unclosed-path"
    (location,) = first["locations"]
    assert location["physicalLocation"]["region"]["startLine"] == 27
    assert first["properties"]["evidence"] == [{"name": "leaked", "value": "30", "meaning": "of 30"}]
    assert run["results"][2]["locations"] == []
    uris = [
        result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        for result in run["results"][-len(NAMES) - 1 : -1]
    ]
    assert [unquote(uri) for uri in uris] == [*NAMES]
    assert all(uri.isascii() and not {*uri} & {*" \n\\:,"} for uri in uris)
    assert validated(sarif([], []))["results"] == []


def test_the_schema_can_refuse() -> None:
    jsonschema = import_module("jsonschema")
    with pytest.raises(jsonschema.ValidationError):
        validated(sarif([error(level="fatal")], [None]))


@pytest.mark.parametrize(
    "name",
    [*(cause for cause in CAUSES if cause != "none"), NOT_MET, UNKNOWN, NOT_RETURNED, HELD_LONG, TIMED_OUT],
)
def test_each_rule_has_a_sentence_and_a_page_of_help(name: str) -> None:
    found = rule(name)
    assert found.summary.endswith(".")
    assert len(found.page) > len(found.summary) + 80


def test_a_comment_is_short_and_shows_text_as_it_is() -> None:
    outcomes = [
        Outcome("gate (release 1.1)", "fail", "30 of 30 leaked | <b>x</b> @someone"),
        Outcome("soak", "unknown", "cut short"),
        Outcome("smoke", "pass", "healthy"),
    ]
    text = comment(outcomes, [error(spot=Spot("a|b`c.py", 3))] * 40)
    assert "### ❌ rushhour: 1 failed, 1 unknown, 1 as expected" in text
    assert "leaked \\| &lt;b&gt;x&lt;/b&gt; @&#8203;someone" in text
    assert "<code>a&#124;b`c.py:3</code>" in text
    assert "20 more findings are in the reports." in text
    long = comment(outcomes * 20, [error(message="\n".join(["x" * 5000] * 50))] * 400)
    assert len(long) < 65_536


def test_a_comment_of_a_pass_has_no_table() -> None:
    text = comment([Outcome("smoke", "pass", "healthy")], [])
    assert text.splitlines()[1:] == ["### ✅ rushhour: 1 as expected", "", "- ✅ as expected: smoke"]


def test_secrets_and_control_characters_stay_out() -> None:
    found = annotation(
        "error", NOT_MET, "a\x1b[31m\nb", ["to postgresql://shop:hush@db/x", "password=hush"], None, []
    )
    assert "hush" not in found.message
    assert "\x1b" not in found.title
    assert "\n" not in found.title
