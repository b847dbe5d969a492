"""A session per thread that nobody removes, against a path that does not close: how they are told apart."""

import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rushhour.diagnosis import Diagnosis, diagnose
from rushhour.metrics.measure import measure
from rushhour.rundir import History
from rushhour.rundir import facts as f
from tests.unit import histories as h


def diagnosed(history: History) -> Diagnosis:
    return diagnose(history, measure(h.scenario(), history))


def few(leaks: int, requests: int, checkouts: int, threads: int | None = None) -> History:
    """Few requests: `leaks` connections are out after `requests` answers that took `checkouts` check-outs."""
    story = h.Story(users=10)
    story.requests(h.LIST, 1, 30, seconds=range(12, 12 + requests))
    story.site(checkouts=checkouts, held_s=0.03 * (checkouts - leaks))
    for number in range(leaks):
        story.checkout(number, 12.0 + number, thread=f"t{number % (threads or leaks)}")
    story.pool("replica", lambda t: h.Level(out=leaks, leaked=leaks, checkouts=checkouts))
    return story.history()


def test_one_request_and_one_leak_names_the_line_and_says_that_it_may_be_either() -> None:
    found = diagnosed(few(leaks=1, requests=1, checkouts=1))
    assert (found.cause, found.confidence) == ("scope-never-removed", "possible")
    assert "taken at app/referrals.py:88 list_referrals" in found.summary
    assert "cannot tell it from a path that forgets to close" in found.summary


def test_later_requests_without_a_check_out_show_a_kept_session() -> None:
    found = diagnosed(few(leaks=3, requests=20, checkouts=3))
    assert (found.cause, found.confidence) == ("scope-never-removed", "certain")


def test_one_session_that_requests_of_a_loop_share_is_said_to_be_of_no_thread() -> None:
    history = few(leaks=1, requests=20, checkouts=1)
    shared = tuple(dataclasses.replace(out, by_task=True) for out in history.checkouts)
    found = diagnosed(dataclasses.replace(history, checkouts=shared))
    assert (found.cause, found.confidence) == ("scope-never-removed", "possible")
    assert "a session that all requests share" in found.summary
    assert "Give each request a session of its own" in found.fix
    of_registry = tuple(dataclasses.replace(out, scoped=True) for out in shared)
    found = diagnosed(dataclasses.replace(history, checkouts=of_registry))
    assert (found.cause, found.confidence) == ("scope-never-removed", "likely")


@pytest.mark.parametrize("by_task", [False, True])
def test_one_session_of_a_module_in_each_of_two_processes_is_not_certainly_one_per_thread(
    by_task: bool,
) -> None:
    history = few(leaks=2, requests=20, checkouts=2)
    assert diagnosed(history).confidence == "certain"
    one_each = tuple(
        dataclasses.replace(out, pid=h.PID + number, by_task=by_task)
        for number, out in enumerate(history.checkouts)
    )
    pools = tuple(
        dataclasses.replace(sample, pid=h.PID + number, checked_out=1, live=1, leaked=1)
        for sample in history.pools
        for number in range(2)
    )
    found = diagnosed(dataclasses.replace(history, checkouts=one_each, pools=pools))
    assert (found.cause, found.confidence) == ("scope-never-removed", "possible" if by_task else "likely")
    assert "share (in a variable of a module, or of the application)" in found.summary
    assert "its own" in found.fix or "of its own" in found.fix


@pytest.mark.parametrize(("by_task", "confidence"), [(False, "likely"), (True, "possible")])
def test_one_leak_by_a_task_of_each_process_is_hardly_a_session_of_a_thread(
    by_task: bool, confidence: str
) -> None:
    history = few(leaks=3, requests=3, checkouts=3)
    one_each = tuple(
        dataclasses.replace(out, pid=h.PID + number, by_task=by_task)
        for number, out in enumerate(history.checkouts)
    )
    found = diagnosed(dataclasses.replace(history, checkouts=one_each))
    assert (found.cause, found.confidence) == ("scope-never-removed", confidence)


def failing(leaks: int, failed: int, *, scoped: bool) -> History:
    """No request is answered: all fail, and some of them because the pool is empty."""
    story = h.Story(users=10)
    story.requests(h.LIST, failed, 30, f.Outcome.HTTP_5XX, seconds=range(12, 13))
    for number in range(leaks):
        story.checkout(number, 12.0, thread=f"t{number}", scoped=scoped)
    for _ in range(20):
        story.timeout(14.0)
    story.site(checkouts=leaks, held_s=0.0)
    story.pool("replica", lambda t: h.Level(out=leaks, leaked=leaks, checkouts=leaks))
    return story.history()


@pytest.mark.parametrize(
    ("failed", "scoped", "said"),
    [
        (20 + 60, True, ("scope-never-removed", "certain")),
        (20 + 60, False, ("scope-never-removed", "likely")),
        (20 + 6, True, ("unclosed-path", "likely")),  # each took one of its own, and failed
        (20, True, ("unclosed-path", "likely")),
    ],
)
def test_requests_that_fail_otherwise_than_by_a_time_out_may_have_used_a_kept_session(
    failed: int, scoped: bool, said: tuple[str, str]
) -> None:
    found = diagnosed(failing(6, failed, scoped=scoped))
    assert (found.cause, found.confidence) == said


def test_a_check_out_for_every_request_shows_an_unclosed_path() -> None:
    found = diagnosed(few(leaks=6, requests=6, checkouts=6))
    assert (found.cause, found.confidence) == ("unclosed-path", "likely")


def test_check_outs_that_only_sometimes_come_back_show_an_unclosed_path() -> None:
    found = diagnosed(few(leaks=2, requests=40, checkouts=40))
    assert (found.cause, found.confidence) == ("unclosed-path", "likely")
    assert "2 of 40 check-outs there did not come back with their request" in found.summary


