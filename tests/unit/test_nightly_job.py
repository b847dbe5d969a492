"""The night: what it runs, what its summary says first, and what happens when it is cut short."""

import dataclasses
import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from xml.etree import ElementTree

import pytest

from rushhour.errors import StackError, UnavailableError, UsageError
from rushhour.jobs.nightly.job import run_night
from rushhour.jobs.nightly.night import Night, last_good_night, read_night
from rushhour.jobs.nightly.soak import with_soak
from rushhour.jobs.nightly.trend import label, night_rows, trend_data
from rushhour.judging.saved import read_verdict
from rushhour.rundir import History, RunDir
from rushhour.scenario.file import load_scenarios
from rushhour.scenario.model import Scenario
from rushhour.verdict.judge import Verdict
from tests.unit import histories
from tests.unit.saved_runs import noisy, save

GATE = histories.scenario(release="1.1.1")
TRIPWIRE = histories.rush_hour(release="1.1")
MINUTES = count()


class Runs:
    """Runs a scenario as a hand-written history would have it; each release behaves as it does."""

    def __init__(self, stories: dict[str, Callable[[], History]] | None = None) -> None:
        self._stories = stories or {"1.1": histories.incident, "1.1.1": histories.healthy}
        self.folders: list[Path] = []

    def __call__(self, scenario: Scenario, folder: Path) -> tuple[RunDir, Verdict]:
        self.folders.append(folder)
        number = next(MINUTES)
        path = folder / f"20250102T03{number // 60 % 60:02}{number % 60:02}Z-{scenario.name}"
        run = save(path, noisy(self._stories[scenario.release](), number), scenario)
        verdict = read_verdict(run)
        assert verdict is not None
        return run, verdict


