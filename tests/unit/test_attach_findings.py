"""What `rushhour agent exec` makes of the facts, and how it says it."""

from dataclasses import replace

import pytest

from rushhour.diagnosis.sites import held_sites
from rushhour.jobs.attach.findings import Findings
from rushhour.jobs.attach.run import Attached
from rushhour.jobs.attach.words import News, summary
from rushhour.metrics.window import Window
from rushhour.rundir import facts as f

SITE = f.CallSite("shop.py", 36, "report")
PROCESS = f.AgentProcess(0.0, 7, 1, "3.13.1", None, None)
SEEN = replace(PROCESS, sqlalchemy="2.1.9", flask="3.1.3")
OUT = f.CheckOut(
    t_s=1.0,
    pid=7,
    id=1,
    pool="shop.db",
    site=SITE,
    stack=("shop.py:36 report",),
    endpoint="GET /report/:year",
    thread="ThreadPoolExecutor-0_0",
    server_pid=None,
    taken_s=1.0,
)


LEAK = (
    "shop.py:36 report for GET /report/:year: 1 of pool shop.db out after their request had ended, "
    "longest 3.0 s (1 still out)"
)


def sample(t_s: float, **changes: object) -> f.PoolSample:
    base = f.PoolSample(t_s, 7, "shop.db", "QueuePool", 5, 2, 1.0, 1, 1, 0, 0, 0, 1, 1, 0)
    return replace(base, **changes)  # type: ignore[arg-type]  # fields by name


def fed(*facts: f.PoolFact, long_s: float = 5.0) -> Findings:
    findings = Findings(long_s)
    findings.feed(facts)
    return findings


def test_a_connection_out_after_its_request_is_a_leak_with_its_line() -> None:
    findings = fed(SEEN, replace(OUT, t_s=2.0, request_ended_s=1.2), sample(4.0))
    assert findings.leaks == 1
    assert summary(findings) == [
        "1 connection leaked",
        "seen  Python 3.13.1, SQLAlchemy 2.1.9, Flask 3.1.3, 1 process",
        (
            "pool  shop.db: QueuePool of 5 + 2, time-out 1 s; "
            "at most 1 of 7 connections out (sampled), 1 check-out"
        ),
        f"LEAK  {LEAK}",
    ]


def test_a_connection_that_outlived_its_job_or_its_thread_is_a_leak_and_says_which() -> None:
    for lost, words in (
        ("owner-idle", "out after their job had ended, kept by threads that wait for the next one"),
        ("owner-ended", "out after the thread, greenlet or task that took them had ended"),
    ):
        out = replace(OUT, t_s=2.0, endpoint=None, request_ended_s=1.2, lost=lost)
        findings = fed(SEEN, out, sample(4.0))
        assert findings.leaks == 1
        assert f"shop.py:36 report: 1 of pool shop.db {words}, longest 3.0 s" in summary(findings)[-1]


def test_a_check_out_that_came_back_in_time_is_no_leak() -> None:
    back = replace(OUT, t_s=3.0, returned_s=3.0, returned_by="close")
    findings = fed(SEEN, back, sample(4.0), replace(SEEN, t_s=4.1, exited_s=4.1))
    assert findings.leaks == 0
    assert findings.held() == []
    assert summary(findings)[0] == "every connection came back"
    assert Attached(0, findings).leak_code == 0


def test_every_connection_came_back_from_a_killed_process_that_had_none_out() -> None:
    back = replace(OUT, t_s=3.0, returned_s=3.0, returned_by="close")
    findings = fed(SEEN, back, sample(4.0), replace(SEEN, t_s=4.1, none_out=True))
    findings.command_ended()
    assert summary(findings)[0] == "every connection came back"
    assert Attached(0, findings).leak_code == 0


