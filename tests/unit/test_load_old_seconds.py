"""A load of hours does not keep Locust's counts of every second."""

import pytest
from locust.stats import RequestStats

from rushhour.load.old_seconds import KEPT_S, forget_old_seconds


def test_what_locust_shows_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000_000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    stats = RequestStats()
    for _ in range(10 * KEPT_S):
        now[0] += 1
        stats.log_request("GET", "/a", 7, 100)
        stats.log_error("GET", "/a", "refused")
    entry = stats.entries["/a", "GET"]

    def shown() -> list[float]:
        return [
            figure
            for each in (entry, stats.total)
            for figure in (each.current_rps, each.current_fail_per_sec, each.total_rps, each.num_requests)
        ]

    before = shown()
    forget_old_seconds(stats)
    assert shown() == before
    assert entry.current_rps == 1
    for each in (entry, stats.total):
        assert len(each.num_reqs_per_sec) == len(each.num_fail_per_sec) == KEPT_S + 1


def test_without_requests_nothing_is_forgotten() -> None:
    stats = RequestStats()
    stats.get("/a", "GET")
    forget_old_seconds(stats)
    assert not stats.total.num_reqs_per_sec
