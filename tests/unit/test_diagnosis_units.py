"""Leaks that no request made: by jobs of executors, and by threads, greenlets and tasks that have ended."""

import dataclasses

import pytest

from rushhour.diagnosis import Diagnosis, diagnose
from rushhour.diagnosis.black_box import ALIKE
from rushhour.metrics.measure import measure
from rushhour.rundir import History
from rushhour.rundir import facts as f
from tests.unit import histories as h

JOB = f.CallSite("app/jobs.py", 52, "job")
POOL = 5


def diagnosed(history: History) -> Diagnosis:
    return diagnose(history, measure(h.scenario(), history))


def left(lost: str, *, per_owner: int = 1, kept: int = 0, thread: str = "pool-1_0") -> h.Story:
    """Five connections that no request took are out; requests are turned away, and `kept` is of the jobs."""
    story = h.Story(users=40)
    story.requests(h.LIST, 20, 30, seconds=range(10))
    story.requests(h.LIST, 10, 2000, f.Outcome.QUEUEPOOL_TIMEOUT, seconds=range(12, 75))
    for number in range(POOL):
        story.checkout(
            number,
            2.0 + number,
            thread,  # a number, or a name, that later threads have again
            site=JOB,
            endpoint=None,
            owner=number // per_owner,
            lost=lost,
        )
    story.site(checkouts=POOL, held_s=0.0, site=JOB, endpoint=None)
    story.pool("replica", lambda t: h.Level(out=POOL, leaked=POOL, waiting=20, timeouts=60, checkouts=400))
    for number in range(60):
        story.timeout(12.0 + number)
    if kept:
        for number in range(20):
            at = h.STARTED_S + 12 + number
            story.add("pool_timeouts", f.PoolTimeout(at, h.PID, "replica", JOB, None, 2.0, kept=kept))
    return story


def test_a_connection_kept_by_each_thread_from_an_earlier_job_is_a_scope_never_removed() -> None:
    found = diagnosed(left("owner-idle").history())
    assert (found.cause, found.confidence) == ("scope-never-removed", "likely")
    assert "kept by threads of an executor or job runner whose job has ended" in found.summary
    assert "taken at app/jobs.py:52 job, one for each of 5 threads" in found.summary
    assert "`finally`" in found.fix
    assert (found.call_sites[0].function, found.call_sites[0].leaked) == ("job", POOL)


def in_registry(history: History, *, of_them: int = POOL) -> History:
    """A history in which a `scoped_session` keeps the session of some leaked connections."""
    checkouts = tuple(
        dataclasses.replace(out, scoped=number < of_them) for number, out in enumerate(history.checkouts)
    )
    return dataclasses.replace(history, checkouts=checkouts)


def test_sessions_that_a_registry_keeps_for_its_threads_are_certainly_not_removed() -> None:
    found = diagnosed(in_registry(left("owner-idle").history()))
    assert (found.cause, found.confidence) == ("scope-never-removed", "certain")
    assert "a thread-local registry (`scoped_session`) keeps the session of each" in found.summary
    assert any(item.source == "pool.jsonl checkout.scoped" for item in found.evidence)
    some = diagnosed(in_registry(left("owner-idle").history(), of_them=POOL - 1))
    assert (some.cause, some.confidence) == ("scope-never-removed", "likely")


def test_a_registry_does_not_outweigh_signs_of_a_path_that_forgets_to_close() -> None:
    asked_again = diagnosed(in_registry(left("owner-idle", kept=1).history()))
    assert asked_again.cause == "unclosed-path"
    assert diagnosed(in_registry(left("owner-idle", per_owner=5).history())).cause == "unclosed-path"


def test_threads_that_keep_one_and_ask_for_another_do_not_close_what_they_take() -> None:
    found = diagnosed(left("owner-idle", kept=1).history())
    assert found.cause == "unclosed-path"
    assert "threads that kept one asked for another 20 times" in found.summary


def test_one_thread_that_keeps_several_from_earlier_jobs_does_not_close_what_it_takes() -> None:
    assert diagnosed(left("owner-idle", per_owner=5).history()).cause == "unclosed-path"


def test_connections_whose_thread_has_ended_were_never_closed() -> None:
    found = diagnosed(left("owner-ended").history())
    assert found.cause == "unclosed-path"
    assert found.confidence != "certain"
    assert "are out although the threads, greenlets or tasks that took them have ended" in found.summary
    assert "taken at app/jobs.py:52 job" in found.summary
    assert "before the thread, greenlet or task that took it ends" in found.fix


def test_a_leak_without_any_request_counts_in_the_metrics() -> None:
    for lost in ("owner-idle", "owner-ended"):
        history = left(lost).history()
        assert measure(h.scenario(), history).pool.leaked == POOL