@pytest.mark.parametrize(("code", "leak_code"), [(0, 2), (137, 137)])
def test_of_a_killed_process_the_end_was_not_seen(code: int, leak_code: int) -> None:
    """It may have left a connection out in its last tenth of a second."""
    findings = fed(SEEN, replace(OUT, t_s=3.0, returned_s=3.0, returned_by="close"), sample(4.0))
    findings.command_ended()
    unseen = "1 process was killed, and the last tenth of a second of each was not seen"
    assert summary(findings)[0] == f"no leak was seen, but {unseen}"
    attached = Attached(code, findings)
    assert (attached.doubt, attached.leak_code) == (unseen, leak_code)
    never_took = fed(SEEN, sample(4.0, checked_out=0, checkouts=0))
    assert never_took.killed == 0


def test_only_garbage_collection_brought_it_back() -> None:
    findings = fed(SEEN, replace(OUT, endpoint=None, t_s=3.0, returned_s=3.0, returned_by="gc"), sample(4.0))
    assert findings.leaks == 1
    assert "not closed by anyone, longest 2.0 s (1 collected as garbage)" in summary(findings)[-1]


def test_a_long_hold_within_its_request_is_reported_and_is_no_leak() -> None:
    findings = fed(SEEN, OUT, sample(7.5))
    [held] = findings.held()
    assert (held.leaked, held.long, held.longest_s) == (0, 1, 6.5)
    assert findings.leaks == 0
    assert fed(SEEN, OUT, sample(7.5), long_s=10.0).held() == []


def test_what_a_process_had_out_for_a_moment_when_it_ended_may_have_been_at_work() -> None:
    ended = replace(OUT, endpoint=None, returned_by="process-ended")
    assert fed(SEEN, replace(ended, t_s=2.0, returned_s=2.0)).leaks == 0
    assert fed(SEEN, replace(ended, t_s=9.0, returned_s=9.0)).leaks == 1


def test_what_a_killed_process_had_out_is_judged_as_what_an_ended_process_had_out() -> None:
    for taken_s, leaks in ((1.0, 1), (8.5, 0)):
        findings = fed(SEEN, replace(OUT, endpoint=None, taken_s=taken_s), sample(9.0))
        assert findings.leaks == 0
        findings.command_ended()
        assert findings.leaks == leaks
    ended_at_last = fed(SEEN, replace(OUT, t_s=9.0, endpoint=None, request_ended_s=9.0, lost="owner-idle"))
    assert ended_at_last.leaks == 1
    ended_at_last.command_ended()
    assert ended_at_last.leaks == 1
    in_request = fed(SEEN, OUT, sample(9.0))
    in_request.command_ended()
    assert in_request.leaks == 0


def test_news_comes_once_and_again_when_it_has_grown_tenfold() -> None:
    findings = fed(SEEN, sample(1.0))
    news = News(findings)
    assert [line.split("  ")[0] for line in news.lines()] == [
        "sees Python 3.13.1, SQLAlchemy 2.1.9, Flask 3.1.3; shop.db: QueuePool of 5 + 2, time-out 1 s"
    ]
    new = []
    for number in range(1, 31):
        findings.feed([replace(OUT, id=number, request_ended_s=1.1)])
        new.append(len(list(news.lines())))
    assert [number for number, lines in enumerate(new, 1) if lines] == [1, 10]
    findings.feed([f.PoolTimeout(5.0, 7, "shop.db", SITE, "GET /report/:year", 1.01)])
    assert list(news.lines()) == [
        "TIME-OUT  pool shop.db: 1 after up to 1.0 s, raised at shop.py:36 report for GET /report/:year"
    ]


def test_what_the_agent_cannot_see_is_reported() -> None:
    assert summary(fed())[0] == "the agent started in no process, so nothing was seen"
    assert summary(fed(PROCESS))[0].startswith("no process imported SQLAlchemy (1 process, Python 3.13.1)")
    idle = fed(SEEN, sample(1.0, checked_out=0, checkouts=0))
    assert summary(idle)[0].startswith("no connection was taken from a pool")
    assert "no pool was seen: no engine was made, or its process was killed" in summary(fed(SEEN))[0]
    old = f.AgentFault(1.0, 7, "patching sqlalchemy", "RuntimeError: SQLAlchemy 1.3.24 is too old")
    assert "cannot watch this SQLAlchemy: RuntimeError: SQLAlchemy 1.3.24" in summary(fed(SEEN, old))[0]
    null = sample(1.0, kind="NullPool", size=0, max_overflow=-1, timeout_s=0.0)
    assert "NullPool, which opens a connection for each check-out" in "\n".join(summary(fed(SEEN, null)))