class Nights:
    """Runs nights of one runs folder."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self.said: list[str] = []

    def run(
        self,
        release: str = "1.1.1",
        run_one: Callable[[Scenario, Path], tuple[RunDir, Verdict]] | None = None,
        keep: int = 14,
    ) -> Night:
        scenarios = [dataclasses.replace(GATE, release=release), TRIPWIRE]
        return run_night(self.runs, scenarios, release, run_one or Runs(), keep=keep, say=self.said.append)

    def summary(self, night: Night) -> list[str]:
        return (self.runs / "nightly" / night.night / "summary.md").read_text().splitlines()


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    return Nights(tmp_path)


def test_the_summary_of_a_good_night_begins_with_that(nights: Nights) -> None:
    night = nights.run()
    assert night.good
    lines = nights.summary(night)
    assert lines[0].startswith("# ✅ Night of 20")
    assert lines[0].endswith("release 1.1.1: all 2 as expected")
    assert lines[2].startswith("- ✅ as expected: [gate](20250102T03")
    assert "No night before this one was good, so there is nothing to compare with." in lines
    assert any("### Scenarios compared" in line for line in lines)


def test_a_bad_candidate_is_named_first_with_cause_and_line(nights: Nights) -> None:
    nights.run("1.1.1")
    night = nights.run("1.1")
    assert not night.good
    assert [row.verdict for row in night.runs] == ["fail", "pass"]
    lines = nights.summary(night)
    assert lines[0].endswith("release 1.1: 1 of 2 failed")
    assert lines[2].startswith("- ❌ **gate**, release 1.1: ")
    assert "Cause scope-never-removed, at `app/referrals.py:88 list_referrals`." in lines[2]
    since = next(line for line in lines if line.startswith("- **gate**, release 1.1.1 -> 1.1: worse: "))
    assert "observed healthy -&gt; exhausted" in since
    assert any(line.startswith("<details><summary>gate, then and now: ") for line in lines)


def test_a_tripwire_that_does_not_fall_fails_the_night(nights: Nights) -> None:
    """A harness that has gone blind must not let releases pass."""
    blind = Runs({"1.1": histories.healthy, "1.1.1": histories.healthy})
    night = nights.run(run_one=blind)
    assert [row.scenario for row in night.failed] == ["rush-hour"]
    assert "1 of 2 failed" in nights.summary(night)[0]


def test_it_is_compared_with_the_last_good_night(nights: Nights) -> None:
    first = nights.run("1.1.1")
    bad = nights.run("1.1")
    third = nights.run("1.1.1")
    assert last_good_night(nights.runs, before=third.night) == first
    text = "\n".join(nights.summary(third))
    assert f"## Since the last good night, {first.night} (release 1.1.1)" in text
    assert bad.night not in text
    assert "\n- **gate**: no evidence of any change that matters" in text


def test_a_missing_reference_is_reported(nights: Nights) -> None:
    first = nights.run()
    for run in first.runs:
        (nights.runs / run.run / "scenario.json").unlink()
    lines = nights.summary(nights.run())
    assert any(line.startswith("- **gate** was not compared: ") for line in lines)


def test_files_of_a_night(nights: Nights) -> None:
    night = nights.run("1.1")
    folder = nights.runs / "nightly" / night.night
    assert read_night(folder) == night
    assert (nights.runs / "nightly" / "latest").resolve() == folder.resolve()
    suite = ElementTree.parse(folder / "junit.xml").getroot()  # noqa: S314 - our own file
    assert [case.find("failure") is not None for case in suite.iter("testcase")] == [True, False]
    page = (nights.runs / "nightly" / "trend.html").read_text()
    assert "1 night, the last of" in page
    assert "app/referrals.py:88 list_referrals" in page
    for run in night.runs:
        assert f'href="{run.run.removeprefix("nightly/")}/report.html"' in page


def test_old_nights_are_pruned_and_the_last_good_one_stays(nights: Nights) -> None:
    good = nights.run("1.1.1", keep=1)
    bad = [nights.run("1.1", keep=1) for _ in range(2)]
    left = sorted(path.name for path in (nights.runs / "nightly").glob("2*"))
    assert left == [good.night, bad[-1].night]
    assert nights.said == [f"removed 1 old night: {bad[0].night}"]
    page = (nights.runs / "nightly" / "trend.html").read_text()
    assert "3 nights" in page  # the history outlives them
    assert f'href="{bad[0].night}/' not in page


def test_a_night_that_is_cut_short_keeps_what_it_has(nights: Nights) -> None:
    runs = Runs()

    def interrupted(scenario: Scenario, folder: Path) -> tuple[RunDir, Verdict]:
        if runs.folders:
            raise KeyboardInterrupt("SIGINT")
        return runs(scenario, folder)

    nights.run()
    with pytest.raises(KeyboardInterrupt):
        nights.run(run_one=interrupted)
    night = read_night(nights.runs / "nightly" / "latest")
    assert (night.complete, night.good, [row.scenario for row in night.runs]) == (False, False, ["gate"])
    lines = nights.summary(night)
    assert lines[0].endswith(": cut short after 1 of 2")
    assert "- ⚠️ **rush-hour** did not run to its verdict." in lines
    nights.run()  # the lock is free again


def test_a_broken_night_reports_its_own_error(nights: Nights) -> None:
    def broken(scenario: Scenario, folder: Path) -> tuple[RunDir, Verdict]:
        raise StackError(f"no disk for {scenario.name}")

    with pytest.raises(StackError, match="no disk for gate"):
        nights.run(run_one=broken)
    assert nights.summary(read_night(nights.runs / "nightly" / "latest"))[0].endswith("after 0 of 2")


def test_one_night_at_a_time(nights: Nights) -> None:
    def again(scenario: Scenario, folder: Path) -> tuple[RunDir, Verdict]:
        nights.run()
        raise AssertionError("two nights at once")

    with pytest.raises(UnavailableError, match="another nightly"):
        nights.run(run_one=again)


def test_a_broken_night_is_no_reference(nights: Nights) -> None:
    good = nights.run()
    folder = nights.runs / "nightly" / "20990101T000000Z"
    folder.mkdir()
    (folder / "night.json").write_text('{"night": 1}')
    assert last_good_night(nights.runs) == good


def test_only_candidates_take_the_release() -> None:
    file = load_scenarios(Path(__file__).parents[2] / "scenarios.yaml")
    chosen = {item.name: item.release for item in file.select(["nightly"], "1.0", pinned_stay=True)}
    assert chosen == {
        "gate": "1.0",
        "rush-hour": "1.1",
        "rush-hour-hotfix": "1.1.1",
        "nightly-soak": "1.0",
        "replica-fault": "1.1.1",
    }
    assert {item.release for item in file.select(["nightly"], "1.0")} == {"1.0"}
    with pytest.raises(UsageError, match="rush-hour pins every release; none is `release: newest`"):
        file.select(["rush-hour"], "1.0", pinned_stay=True)


def test_the_soak_is_as_long_as_asked() -> None:
    file = load_scenarios(Path(__file__).parents[2] / "scenarios.yaml")
    soak, gate = file.scenarios["nightly-soak"], file.scenarios["gate"]
    assert with_soak(soak, None) is soak
    assert with_soak(soak, 60.0).load.duration == 60.0
    assert with_soak(gate, 60.0) is gate
    with pytest.raises(
        UsageError, match=r"nightly-soak\.load\.warm_up: warm_up 20 s leaves nothing to measure"
    ):
        with_soak(soak, 15.0)


def test_the_trend_has_a_gap_where_a_scenario_did_not_run(nights: Nights) -> None:
    row = nights.run("1.1").runs[0]
    other = dataclasses.replace(row, scenario="soak", night="20250101T030000Z", p95_ms=None)
    shown = night_rows([other, row], ["gate", "soak"])
    assert [item.night for item in shown] == ["20250101T030000Z", row.night]
    data = trend_data(shown, ["gate", "soak"])
    assert data["verdicts"] == [[None, "fail"], ["fail", None]]
    latency = data["panels"][0]["values"]
    assert latency[0][0] is None
    assert latency[0][1] > 0
    assert latency[1] == [None, None]
    json.dumps(data, allow_nan=False)


def test_a_night_is_labelled_by_its_start() -> None:
    assert label("20250102T030405Z") == "2025-01-02 03:04"
    assert label("20250102T030405Z-1") == "2025-01-02 03:04-1"