def test_an_older_agent_that_wrote_no_owner_is_judged_by_the_names_of_threads() -> None:
    history = h.incident()
    assert all(out.owner is None and out.lost is None for out in history.checkouts)
    assert diagnosed(history).cause == "scope-never-removed"
    one_name = tuple(dataclasses.replace(out, thread="t") for out in history.checkouts)
    assert diagnosed(dataclasses.replace(history, checkouts=one_name)).cause == "unclosed-path"


def branch(*, by_task: bool = False, elsewhere: int = 0) -> History:
    """Some requests keep a connection each; all of them take `elsewhere` others and give them back."""
    story = h.Story(users=40)
    story.requests(h.LIST, 20, 30, seconds=range(10))
    story.requests(h.LIST, 10, 2000, f.Outcome.QUEUEPOOL_TIMEOUT, seconds=range(12, 75))
    for number in range(POOL):
        story.checkout(number, 2.0 + number, "MainThread", site=JOB, owner=number)
    story.site(checkouts=POOL, held_s=0.0, site=JOB)
    if elsewhere:
        story.site(checkouts=elsewhere, held_s=1.0)
    story.pool("replica", lambda t: h.Level(out=POOL, leaked=POOL, waiting=20, timeouts=60, checkouts=400))
    for number in range(60):
        story.timeout(12.0 + number)
    history = story.history()
    checkouts = tuple(dataclasses.replace(out, by_task=by_task) for out in history.checkouts)
    return dataclasses.replace(history, checkouts=checkouts)


def test_connections_that_tasks_of_one_loop_left_are_in_no_session_per_thread() -> None:
    found = diagnosed(branch(by_task=True))
    assert found.cause == "unclosed-path"
    assert found.confidence != "certain"
    assert "tasks of an event loop took them" in found.summary
    assert diagnosed(branch()).cause == "scope-never-removed"


def test_a_black_box_that_leaks_says_that_a_session_per_thread_of_jobs_looks_the_same() -> None:
    found = diagnosed(h.without_agent(h.unclosed()))
    assert (found.cause, found.confidence) == ("unclosed-path", "possible")
    assert "scope-never-removed" in found.summary
    assert "scope-never-removed" in ALIKE[found.cause]


def test_answers_that_took_a_connection_elsewhere_are_no_sign_of_a_session_per_thread() -> None:
    """A branch that few requests take leaks each time it is taken."""
    found = diagnosed(branch(elsewhere=200))
    assert (found.cause, found.confidence) == ("unclosed-path", "possible")
    assert "its requests took 200 other connections and gave them back" in found.summary
    assert diagnosed(branch(elsewhere=20)).cause == "scope-never-removed"  # 180 answers took none


@pytest.mark.parametrize(
    ("first_s", "last_s", "cause"),
    [(0.5, 9.5, "none"), (0.5, 4.0, "unclosed-path"), (0.5, 6.0, "unclosed-path")],
)
def test_a_black_box_names_no_leak_while_the_service_is_still_at_requests_of_the_load(
    first_s: float, last_s: float, cause: str
) -> None:
    """A blocked loop comes to one request after another, and each times out in turn."""
    history = h.without_agent(h.unclosed())
    ended_s = history.time_of(f.LOAD_ENDED) or 0.0
    drained_s = ended_s + 10.0
    moved = tuple(
        dataclasses.replace(event, t_s=drained_s) if event.name == f.DRAINED else event
        for event in history.events
        if event.name != f.RUN_ENDED
    )
    late = tuple(
        f.Event(ended_s + after_s, f.LOG_ERRORS, {"source": "service", "queuepool_timeouts": 1, "errors": 0})
        for after_s in (first_s, last_s)
    )
    end = f.Event(drained_s + 1.0, f.RUN_ENDED, {})
    assert diagnosed(dataclasses.replace(history, events=(*moved, *late, end))).cause == cause


@pytest.mark.parametrize(("given_up", "cause"), [(h.CAPACITY, "none"), (h.CAPACITY - 1, "unclosed-path")])
def test_a_black_box_names_no_leak_where_requests_without_an_answer_may_hold_the_sessions(
    given_up: int, cause: str
) -> None:
    """A service whose event loop is blocked is still at requests whose customers have given up."""
    history = h.without_agent(h.unclosed())
    last = history.requests[-1]
    unanswered = dataclasses.replace(last, outcome=f.Outcome.CLIENT_TIMEOUT, count=given_up)
    assert diagnosed(dataclasses.replace(history, requests=(*history.requests, unanswered))).cause == cause