def test_what_a_process_has_out_when_it_ends_is_named_and_not_said_to_have_come_back() -> None:
    left = replace(OUT, t_s=1.05, endpoint=None, returned_s=1.05, returned_by="process-ended")
    findings = fed(SEEN, left, sample(1.05))
    assert findings.leaks == 0
    lines = summary(findings)
    assert lines[0] == (
        "no leak was seen, but 1 connection was still out when the process ended: it may have been at work"
    )
    assert lines[-1] == "out  shop.py:36 report: 1 of pool shop.db still out when the process ended"


@pytest.mark.parametrize(("own", "leaks"), [(True, 0), (False, 1)])
@pytest.mark.parametrize("how", ["process-ended", "gc"])
def test_what_a_worker_took_as_it_started_has_not_leaked_when_it_ends(
    how: str, *, own: bool, leaks: int
) -> None:
    kept = replace(OUT, t_s=9.0, endpoint=None, own=own, returned_s=9.0, returned_by=how)
    assert fed(SEEN, kept, sample(9.0), long_s=1.0).leaks == leaks


@pytest.mark.parametrize(
    "changes",
    [
        {"request_ended_s": 2.0},
        {"request_ended_s": 2.0, "returned_s": 6.0, "returned_by": "gc"},
        {"request_ended_s": 2.0, "returned_s": 6.0, "returned_by": "close"},
        {"request_ended_s": 2.0, "returned_s": 4.0, "returned_by": "process-ended"},
        {"returned_s": 7.0, "returned_by": "close"},
        {"returned_s": 7.0, "returned_by": "invalidate"},
        {},
    ],
)
@pytest.mark.parametrize("of_ended_process", [False, True])
def test_agent_exec_and_a_run_hold_a_checkout_for_the_same_time(
    changes: dict[str, object], *, of_ended_process: bool
) -> None:
    out = replace(OUT, **changes)  # type: ignore[arg-type]  # fields by name
    samples = (sample(1.0), sample(5.5 if of_ended_process else 9.9), sample(10.0, pid=8))
    findings = fed(SEEN, out, *samples, long_s=0.1)
    history = f.History(environment=None, pools=samples, checkouts=(out,))
    [place], [site] = findings.held(), held_sites(history, Window(0.0, 0.0, 10.0, 10.0))
    assert round(place.longest_s, 3) == site.max_hold_s
    assert place.still_out == site.held
    assert (place.leaked > 0) >= (site.leaked + site.collected > 0)


def test_samples_of_a_long_life_are_not_kept_and_their_peaks_are() -> None:
    waiting = [sample(float(t_s), waiting=7 if t_s == 300 else 0) for t_s in range(1000)]
    most = [replace(taken, checked_out=6 if taken.t_s == 500 else 1) for taken in waiting]
    findings = fed(SEEN, *most, sample(1000.0, checkouts=40))
    assert len(findings.history().pools) == 3
    [pool] = findings.pools()
    assert (pool.checked_out_max, pool.waiting_max, pool.checkouts) == (6, 7, 40)


def test_a_pool_is_summed_over_its_processes() -> None:
    findings = fed(
        SEEN,
        sample(1.0, checked_out=2, checkouts=5, timeouts=1),
        sample(2.0, checkouts=9, timeouts=3),
        sample(3.0, pid=8, checkouts=4, timeouts=2),
    )
    [pool] = findings.pools()
    assert (pool.processes, pool.checked_out_max, pool.checkouts, pool.timeouts) == (2, 2, 13, 5)
