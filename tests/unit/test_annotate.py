"""Annotations for CI servers: which lines they name, and what each result becomes."""

from dataclasses import replace
from pathlib import Path

import pytest

from rushhour.jobs.annotate.annotation import Spot
from rushhour.jobs.annotate.of_findings import of_findings, outcome_of
from rushhour.jobs.annotate.of_runs import of_check, of_drill, of_run
from rushhour.jobs.annotate.repository import Repository
from rushhour.jobs.annotate.rules import HELD_LONG, NOT_MET, NOT_RETURNED, TIMED_OUT, UNKNOWN
from rushhour.jobs.check.result import Answer, CheckResult, Request
from rushhour.jobs.drill.page import headline as drill_headline
from rushhour.rundir import facts as f
from rushhour.verdict.judge import judge
from tests.unit import histories as h
from tests.unit.annotated import HEALTHY, NAMES, SITE, judged, lines_in
from tests.unit.test_attach_findings import OUT, SEEN, fed, sample
from tests.unit.test_check import LEAK, LIST
from tests.unit.test_drill_judge import drilled


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with a service in a folder of its own, and an environment below it."""
    top = tmp_path / "repository"
    for file in (*NAMES, "short.py", ".venv/lib/python3.13/site-packages/lib/pool.py", "notes.txt"):
        path = top / "service" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("import shop\n" + ("    session = Session()  # leak\n" * (file != "short.py")))
    (top / ".git").mkdir()
    return top


# Lines


@pytest.mark.parametrize("name", NAMES)
def test_a_line_has_its_name_from_the_root_of_the_repository_on(name: str, checkout: Path) -> None:
    spot = lines_in(checkout).spot(f.CallSite(name, 2, "report"))
    assert spot == Spot(f"service/{name}", 2, "report", "session = Session()  # leak")


def test_a_path_as_windows_writes_it_is_found(checkout: Path) -> None:
    spot = lines_in(checkout).spot(replace(SITE, file="shop\\views.py"))
    assert spot is not None
    assert spot.file == "service/shop/views.py"


@pytest.mark.parametrize(
    "file",
    [
        "C:\\shop\\views.py",
        "/usr/lib/python3/x.py",
        "../../outside.py",
        "missing.py",
        "notes.txt",
        "lib/pool.py",  # as an installed package's line is named
        ".venv/lib/python3.13/site-packages/lib/pool.py",
        "a\0b.py",
        "<unknown>",
        "x" * 5000 + ".py",
    ],
)
def test_a_line_outside_of_the_repository_has_no_name(file: str, checkout: Path) -> None:
    (checkout.parent / "outside.py").write_text("import shop\n\n")
    assert lines_in(checkout).spot(f.CallSite(file, 1, "report")) is None


def test_a_line_of_an_installed_package_becomes_that_of_its_nearest_caller(checkout: Path) -> None:
    stack = ("lib/pool.py:2 connect", "not a frame", "shop/views.py:2 report", "short.py:1 main")
    spot = lines_in(checkout).spot(f.CallSite("lib/pool.py", 2, "connect"), stack)
    assert spot is not None
    assert (spot.file, spot.function) == ("service/shop/views.py", "report")


def test_a_line_that_the_file_no_longer_has_is_left_out(checkout: Path) -> None:
    assert lines_in(checkout).spot(f.CallSite("short.py", 9, "main")) == Spot(
        "service/short.py", None, "main"
    )


def test_a_link_out_of_the_repository_is_not_followed(checkout: Path) -> None:
    outside = checkout.parent / "outside.py"
    outside.write_text("import shop\n")
    (checkout / "service" / "link.py").symlink_to(outside)
    assert lines_in(checkout).spot(f.CallSite("link.py", 1, "main")) is None


def test_without_a_folder_of_the_service_no_line_is_named() -> None:
    assert lines_in(None).spot(SITE) is None


def test_the_checkout_of_the_ci_server_comes_before_a_submodule_in_it(checkout: Path) -> None:
    (checkout / "service" / ".git").write_text("gitdir: ../.git/modules/service\n")
    within = Repository(checkout / "service", checkout / "service", {})
    above = Repository(checkout / "service", checkout / "service", {"GITHUB_WORKSPACE": str(checkout)})
    assert [item.spot(SITE) and item.spot(SITE).file for item in (within, above)] == [  # type: ignore[union-attr]
        "shop/views.py",
        "service/shop/views.py",
    ]


@pytest.mark.parametrize("variable", ["GITHUB_WORKSPACE", "CI_PROJECT_DIR"])
def test_without_git_the_folder_of_the_ci_server_is_the_root(variable: str, checkout: Path) -> None:
    (checkout / ".git").rmdir()
    found = Repository(checkout / "service", checkout / "service", {variable: str(checkout)}).spot(SITE)
    assert found is not None
    assert found.file == "service/shop/views.py"


# Runs


def test_a_pass_annotates_nothing() -> None:
    assert judged(h.healthy()) == []


def test_a_failed_run_is_an_error_at_the_line_of_its_cause() -> None:
    (found,) = judged(h.incident())
    assert (found.level, found.rule) == ("error", "scope-never-removed")
    assert found.spot is not None
    assert (found.spot.file, found.spot.line) == ("app/referrals.py", 88)
    assert found.title == "gate (release 1.1): scope-never-removed"
    assert "queuepool_timeouts == 0 does not hold: 15" in found.message.splitlines()
    assert any(line.startswith("fix: ") for line in found.message.splitlines())
    assert found.evidence


def test_a_failed_run_without_a_cause_names_no_line() -> None:
    strict = h.scenario(release="1.1", thresholds=("p95 < 1ms",))
    (found,) = judged(h.healthy(), strict)
    assert (found.level, found.rule, found.spot) == ("error", NOT_MET, None)
    assert "p95 < 1ms" in found.message


def test_a_tripwire_that_did_not_trip_blames_no_line() -> None:
    (found,) = judged(h.healthy(), h.scenario(release="1.1", expect="exhausted"))
    assert (found.level, found.rule, found.spot) == ("error", NOT_MET, None)


def test_an_unknown_run_is_a_warning_without_a_line() -> None:
    history = h.cut_short(h.incident(), 30.0)
    verdict = judge(HEALTHY, history, "embedded")
    assert verdict.verdict == "unknown"
    (found,) = judged(history)
    assert (found.level, found.rule, found.spot) == ("warning", UNKNOWN, None)
    assert verdict.reasons[0] in found.message


def test_a_line_outside_of_the_repository_becomes_that_of_its_caller_in_a_run(checkout: Path) -> None:
    verdict = judge(HEALTHY, h.incident(), "embedded")
    callers = ("app/referrals.py:88 list_referrals", "shop/views.py:2 report")
    (found,) = of_run(HEALTHY, verdict, lines_in(checkout), lambda _: callers)
    assert found.spot is not None
    assert found.spot.file == "service/shop/views.py"
    assert "app/referrals.py:88" in found.message


def test_drills_annotate_by_their_outcome() -> None:
    proven = drilled()
    found = {
        outcome: of_drill(replace(proven, outcome=outcome), drill_headline(proven))
        for outcome in ("proven", "not proven", "unknown")
    }
    assert found["proven"] == []
    assert [(item.level, item.rule) for item in found["not proven"]] == [("error", NOT_MET)]
    assert [(item.level, item.rule) for item in found["unknown"]] == [("warning", UNKNOWN)]


# Checks, and commands with the agent


def test_a_check_annotates_each_line_once_and_its_doubts(checkout: Path) -> None:
    leak = replace(LEAK, site=SITE, stack=("shop/views.py:2 report",))
    other = replace(leak, id=3, pool="primary")
    bad = Answer(Request("GET", "/x"), 500, 5.0)
    result = CheckResult((LIST, bad), (leak, replace(leak, id=2), other), ("GET /new",), 30)
    found = of_check(HEALTHY, result, lines_in(checkout))
    assert [(item.level, item.rule, item.spot and item.spot.line) for item in found] == [
        ("error", NOT_RETURNED, 2),
        ("error", NOT_RETURNED, 2),
        ("warning", UNKNOWN, None),
    ]
    assert "2 connections of pool replica did not come back" in found[0].message
    assert found[2].message.splitlines() == [*result.doubts]
    assert of_check(HEALTHY, CheckResult((LIST,), (), (), 30), lines_in(checkout)) == []


def test_a_command_with_the_agent_annotates_leaks_long_holds_and_time_outs(checkout: Path) -> None:
    site = f.CallSite("lib/pool.py", 2, "connect")
    leak = replace(
        OUT,
        t_s=2.0,
        request_ended_s=1.2,
        site=site,
        stack=("lib/pool.py:2 connect", "shop/views.py:2 report"),
    )
    long = replace(OUT, id=2, t_s=20.0, site=SITE, returned_s=20.0, returned_by="close")
    timeout = f.PoolTimeout(
        t_s=3.0, pid=7, pool="shop.db", waited_s=1.0, site=SITE, endpoint="GET /report/:year"
    )
    findings = fed(SEEN, leak, long, timeout, sample(20.0))
    found = of_findings(findings, lines_in(checkout))
    assert {(item.level, item.rule) for item in found} == {
        ("error", NOT_RETURNED),
        ("warning", HELD_LONG),
        ("error", TIMED_OUT),
    }
    assert {item.spot.file for item in found if item.spot} == {"service/shop/views.py"}
    assert outcome_of("python", findings).verdict == "fail"


@pytest.mark.parametrize("facts", [(), (SEEN,), (SEEN, f.AgentFault(1.0, 7, "sampling", "OSError"))])
def test_a_command_of_which_nothing_was_seen_is_unknown(facts: tuple[f.PoolFact, ...]) -> None:
    findings = fed(*facts)
    found = of_findings(findings, lines_in(None))
    assert found
    assert {(item.level, item.rule) for item in found} == {("warning", UNKNOWN)}
    assert outcome_of("python", findings).verdict == "unknown"


def test_a_command_whose_connections_all_came_back_annotates_nothing() -> None:
    findings = fed(SEEN, sample(4.0))
    assert of_findings(findings, lines_in(None)) == []
    assert outcome_of("python", findings).verdict == "pass"
