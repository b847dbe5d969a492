"""Tests of a real master with more workers than it writes the rows of one by one."""

import pytest

from benchmarks.master import NOTICED_BOUND_S, measure
from rushhour.load.merging import MERGED_FROM

pytestmark = pytest.mark.long


def test_a_master_of_many_workers_counts_every_request_once_and_notices_a_silent_worker() -> None:
    found = measure(MERGED_FROM + 5, seconds=20.0, settled_s=3.0)
    assert found.sent > 0
    assert found.wrong == 0
    assert found.rows < found.sent / MERGED_FROM, "the rows of the workers were not merged"
    assert found.noticed_s is not None
    assert found.noticed_s < NOTICED_BOUND_S
    assert found.others_lost == 0
