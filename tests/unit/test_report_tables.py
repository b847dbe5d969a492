"""Tests of the tables of holders, source excerpts, and the formatting of numbers."""

import dataclasses
from pathlib import Path

import pytest

from rushhour.metrics.window import Window
from rushhour.observe.pool_surroundings import Surroundings
from rushhour.report import words
from rushhour.report.holders import still_out, top_holders
from rushhour.report.source import excerpt, sources_of
from rushhour.rundir import History, load_history
from rushhour.rundir import facts as f
from rushhour.scenario.model import Scenario
from rushhour.scenario.thresholds import parse_threshold
from rushhour.verdict.judge import ThresholdResult
from tests.unit import histories, sample_run

SITE = f.CallSite("app/a.py", 3, "a")


def check_out(at: int, taken: float, **more: float) -> f.CheckOut:
    return f.CheckOut(taken + 1, 7, at, "replica", SITE, (), "GET /a", f"t{at}", 100 + at, taken, **more)  # type: ignore[arg-type]  # numbers for optional numbers


def result(line: str, value: float | None, ok: bool | None) -> ThresholdResult:
    return ThresholdResult(parse_threshold(line), value, ok)


def watched(end_s: float) -> Window:
    return Window(0.0, 0.0, end_s, end_s)


def test_holders_are_ranked_by_connection_seconds_including_those_still_out(tmp_path: Path) -> None:
    history = load_history(sample_run.build(tmp_path).run)
    heavy, light = top_holders(history, watched(sample_run.START_S + sample_run.LOAD_S))
    assert (heavy.site, heavy.pool, heavy.out, heavy.leaked) == (sample_run.LEAK, "replica", 30, 30)
    assert heavy.held_s > 1500
    assert (light.site, light.checkouts, light.held_s, light.out) == (sample_run.LIGHT, 2400, 11.2, 0)


def test_a_connection_counts_until_its_return_or_the_end_of_the_watch() -> None:
    history = History(
        environment=None,
        sites=(f.SiteTotal(12.5, 7, "replica", SITE, "GET /a", 1, 8.0, 8.0),),
        checkouts=(check_out(1, 4.0, returned_s=12.0), check_out(2, 6.0, request_ended_s=6.5)),
    )
    (row,) = top_holders(history, watched(10.0))
    assert row.held_s == 6.0 + 4.0  # time after the end of the watch does not count
    assert (row.out, row.leaked) == (2, 1)
    (row,) = top_holders(history, watched(13.0))
    assert row.held_s == 8.0 + 7.0
    assert (row.out, row.leaked) == (1, 1)


def test_connections_still_out_are_sorted_by_age_with_the_end_of_their_request() -> None:
    history = History(
        environment=None,
        checkouts=(check_out(1, 6.0), check_out(2, 4.0, request_ended_s=4.5), check_out(3, 11.0)),
    )
    rows = still_out(history, watched(10.0))
    assert [(row.thread, row.age_s, row.ended_ago_s) for row in rows] == [("t2", 6.0, 5.5), ("t1", 4.0, None)]


