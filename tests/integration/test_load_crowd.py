"""Customers are started a few at a time, and what they plan to send is counted where it is due."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.integration.load_subject import ROOT

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.integration.crowd_subject"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_others_have_their_turn_while_customers_are_started(seen: dict[str, Any]) -> None:
    assert seen["stock"]["turns"] == 0
    assert seen["sliced"]["turns"] > seen["customers"] / 2


@pytest.mark.parametrize("how", ["stock", "sliced", "slow"])
def test_all_customers_are_started_before_the_next_second(seen: dict[str, Any], how: str) -> None:
    assert seen[how]["started"] == seen[how]["there"] == seen["customers"]
    assert seen[how]["state"] == seen["stock"]["state"]


def test_customers_that_cost_more_than_the_second_are_started_without_a_pause(seen: dict[str, Any]) -> None:
    assert seen["slow"]["turns"] < seen["customers"]


def test_nobody_is_started_after_a_stop(seen: dict[str, Any]) -> None:
    assert seen["left"] == 0


def test_requests_are_due_when_the_wait_ends_and_not_of_customers_who_left(seen: dict[str, Any]) -> None:
    assert sum(count for _, _, count in seen["due"]) == 20
    ends = set(seen["ends"])
    assert all(count == 0 or ends & set(range(first, end)) for first, end, count in seen["due"]), seen


def test_customers_are_counted_by_class_as_locust_counts_them(seen: dict[str, Any]) -> None:
    stock, ours = seen["counts"][:6], seen["counts"][6:]
    assert ours == stock
    assert [count["Customer"] for count in ours] == [7, 4, 0] * 2