def test_a_cached_answer_does_not_make_an_unclosed_path_a_kept_session() -> None:
    """More answers than check-outs, but most check-outs came back: nothing was kept for later."""
    assert diagnosed(few(leaks=2, requests=60, checkouts=20)).cause == "unclosed-path"


def test_two_leaks_of_a_thread_show_an_unclosed_path() -> None:
    found = diagnosed(few(leaks=4, requests=4, checkouts=4, threads=2))
    assert (found.cause, found.confidence) == ("unclosed-path", "likely")
    assert "one thread alone left 2" in found.summary


@pytest.mark.parametrize("told", [h.unclosed, h.incident])
def test_a_session_that_several_use_at_once_may_lose_its_connections_without_an_unclosed_path(
    told: Callable[[], History],
) -> None:
    """Its `close()` fails while another thread takes a connection for it."""
    history = told()
    assert diagnosed(history).confidence == "certain"
    leaked = sum(out.returned_s is None for out in history.checkouts)

    def with_errors(count: int) -> Diagnosis:
        detail = {
            "source": "service",
            "queuepool_timeouts": 0,
            "errors": 1,
            "kinds": {"shared_session": count},
        }
        event = f.Event(h.STARTED_S + 20, f.LOG_ERRORS, detail)
        events = tuple(sorted((*history.events, event), key=lambda one: one.t_s))
        return diagnosed(dataclasses.replace(history, events=events))

    few, many = with_errors(1), with_errors(leaked)
    assert few.confidence == "certain"
    assert any("use one session at once" in text for text in few.amplifiers)
    assert (many.cause, many.confidence) == (diagnosed(history).cause, "possible")
    assert "use one session at once" in many.summary
    assert many.fix.startswith("Give each request, thread or task a session of its own")


def test_two_sessions_kept_per_thread_are_still_kept_sessions() -> None:
    """Two registries on one pool: each thread keeps one connection of each, taken at its own call site."""
    story = h.Story()
    story.requests(h.LIST, 5, 30)
    story.requests(h.SUMMARY, 5, 30)
    for number in range(10):
        story.checkout(number, 12.0 + number, thread=f"t{number}")
        story.checkout(
            100 + number, 12.0 + number, thread=f"t{number}", site=h.OTHER_SITE, endpoint=h.SUMMARY
        )
    story.site(checkouts=10, held_s=0.0)
    story.site(checkouts=10, held_s=0.0, site=h.OTHER_SITE, endpoint=h.SUMMARY)
    story.pool("replica", lambda t: h.Level(out=20, leaked=20, checkouts=20))
    assert diagnosed(story.history()).cause == "scope-never-removed"


def test_what_garbage_collection_brings_back_was_dropped_and_not_kept() -> None:
    history = few(leaks=4, requests=4, checkouts=4)
    collected = tuple(
        dataclasses.replace(out, returned_s=out.taken_s + 20, returned_by="gc") for out in history.checkouts
    )
    none_out = tuple(dataclasses.replace(one, leaked=0, checked_out=0) for one in history.pools)
    found = diagnosed(dataclasses.replace(history, checkouts=collected, pools=none_out))
    assert (found.cause, found.confidence) == ("unclosed-path", "likely")
    assert found.summary.startswith(
        "4 connections of pool replica, taken at app/referrals.py:88 list_referrals"
    )
    half = (*collected[:2], *history.checkouts[2:])
    assert diagnosed(dataclasses.replace(history, checkouts=half)).cause == "unclosed-path"


def test_one_stray_collected_session_does_not_hide_the_incident() -> None:
    incident = h.incident()
    story = h.Story()
    story.checkout(900, 20.0, "t9", site=h.OTHER_SITE, returned_s=h.STARTED_S + 40, returned_by="gc")
    both = (*incident.checkouts, *story.facts["checkouts"])
    assert diagnosed(dataclasses.replace(incident, checkouts=both)).cause == "scope-never-removed"


def test_a_leak_of_endpoints_whose_names_cannot_be_matched_is_named_with_less_confidence() -> None:
    incident = h.incident()
    renamed = tuple(dataclasses.replace(row, endpoint="GET /other") for row in incident.requests)
    found = diagnosed(dataclasses.replace(incident, requests=renamed))
    assert (found.cause, found.confidence) == ("scope-never-removed", "likely")


def test_connections_of_two_processes_are_counted_against_both_pools() -> None:
    story = h.Story()
    story.requests(h.LIST, 20, 30)
    for number in range(30):
        story.checkout(number, 12.0 + number, thread=f"t{number}")
        story.checkout(number, 12.0 + number, thread=f"t{number}", pid=h.PID + 1)
    story.site(checkouts=30, held_s=0.0)
    story.site(checkouts=30, held_s=0.0, pid=h.PID + 1)
    for pid in (h.PID, h.PID + 1):
        story.pool("replica", lambda t: h.Level(out=30, leaked=30, checkouts=30), pid=pid)
    found = diagnosed(story.history())
    assert (found.cause, found.confidence) == ("scope-never-removed", "certain")
    assert found.summary.startswith("60 of 60 connections of pool replica")


@settings(max_examples=15)
@given(leaks=st.integers(2, 12), rounds=st.integers(2, 4))
def test_the_kind_of_leak_does_not_depend_on_its_size(leaks: int, rounds: int) -> None:
    kept = few(leaks=leaks, requests=leaks * rounds, checkouts=leaks)
    assert diagnosed(kept).cause == "scope-never-removed"
    forgotten = few(leaks=leaks, requests=leaks * (rounds + 4), checkouts=leaks * (rounds + 4))
    assert diagnosed(forgotten).cause == "unclosed-path"
