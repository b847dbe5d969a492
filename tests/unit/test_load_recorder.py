"""The recorder's counting, its histograms, and how late it says its timers were."""

import json
from collections import Counter
from dataclasses import dataclass

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from rushhour.load.lacking import Lacking
from rushhour.load.messages import Lost, Raised, Report, pack, run_problem, unpack
from rushhour.load.raised import Exceptions
from rushhour.load.recorder import Clock, Tally, overdue_ms
from rushhour.metrics.latencies import HIGHEST_US
from rushhour.rundir.facts import GeneratorSample, Outcome, RequestCount


@dataclass
class Hands:
    """A clock and a CPU meter that stand where they were put."""

    t_s: float = 0.0
    cpu_s: float = 0.0

    def tally(self, worker: str = "local") -> Tally:
        return Tally(Clock(0.0, lambda: self.t_s), worker, lambda: self.cpu_s)


def decode(row: RequestCount) -> HdrHistogram:
    return HdrHistogram.decode(row.latency)


def test_a_row_holds_one_second_of_one_endpoint_and_outcome() -> None:
    hands = Hands()
    tally = hands.tally("worker-3")
    for t_s, name, outcome, took_ms in [
        (4.0, "/a", Outcome.OK, 10.0),
        (4.99, "/a", Outcome.OK, 30.0),
        (4.99, "/a", Outcome.HTTP_5XX, 5.0),
        (4.99, "/b", Outcome.OK, 7.0),
        (5.0, "/a", Outcome.OK, 20.0),
    ]:
        hands.t_s = t_s
        tally.ended("GET", name, outcome, took_ms)
    rows = {(row.t_s, row.endpoint, row.outcome): row for row in tally.rows(final=True)}
    assert {key: row.count for key, row in rows.items()} == {
        (4, "GET /a", Outcome.OK): 2,
        (4, "GET /a", Outcome.HTTP_5XX): 1,
        (4, "GET /b", Outcome.OK): 1,
        (5, "GET /a", Outcome.OK): 1,
    }
    assert {row.worker for row in rows.values()} == {"worker-3"}
    latency = decode(rows[4, "GET /a", Outcome.OK])
    assert latency.get_value_at_percentile(50) == pytest.approx(10_000, rel=0.001)
    assert latency.get_value_at_percentile(100) == pytest.approx(30_000, rel=0.001)


def test_the_status_is_kept_of_answers_4xx_alone() -> None:
    tally = Hands().tally()
    for status, outcome in ((403, Outcome.HTTP_4XX), (404, Outcome.HTTP_4XX), (503, Outcome.HTTP_5XX)):
        tally.ended("GET", "/a", outcome, 1.0, status)
    tally.ended("GET", "/a", Outcome.CONNECT_ERROR, 1.0, None)
    rows = sorted((row.outcome, row.status, row.count) for row in tally.rows(final=True))
    assert rows == [
        (Outcome.CONNECT_ERROR, 0, 1),
        (Outcome.HTTP_4XX, 403, 1),
        (Outcome.HTTP_4XX, 404, 1),
        (Outcome.HTTP_5XX, 0, 1),
    ]


def test_a_second_is_handed_out_only_when_it_is_over_and_only_once() -> None:
    hands = Hands()
    tally = hands.tally()
    for hands.t_s in (1.5, 2.5):
        tally.ended("GET", "/", Outcome.OK, 1.0)
    assert [row.t_s for row in tally.rows()] == [1]
    assert list(tally.rows()) == []
    hands.t_s = 3.0
    assert [row.t_s for row in tally.rows()] == [2]
    tally.ended("GET", "/", Outcome.OK, 1.0)
    assert [row.t_s for row in tally.rows(final=True)] == [3]


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 600_000)), max_size=50))
def test_no_request_is_lost_however_long_it_took(requests: list[tuple[float, float]]) -> None:
    hands = Hands()
    tally = hands.tally()
    for hands.t_s, took_ms in sorted(requests):
        tally.ended("GET", "/", Outcome.OK, took_ms)
    rows = list(tally.rows(final=True))
    assert sum(row.count for row in rows) == len(requests)
    assert Counter({row.t_s: row.count for row in rows}) == Counter(int(t_s) for t_s, _ in requests)
    for row in rows:
        latency = decode(row)
        assert latency.get_total_count() == row.count
        assert latency.get_max_value() <= HIGHEST_US * 1.001


def test_a_sample_has_the_time_of_the_second_that_it_covers() -> None:
    hands = Hands(t_s=10.0, cpu_s=3.0)
    tally = hands.tally("worker-1")
    tally.started, tally.retries, tally.redirected = 3, 2, 1
    tally.late([0.1] * 98 + [7.0, 40.0])
    hands.t_s, hands.cpu_s = 11.001, 3.5005
    assert tally.sample(users=12) == GeneratorSample(10, "worker-1", 12, 3, 2, 7.0, 40.0, 0.5, 1)
    hands.t_s = 12.001
    assert tally.sample(users=0) == GeneratorSample(11, "worker-1", 0, 0, 0, 0.0, 0.0, 0.0)


