"""Moments found in hand-written pool facts: full, first time-out, leak, saturation."""

import pickle

from rushhour.observe.moments import Moments
from rushhour.rundir import facts as f

SITE = f.CallSite("app/db.py", 41, "referrals_of")
OTHER = f.CallSite("app/db.py", 77, "summary_of")


def sample(
    t_s: float, *, checked_out: int = 0, leaked: int = 0, waiting: int = 0, pid: int = 7, overflow: int = 1
) -> f.PoolSample:
    return f.PoolSample(
        t_s=t_s,
        pid=pid,
        pool="replica",
        kind="QueuePool",
        size=2,
        max_overflow=overflow,
        timeout_s=30.0,
        checked_out=checked_out,
        live=checked_out,
        waiting=waiting,
        leaked=leaked,
        timeouts=0,
        connects=checked_out,
        checkouts=10,
        checkins=10 - checked_out,
    )


def checkout(
    t_s: float,
    *,
    number: int = 1,
    ended_s: float | None = None,
    returned_s: float | None = None,
    site: f.CallSite = SITE,
    pid: int = 7,
) -> f.CheckOut:
    return f.CheckOut(
        t_s=t_s,
        pid=pid,
        id=number,
        pool="replica",
        site=site,
        stack=(f"{site.file}:{site.line} {site.function}",),
        endpoint="GET /customers/:id/referrals",
        thread="t-1",
        server_pid=100,
        taken_s=t_s - 0.1,
        request_ended_s=ended_s,
        returned_s=returned_s,
        returned_by=None if returned_s is None else "close",
    )


def names(events: list[f.Event]) -> list[str]:
    return [event.name for event in events]


def test_pool_full_is_emitted_once_per_process_with_its_numbers() -> None:
    moments = Moments()
    assert moments.feed([sample(1.0, checked_out=2)]) == []
    [full] = moments.feed([sample(1.1, checked_out=3, leaked=2), sample(1.2, checked_out=3, leaked=2)])
    assert full == f.Event(
        1.1, f.POOL_FULL, {"pool": "replica", "pid": 7, "checked_out": 3, "capacity": 3, "leaked": 2}
    )
    assert moments.feed([sample(1.3), sample(1.4, checked_out=3)]) == []  # full again is no news
    assert names(moments.feed([sample(1.4, checked_out=3, pid=8)])) == [f.POOL_FULL]


def test_a_pool_without_a_limit_is_never_full() -> None:
    assert Moments().feed([sample(1.0, checked_out=500, overflow=-1)]) == []


def test_first_timeout_is_emitted_once() -> None:
    timeouts = [f.PoolTimeout(t, 7, "replica", SITE, "GET /x", 30.0) for t in (31.0, 31.5)]
    [first] = Moments().feed(timeouts)
    assert first == f.Event(31.0, f.FIRST_TIMEOUT, {"pool": "replica", "pid": 7, "endpoint": "GET /x"})


def test_a_leak_is_reported_a_second_after_its_request_with_line_and_endpoint() -> None:
    moments = Moments()
    assert moments.feed([checkout(2.0, ended_s=2.0), sample(2.0, leaked=1), sample(2.99, leaked=1)]) == []
    [leak] = moments.feed([sample(3.0, leaked=1)])
    assert leak == f.Event(
        3.0,
        f.LEAK_DETECTED,
        {
            "pool": "replica",
            "pid": 7,
            "site": "app/db.py:41 referrals_of",
            "endpoint": "GET /customers/:id/referrals",
            "leaked": 1,
            "out_after_request_s": 1.0,
        },
    )


def test_a_connection_returned_just_after_the_request_ended_is_no_leak() -> None:
    moments = Moments()
    facts: list[f.PoolFact] = [
        checkout(2.0, ended_s=2.0),
        sample(2.1, leaked=1),
        checkout(2.9, ended_s=2.0, returned_s=2.85),
    ]
    assert moments.feed([*facts, sample(3.0), sample(60.0)]) == []


def test_a_late_reader_sees_no_leak_in_what_had_come_back() -> None:
    late: list[f.PoolFact] = [sample(2.0, leaked=1), checkout(2.0, ended_s=2.0)]
    moments = Moments()
    assert moments.feed(late) == []  # read at 9 s, say: the agent's clock stands at 2 s
    assert moments.feed([checkout(2.4, ended_s=2.0, returned_s=2.4), sample(9.0)]) == []


def test_a_long_request_or_a_job_outside_requests_is_no_leak() -> None:
    moments = Moments()
    assert moments.feed([checkout(2.0), sample(3.0, checked_out=1), sample(90.0, checked_out=1)]) == []


def test_each_leaking_line_is_reported_once_over_all_processes() -> None:
    moments = Moments()
    first = [checkout(2.0, number=n, ended_s=2.0) for n in range(3)]
    second = [checkout(2.0, number=9, ended_s=2.0, site=OTHER)]
    elsewhere = [checkout(2.0, number=1, ended_s=2.0, pid=8)]
    found = moments.feed([*first, *second, *elsewhere, sample(3.5, leaked=4), sample(3.5, leaked=1, pid=8)])
    assert [event.detail["site"] for event in found] == [
        "app/db.py:41 referrals_of",
        "app/db.py:77 summary_of",
    ]


def test_detection_comes_within_two_seconds_of_a_pool_that_fills_at_once() -> None:
    moments = Moments()
    facts: list[f.PoolFact] = [checkout(5.0, number=n, ended_s=5.0) for n in range(3)]
    facts += [sample(5.0 + tick / 10, checked_out=3, leaked=3, waiting=4) for tick in range(20)]
    events = {event.name: event.t_s for event in moments.feed(facts)}
    assert events == {f.POOL_FULL: 5.0, f.LEAK_DETECTED: 6.0}


def test_saturation_is_a_queue_that_lasts_a_second_while_nothing_leaks() -> None:
    moments = Moments()
    assert moments.feed([sample(1.0 + i / 10, checked_out=2, waiting=3) for i in range(9)]) == []
    [event] = moments.feed([sample(2.0, checked_out=2, waiting=5)])
    assert event.name == f.SATURATION_DETECTED
    assert event.detail["waiting"] == 5
    assert event.detail["queued_s"] == 1.0


def test_a_queue_that_empties_or_was_not_watched_starts_over() -> None:
    moments = Moments()
    emptied = [sample(1.0, waiting=1), sample(1.5), sample(1.9, waiting=1), sample(2.5, waiting=1)]
    assert moments.feed(emptied) == []
    assert moments.feed([sample(9.0, waiting=1)]) == []  # nothing was seen since 2.5 s
    assert moments.feed([sample(9.9, waiting=1)]) == []
    assert names(moments.feed([sample(10.0, waiting=1)])) == [f.SATURATION_DETECTED]


def test_a_queue_behind_leaks_is_not_called_saturation() -> None:
    moments = Moments()
    assert names(moments.feed([sample(i / 10, waiting=9, leaked=1) for i in range(50)])) == []


def test_what_is_kept_does_not_grow_with_the_processes_that_came_and_went() -> None:
    moments = Moments()

    def live_through(generations: range) -> int:
        for generation in generations:
            t_s = 100.0 * generation
            started = f.AgentProcess(t_s, generation, 1, "3.11", None, None)
            gone = checkout(t_s + 1, ended_s=t_s + 0.9, pid=generation)
            moments.feed([started, gone, sample(t_s + 1, checked_out=3, waiting=1, pid=generation)])
        return len(pickle.dumps(moments))

    assert live_through(range(1000, 1500)) <= live_through(range(1500, 1510))
