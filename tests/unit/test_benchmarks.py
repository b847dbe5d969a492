"""The command of the benchmarks: its arguments and its table. Nothing is measured."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.__main__ import KNOWN, main
from benchmarks.harness import NotMeasuredError
from benchmarks.table import Row

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_every_benchmark_has_its_module() -> None:
    for name in KNOWN:
        assert (BENCHMARKS / f"{name.replace('-', '_')}.py").is_file()


def test_every_wrong_name_and_argument_is_named_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    wrong = {
        "nosuch": "no benchmark 'nosuch'",
        "": "no benchmark ''",
        "--help": "no benchmark '--help'",
        "stack:5": "stack takes no argument",
        "stack:": "stack takes no argument",
        "generator:": "'' is no whole number from 1 to 1,000,000,000",
        "generator:many": "'many' is no whole number from 1 to 1,000,000,000",
        "generator:1000,0": "'0' is no whole number from 1 to 1,000,000,000",
        "generator:900000000": "900,000,000 customers",
        "master:1": "'1' is no whole number from 2 to 100,000",
        "master:200,10": "'10' is no number from 60 to 86,400",
        "master:200,nan": "'nan' is no number from 60 to 86,400",
        "master:200,600,1": "3 values, and at most 2 have a meaning",
        "generator:1e3": "'1e3' is no whole number",
        "generator:9999999999": "'9999999999' is no whole number",
        "traffic-memory:1,inf": "'inf' is no number from 0.01 to 1,000",
        f"forecast:{__file__}": "is no folder",
    }
    assert main(["alarms", *wrong]) == 64
    printed = capsys.readouterr()
    assert printed.out == ""
    for word, said in wrong.items():
        assert [line for line in printed.err.splitlines() if said in line and word in line], word
    assert "generator[:CUSTOMERS[,...]]" in printed.err.splitlines()[-1]
    assert "measuring" not in printed.err


@pytest.mark.parametrize(
    ("word", "given"),
    [
        ("generator:1000,20", (1000, 20)),
        ("master:200", (200, 910.0)),
        ("master:1000,60", (1000, 60.0)),
        ("traffic-memory:1,10", (1.0, 10.0)),
        ("traffic_memory:0.5", (0.5,)),
        ("forecast:runs/kept", ("runs/kept",)),
        ("live_checkouts", ()),
    ],
)
def test_arguments_reach_the_benchmark(word: str, given: object, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[object] = []

    def run(*arguments: object) -> list[Row]:
        called.append(arguments)
        return [Row("seen", "3 s", "<= 5 s", True)]

    module = importlib.import_module(f"benchmarks.{word.partition(':')[0].replace('-', '_')}")
    monkeypatch.setattr(module, "run", run)
    assert main([word]) == 0
    assert called == [given]


def test_a_benchmark_that_breaks_is_missed_and_the_others_are_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks() -> list[Row]:
        raise RuntimeError("the round recorded no load")

    rows = [Row("seen", "3 s", "<= 5 s", True), Row("beside it", "4 s", "", None)]
    monkeypatch.setitem(sys.modules, "benchmarks.stack", SimpleNamespace(run=breaks))
    monkeypatch.setitem(sys.modules, "benchmarks.check", SimpleNamespace(run=lambda: rows))
    assert main(["stack", "check"]) == 1
    printed = capsys.readouterr()
    assert [line.split("  ")[0] for line in printed.out.splitlines()] == ["MISSED", "met", "-"]
    assert "the round recorded no load" in printed.err
    assert printed.err.splitlines()[-1] == "missed: stack"
    assert main(["check"]) == 0


def test_a_row_that_is_unsure_is_said_and_is_not_missed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = Row("share", "97.9% to 98.1%", ">= 98%", None, unsure=True)
    module = SimpleNamespace(run=lambda: [row])
    monkeypatch.setitem(sys.modules, "benchmarks.agent", module)
    assert main(["agent"]) == 2
    printed = capsys.readouterr()
    assert printed.out.startswith("unsure")
    assert "unsure, the interval spans the bound: share" in printed.err


def test_a_bound_that_nothing_was_measured_for_is_said_and_is_not_met(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unknown() -> list[Row]:
        raise NotMeasuredError("rushhour run soak: unknown in 3 runs")

    seen = Row("seen", "3 s", "<= 5 s", True)
    runs = {
        "stack": lambda: [seen, Row("opened", "not measured: no Chromium", "<= 2 s", None)],
        "memory": unknown,
        "check": lambda: [seen, Row("beside it", "not measured: it is not installed", "", None)],
        "alarms": list[Row],
    }
    for name, run in runs.items():
        monkeypatch.setitem(sys.modules, f"benchmarks.{name}", SimpleNamespace(run=run))
    assert main(["stack", "memory", "check"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "not measured: opened; memory"
    assert main(["check"]) == 0
    assert main(["alarms", "memory"]) == 1
    assert capsys.readouterr().err.splitlines()[-2:] == ["not measured: memory", "missed: alarms"]
