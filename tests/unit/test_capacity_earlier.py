"""A search beside the one before it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from rushhour.jobs.archive.directories import SEARCH_FILE
from rushhour.jobs.capacity.earlier import beside, latest_before
from rushhour.jobs.capacity.facts import Earlier, Knee, Outcome, Search, Step
from rushhour.jobs.capacity.store import as_objects
from rushhour.jobs.capacity.words import meaning

EARLIER = Earlier("20261101T020000Z-capacity-gate", 47.0, 50.0, 2.2)


def step(rate: float, outcome: Outcome, cpu_ms: float | None) -> Step:
    return Step(rate, outcome, f"at-{rate:g}", ("x",), requests_per_s=300.0, present=300.0, cpu_ms=cpu_ms)


def search(low: float = 48.0, high: float = 51.0, cpu_ms: float | None = 2.2, **changes: Any) -> Search:
    steps = (step(low, "holds", cpu_ms), step(high, "gives", cpu_ms))
    knee = Knee("knee", low, high, (2, 2), (2, 2))
    found = Search("gate", "1.1.1", "embedded", steps, knee, 1.0, 10.0, 20.0, earlier=EARLIER)
    return dataclasses.replace(found, **changes)


def kept(runs: Path, stamp: str, found: Search) -> str:
    folder = runs / f"{stamp}-capacity-{found.scenario}"
    folder.mkdir(parents=True)
    (folder / SEARCH_FILE).write_text(json.dumps(as_objects([(found, "pass", "x")])))
    return folder.name


def test_a_knee_near_the_one_before_agrees_and_one_far_away_does_not() -> None:
    assert beside(search()).endswith("found it between 47 and 50, which agrees.")
    assert beside(search(60.0, 63.0)).endswith("which lies further away than these steps explain.")
    assert beside(search()) in (meaning(search()) or "")


@pytest.mark.parametrize(
    ("cpu_ms", "words"),
    [
        (2.9, "and takes 2.9 ms now, 32% more. Unless the settings differ, the machine is slower now"),
        (1.5, "and takes 1.5 ms now, 32% less. Unless the settings differ, the machine is faster now"),
    ],
)
def test_a_machine_of_another_speed_is_said_before_anything_else(cpu_ms: float, words: str) -> None:
    for low in (48.0, 30.0):
        assert words in beside(search(low, low + 3, cpu_ms))
        assert "agrees" not in beside(search(low, low + 3, cpu_ms))


def test_nothing_is_said_of_speed_that_was_not_seen() -> None:
    assert "CPU" not in beside(search(cpu_ms=None))


@pytest.mark.parametrize("kind", ["at least", "below", "leak", "unknown"])
def test_without_a_knee_nothing_is_compared(kind: Any) -> None:
    assert beside(search(knee=Knee(kind, 48.0, 51.0))) == ""
    assert beside(search(earlier=None)) == ""


def test_the_newest_search_under_the_same_conditions_is_found(tmp_path: Path) -> None:
    assert latest_before(tmp_path, search()) is None
    kept(tmp_path, "20261101T020000Z", search(40.0, 42.0))
    wanted = kept(tmp_path, "20261102T020000Z", search(44.0, 46.0, 2.5))
    others = (
        search(release="1.1"),
        search(stack="compose"),
        search(think_time_s=10.0),
        search(knee=Knee("at least", 48.0)),
        search(scenario="gate-2"),
    )
    for day, other in enumerate(others, 3):
        kept(tmp_path, f"2026110{day}T020000Z", other)
    assert latest_before(tmp_path, search()) == Earlier(wanted, 44.0, 46.0, 2.5)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '[{"scenario": "gate"}]', "\x00", "[" * 2000])
def test_a_file_that_cannot_be_read_is_no_earlier_search(text: str, tmp_path: Path) -> None:
    wanted = kept(tmp_path, "20261101T020000Z", search())
    (tmp_path / kept(tmp_path, "20261102T020000Z", search()) / SEARCH_FILE).write_text(text)
    found = latest_before(tmp_path, search())
    assert found is not None
    assert found.run == wanted


def test_a_search_that_an_older_version_kept_has_no_speed(tmp_path: Path) -> None:
    file = tmp_path / kept(tmp_path, "20261101T020000Z", search()) / SEARCH_FILE
    plain = json.loads(file.read_text())
    for one in plain[0]["steps"]:
        del one["cpu_ms"]
    del plain[0]["earlier"]
    file.write_text(json.dumps(plain))
    found = latest_before(tmp_path, search())
    assert found is not None
    assert found.cpu_ms is None
