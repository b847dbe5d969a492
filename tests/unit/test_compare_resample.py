"""What the intervals stand on: histograms, blocks and resamples."""

import math
import random
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushhour.errors import RunDataError
from rushhour.jobs.compare.blocks import block_length
from rushhour.jobs.compare.judging import Judgement, interval, judge_change, measure_of
from rushhour.jobs.compare.resample import pack, resamples, unpack
from rushhour.metrics.latencies import HIGHEST_US, new_histogram
from rushhour.metrics.latency_counts import WIDTH, bucket_counts, bucket_ms

DICE = random.Random


@given(st.dictionaries(st.integers(1, HIGHEST_US), st.integers(1, 10**6), max_size=40))
def test_buckets_hold_what_the_histogram_holds(values: dict[int, int]) -> None:
    histogram = new_histogram()
    for value, count in values.items():
        histogram.record_value(value, count)
    expected: Counter[int] = Counter()
    for value, count in values.items():
        lowest = max(1, histogram.get_lowest_equivalent_value(value))
        expected[math.floor(math.log(lowest) / math.log(WIDTH))] += count
    assert bucket_counts(histogram.encode().decode()) == expected


def test_a_bucket_gives_its_latency_to_half_a_per_cent() -> None:
    for us in (900, 34_000, 30_010_000):
        histogram = new_histogram()
        histogram.record_value(us)
        (bucket,) = bucket_counts(histogram.encode().decode())
        assert bucket_ms(bucket) == pytest.approx(us / 1000, rel=0.007)


def test_an_empty_histogram_has_no_bucket() -> None:
    assert not bucket_counts(new_histogram().encode().decode())


@pytest.mark.parametrize("text", ["HISTFAAA", "not base64!", "HISTFAAAAAB4nA=="])
def test_what_is_no_histogram_is_refused(text: str) -> None:
    with pytest.raises(RunDataError, match=re.escape(text)):
        bucket_counts(text)


@given(st.lists(st.lists(st.integers(0, 2**40), min_size=3, max_size=3), min_size=1, max_size=20))
def test_lanes_add_up_side_by_side(seconds: list[list[int]]) -> None:
    total = sum(pack(second) for second in seconds)
    assert list(unpack(total, 3)) == [sum(lane) for lane in zip(*seconds, strict=True)]


def test_a_resample_is_as_long_as_the_run_and_keeps_neighbours_together() -> None:
    n, block = 23, 5
    seconds = [pack([1, *(int(at == item) for item in range(n))]) for at in range(n)]
    for totals in resamples(seconds, n + 1, block=block, count=50, dice=DICE(1)):
        assert totals[0] == n
        drawn = list(totals[1:])
        starts = sum(drawn[at] > drawn[at - 1] for at in range(n))
        assert starts <= math.ceil(n / block)


def test_every_second_counts_alike() -> None:
    """The last seconds too: in a rush hour they are the busiest."""
    n = 20
    seconds = [pack([int(at == n - 1), int(at == n // 2)]) for at in range(n)]
    drawn = [*resamples(seconds, 2, block=4, count=4000, dice=DICE(1))]
    last, middle = (sum(item[lane] for item in drawn) / len(drawn) for lane in (0, 1))
    assert last == pytest.approx(1, abs=0.06)
    assert middle == pytest.approx(1, abs=0.06)


def _autocorrelated(keep: float, n: int, seed: int) -> list[float]:
    dice, level, values = DICE(seed), 0.0, []
    for _ in range(n):
        level = keep * level + math.sqrt(1 - keep**2) * dice.gauss(0, 1)
        values.append(level)
    return values


def test_blocks_are_longer_where_seconds_depend_on_each_other() -> None:
    seeds = range(10)
    alone = [block_length([_autocorrelated(0.0, 300, seed)]) for seed in seeds]
    bound = [block_length([_autocorrelated(0.8, 300, seed)]) for seed in seeds]
    assert sum(alone) / 10 < 10
    assert sum(bound) / 10 > 1.5 * sum(alone) / 10


def test_blocks_have_bounds() -> None:
    assert block_length([[1.0] * 65]) == 5  # the cube root of 65, rounded up
    assert block_length([[float(at % 40 < 20) for at in range(60)]]) <= 60 // 6


def test_a_course_of_traffic_is_no_memory() -> None:
    """Latency that grows all evening does not make one second tell of another."""
    rising = [at / 50 + dice for at, dice in enumerate(_autocorrelated(0.0, 300, 3))]
    assert block_length([rising]) < 12


def test_the_interval_holds_the_middle() -> None:
    low, high = interval([float(at) for at in range(1000)])
    assert (low, high) == (5.0, 994.0)


@pytest.mark.parametrize(
    ("metric", "before", "low", "high", "expected"),
    [
        ("p95_ms", 100.0, 11.0, 30.0, Judgement.WORSE),
        ("p95_ms", 100.0, 9.0, 30.0, Judgement.NO_EVIDENCE),  # may be within 10 %
        ("p95_ms", 100.0, -30.0, -11.0, Judgement.BETTER),
        ("p95_ms", 100.0, -9.0, 9.0, Judgement.SAME),
        ("p50_ms", 4.0, 0.5, 1.5, Judgement.SAME),  # 2 ms are within reach of any machine
        ("achieved_rps", 100.0, -30.0, -11.0, Judgement.WORSE),
        ("achieved_rps", 100.0, 11.0, 30.0, Judgement.BETTER),
        ("http_5xx_rate", 0.0, 0.001, 0.003, Judgement.WORSE),
        ("http_5xx_rate", 0.0, 0.0, 0.0, Judgement.SAME),
        ("replica_cpu_cores_mean", 0.3, 0.1, 0.2, Judgement.MORE),
        ("replica_cpu_cores_mean", 0.3, -0.2, -0.1, Judgement.LESS),
    ],
)
def test_a_change_is_judged_by_all_of_its_interval(
    metric: str, before: float, low: float, high: float, expected: Judgement
) -> None:
    assert judge_change(measure_of(metric), before, low, high) is expected