def test_a_sample_counts_what_could_not_be_sent_since_the_last() -> None:
    tally = Hands().tally()
    tally.lacking.update({Lacking.FILE: 3, Lacking.PORT: 1})
    first, second = tally.sample(1), tally.sample(1)
    assert (first.no_file, first.no_port, first.no_memory) == (3, 1, 0)
    assert (second.no_file, second.no_port, second.no_memory) == (0, 0, 0)


def test_a_request_is_due_in_the_second_of_its_schedule_however_late_the_sample_is() -> None:
    hands = Hands(t_s=10.0)
    tally = hands.tally()
    for due_s in (10.2, 10.9, 11.0, 12.5, 40.0):
        tally.plan(due_s)
    tally.plan(10.9, -1)  # this customer left
    hands.t_s = 11.001
    assert tally.sample(users=4).due == 1
    hands.t_s = 13.4  # the process stood still
    assert tally.sample(users=4).due == 2
    hands.t_s = 14.001
    assert tally.sample(users=4).due == 0


def test_a_timer_on_time_and_a_late_one() -> None:
    assert overdue_ms(1.0, 1.0, 0.02) == ([0.0], 1.02)
    late_ms, next_s = overdue_ms(1.0, 1.005, 0.02)
    assert late_ms == pytest.approx([5.0])
    assert next_s == pytest.approx(1.02)


def test_a_stall_makes_every_timer_within_it_late() -> None:
    late_ms, next_s = overdue_ms(1.0, 1.05, 0.02)
    assert late_ms == pytest.approx([50.0, 30.0, 10.0])
    assert next_s == pytest.approx(1.06)


@given(st.floats(0, 1e6), st.floats(0, 100))
def test_the_next_timer_lies_ahead(planned_s: float, late_s: float) -> None:
    late_ms, next_s = overdue_ms(planned_s, planned_s + late_s, 0.02)
    assert next_s > planned_s + late_s - 1e-6
    assert all(0 <= late <= late_s * 1000 + 1e-3 for late in late_ms)


def test_a_workers_report_survives_the_wire() -> None:
    report = Report(
        rows=(RequestCount(3, "GET /a", Outcome.QUEUEPOOL_TIMEOUT, 2, "HISTFAAA", "worker-0"),),
        samples=(GeneratorSample(3, "worker-0", 5, 7, 1, 1.5, 2.5, 0.25),),
        final=True,
        raised=(Raised(3.5, "worker-0", "KeyError", "'id'", "customers.py:12 in list_items", 4),),
    )
    plain = pack(report)
    parts = [plain[part][0] for part in ("rows", "samples", "raised")]
    assert all(type(value) in (int, float, str) for part in parts for value in part)
    assert unpack(plain) == report


@pytest.mark.parametrize("broken", [{}, {"rows": [[1]], "samples": [], "final": True}, {"rows": 3}])
def test_a_report_that_is_none_is_an_error(broken: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        unpack(broken)


def test_a_run_counts_only_when_nothing_is_missing() -> None:
    assert run_problem(completed=True, recorded=1) is None
    assert run_problem(completed=True, recorded=0) == "no request was recorded"
    assert run_problem(completed=False, recorded=9) == "the load did not run to its end"
    assert run_problem(completed=True, recorded=9, lost=[Lost("worker-1", 12.3, 1_200)]) == (
        "Locust worker worker-1 was lost 12 s into the run, 1,200 customers and all that it had not reported"
    )
    assert run_problem(completed=True, recorded=9, faults=["disk full"]) == "disk full"


NOTHING: dict[str, str] = {}


def raise_key_error(key: str) -> None:
    json.loads("{") if key == "library" else NOTHING[key]


def test_exceptions_are_counted_by_type_and_the_innermost_line_outside_of_libraries() -> None:
    exceptions = Exceptions()
    for key in ("a", "b", "library"):
        try:
            raise_key_error(key)
        except (KeyError, ValueError) as error:
            exceptions.add(error, error.__traceback__)
    key_error, decode_error = exceptions.take(1.0, "local")
    assert (key_error.error, key_error.message, key_error.count) == ("KeyError", "'a'", 2)
    assert decode_error.error == "JSONDecodeError"
    line = raise_key_error.__code__.co_firstlineno + 1
    assert {item.where for item in (key_error, decode_error)} == {
        f"test_load_recorder.py:{line} in raise_key_error"
    }
    assert exceptions.take(2.0, "local") == ()
