"""Tests of the rows of many workers, merged in their master."""

import random
from typing import Any

import pytest

from rushhour.load.merging import ALL, MergedRows
from rushhour.load.messages import Report, pack
from rushhour.metrics.latencies import merge
from rushhour.rundir.facts import SAME_LATENCY, Outcome, RequestCount
from tests.unit.sample_run import encoded


def row(
    took_ms: list[float],
    *,
    t_s: int = 7,
    endpoint: str = "GET /a",
    outcome: Outcome = Outcome.OK,
    worker: str = "worker-1",
    status: int = 0,
    due: str = SAME_LATENCY,
) -> RequestCount:
    return RequestCount(t_s, endpoint, outcome, len(took_ms), encoded(took_ms), worker, status, due)


def packed(*rows: RequestCount) -> list[list[Any]]:
    """Return the rows as a message carries them."""
    found: list[list[Any]] = pack(Report(rows))["rows"]
    return found


def merged(*rows: RequestCount) -> list[RequestCount]:
    held = MergedRows()
    held.add(packed(*rows))
    return list(held.take())


def test_rows_of_all_workers_become_a_row_with_every_request() -> None:
    dice = random.Random(3)  # noqa: S311 - the same rows each time
    took_ms = [[dice.uniform(1, 900) for _ in range(dice.randrange(1, 9))] for _ in range(50)]
    (only,) = merged(*(row(each, worker=f"worker-{at}") for at, each in enumerate(took_ms)))
    every = [each for some in took_ms for each in some]
    assert (only.t_s, only.endpoint, only.outcome, only.worker) == (7, "GET /a", Outcome.OK, ALL)
    assert only.count == len(every)
    assert list(merge([only.latency]).counts) == list(merge([encoded(every)]).counts)
    assert only.latency_due == SAME_LATENCY


def test_rows_that_differ_in_second_endpoint_outcome_or_status_stay_apart() -> None:
    rows = [
        row([1.0]),
        row([1.0], t_s=8),
        row([1.0], endpoint="GET /b"),
        row([1.0], outcome=Outcome.HTTP_4XX, status=404),
        row([1.0], outcome=Outcome.HTTP_4XX, status=409),
        row([1.0], outcome=Outcome.HTTP_5XX),
    ]
    assert merged(*rows) == rows


def test_latencies_from_when_requests_were_due_are_merged_too() -> None:
    late = row([10.0, 20.0], due=encoded([30.0, 40.0]), worker="worker-2")
    (only,) = merged(row([5.0]), late)
    assert list(merge([only.latency]).counts) == list(merge([encoded([5.0, 10.0, 20.0])]).counts)
    assert list(merge([only.latency_due]).counts) == list(merge([encoded([5.0, 30.0, 40.0])]).counts)


def test_a_latency_from_when_due_that_one_row_lacks_is_unknown_for_all() -> None:
    (only,) = merged(row([5.0]), row([6.0], due=""), row([7.0], due=encoded([9.0])))
    assert only.latency_due == ""


def test_rows_are_taken_once_and_a_late_row_adds_up_with_them() -> None:
    held = MergedRows()
    assert held.add(packed(row([1.0]), row([2.0, 3.0]))) == 3
    first = list(held.take())
    assert list(held.take()) == []
    held.add(packed(row([3.0], worker="worker-9")))
    assert sum(each.count for each in (*first, *held.take())) == 4


def test_rows_with_a_latency_that_is_no_histogram_are_left_as_they_came_and_others_merged() -> None:
    broken = RequestCount(7, "GET /a", Outcome.OK, 1, "nonsense", "worker-2")
    others = [row([1.0], endpoint="GET /b"), row([2.0], endpoint="GET /b", worker="worker-2")]
    found = merged(row([1.0]), broken, *others)
    assert found[:2] == [row([1.0]), broken]
    assert [(each.endpoint, each.count) for each in found[2:]] == [("GET /b", 2)]


def test_each_merged_row_has_only_its_own_latencies() -> None:
    rows = [row([took], endpoint=name) for name in ("GET /a", "GET /b") for took in (3.0, 40.0, 500.0)]
    for each in merged(*rows):
        histogram = merge([each.latency])
        assert histogram.get_total_count() == 3
        assert histogram.get_min_value() == pytest.approx(3_000, rel=0.01)
        assert histogram.get_max_value() == pytest.approx(500_000, rel=0.01)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [([7, "GET /a"], "not enough values"), ([7, "GET /a", "no outcome", 1, "", "w", 0, "="], "no outcome")],
)
def test_rows_of_another_shape_are_refused(wrong: list[Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        MergedRows().add([wrong])