def test_an_excerpt_has_the_lines_around_the_call_site(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one\ntwo\n  three\nfour\nfive\n", encoding="utf-8")
    found = excerpt(tmp_path, "a.py", 3, around=1)
    assert [(row.number, row.text, row.hit) for row in found.lines] == [
        (2, "two", False),
        (3, "  three", True),
        (4, "four", False),
    ]
    assert found.hit == "three"


@pytest.mark.parametrize(
    ("file", "line", "problem"),
    [
        ("gone.py", 3, "could not be read: No such file"),
        ("a.py", 9, "has 1 lines now; line 9 is not among them"),
        ("a.py", 0, "line 0 is not among them"),
        ("../secret.py", 1, "lies outside"),
        ("/etc/passwd", 1, "lies outside"),
        (".", 1, "could not be read"),
    ],
)
def test_an_excerpt_without_lines_says_why(tmp_path: Path, file: str, line: int, problem: str) -> None:
    root = tmp_path / "service"
    root.mkdir()
    (root / "a.py").write_text("one\n", encoding="utf-8")
    (tmp_path / "secret.py").write_text("secret\n", encoding="utf-8")
    found = excerpt(root, file, line)
    assert problem in found.problem
    assert not found.lines


def installed(tmp_path: Path) -> tuple[Scenario, Path]:
    """A service in a folder of its own, with an environment beside it in which `shop` is installed."""
    folder = tmp_path / "env/lib/python3.12/site-packages/shop"
    folder.mkdir(parents=True)
    (folder / "api.py").write_text("one\ntwo\n", encoding="utf-8")
    (tmp_path / "env/lib/python3.12/secret.py").write_text("secret\n", encoding="utf-8")
    root = tmp_path / "service"
    root.mkdir()
    plain = histories.scenario()
    target = dataclasses.replace(plain.target, root=str(root), python=str(tmp_path / "env/bin/python"))
    return dataclasses.replace(plain, target=target), root


def test_source_of_an_installed_package_is_read_from_the_environment_of_the_service(tmp_path: Path) -> None:
    sources = sources_of(*installed(tmp_path))
    assert sources.excerpt("shop/api.py", 2).hit == "two"
    assert "lies outside" in sources.excerpt("../secret.py", 1).problem
    assert "could not be read" in sources.excerpt("shop/gone.py", 1).problem


def test_a_file_of_the_service_is_preferred_to_one_of_a_package(tmp_path: Path) -> None:
    scenario, root = installed(tmp_path)
    (root / "shop").mkdir()
    (root / "shop/api.py").write_text("mine\n", encoding="utf-8")
    assert sources_of(scenario, root).excerpt("shop/api.py", 1).hit == "mine"


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("/srv/service/app/x.py", "app/x.py"),
        ("/srv/service/.venv/lib/python3.12/site-packages/shop/api.py", "shop/api.py"),
        ("/opt/env/lib/python3.12/site-packages/shop/api.py", "shop/api.py"),
        ("/usr/lib/python3/dist-packages/shop/api.py", "shop/api.py"),
        ("/a/site-packages/b/lib/python3.12/site-packages/shop.py", "shop.py"),
        ("/opt/shared/views.py", "/opt/shared/views.py"),
    ],
)
def test_a_path_in_an_installed_package_starts_at_the_package(file: str, named: str) -> None:
    around = Surroundings(0.0, {}, Path("/srv/service"), lambda label: label)
    assert around.site(file, 7, "f") == f.CallSite(named, 7, "f")


def test_a_package_path_stays_absolute_when_the_service_has_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/api.py").write_text("other\n", encoding="utf-8")
    around = Surroundings(0.0, {}, tmp_path, lambda label: label)
    file = "/opt/env/lib/python3.12/site-packages/shop/api.py"
    assert around.site(file, 7, "f").file == file


def test_an_excerpt_does_not_follow_a_link_out_of_the_service(tmp_path: Path) -> None:
    root = tmp_path / "service"
    root.mkdir()
    (tmp_path / "secret.py").write_text("secret\n", encoding="utf-8")
    (root / "link.py").symlink_to(tmp_path / "secret.py")
    assert "lies outside" in excerpt(root, "link.py", 1).problem
    assert excerpt(None, "a.py", 1).problem == "no source folder was given"


@pytest.mark.parametrize(
    ("formatted", "expected"),
    [
        (words.count(None), "-"),
        (words.count(12345.0), "12,345"),
        (words.ms(8.25), "8.2 ms"),
        (words.ms(412.4), "412 ms"),
        (words.ms(2003.0), "2.00 s"),
        (words.ms(30_012.0), "30.0 s"),
        (words.seconds(0.012), "12 ms"),
        (words.held(0.44), "0.4"),
        (words.held(1577.2), "1,577"),
        (words.seconds(24.44), "24.4 s"),
        (words.seconds(190), "3 min 10 s"),
        (words.seconds(7260), "2 h 1 min"),
        (words.metric("p95_ms", 41.2), "41.2 ms"),
        (words.metric("replica_lag_s_max", None), "no data"),
        (words.metric("http_5xx_rate", 0.0026), "0.2600%"),
        (words.metric("requests", 5589), "5,589"),
        (words.metric("replica_cpu_cores_mean", 0.444), "0.44 cores"),
        (
            words.threshold_value(result("p95{GET /a} < 1s", 412.0, True)),
            "412 ms",
        ),
        (
            words.threshold_value(result("pool_in_use_max < 80%", 1.0, False)),
            "100%",
        ),
        (
            words.threshold_value(result("replica_lag_max < 2s", None, None)),
            "no data",
        ),
    ],
)
def test_numbers_have_units_and_unknown_numbers_are_not_zero(formatted: str, expected: str) -> None:
    assert formatted == expected
