"""Causes by what the holders do: which one it is, the lines it names, and how sure it may be."""

import dataclasses
from typing import Any

import pytest

from rushhour.diagnosis import blocked_worker
from rushhour.rundir import History
from rushhour.rundir import facts as f
from tests.unit.histories import LIST, PID, ROUTE, STARTED_S, Level
from tests.unit.zoo_histories import LOAD_S, backends, diagnosed, doing, full_pool, story

TAKEN = f.CallSite("app/users.py", 26, "user")
SEEN = f.CallSite("app/audit.py", 49, "audit")
LOCKED = f.CallSite("app/orders.py", 86, "more")


def streaming(**process: Any) -> History:
    made = story()
    full_pool(made)
    doing(made, streaming=50, sending=0, places=(f.Place("streaming", TAKEN, SEEN, 50),))
    backends(made, "idle in transaction", lambda _: 1.1)
    made.checkout(
        1,
        3.0,
        "t1",
        site=TAKEN,
        streams=True,
        request_ended_s=None,
        returned_s=STARTED_S + 4.5,
        endpoint=ROUTE,
    )
    history = made.history()
    processes = tuple(dataclasses.replace(one, **process) for one in history.processes)
    return dataclasses.replace(history, processes=processes)


def test_a_connection_that_is_kept_while_its_response_streams_is_named_with_its_line_and_endpoint() -> None:
    found = diagnosed(streaming())
    assert (found.cause, found.confidence) == ("held-while-streaming", "certain")
    assert "taken at app/users.py:26 user" in found.summary
    assert f"the response of {ROUTE} held one for up to 1.5 s" in found.summary
    assert found.page == "docs/causes/held-while-streaming.md"
    assert not found.amplifiers


@pytest.mark.parametrize(
    ("process", "says", "says_not"),
    [
        ({"fastapi": "0.121.0", "flask": None}, 'Depends(..., scope="function")', "Flask"),
        ({"fastapi": "0.120.4", "flask": None}, "close the session before the StreamingResponse", "scope="),
        ({"flask": "3.1.3"}, "stream_with_context", "FastAPI"),
    ],
)
def test_the_fix_is_one_of_the_framework_that_runs(process: dict[str, Any], says: str, says_not: str) -> None:
    fix = diagnosed(streaming(**process)).fix
    assert says in fix
    assert says_not not in fix


def test_a_client_that_does_not_read_is_another_cause() -> None:
    history = streaming()
    unread = tuple(
        dataclasses.replace(one, streaming=5, sending=45, places=(f.Place("sending", TAKEN, None, 45),))
        for one in history.doing
    )
    found = diagnosed(dataclasses.replace(history, doing=unread))
    assert found.cause == "abandoned-stream"
    assert "taken at app/users.py:26 user" in found.summary


def test_streams_whose_backends_run_queries_are_not_held_while_streaming() -> None:
    history = streaming()
    busy = tuple(
        dataclasses.replace(
            one,
            states={"active": 30},
            backends=tuple(dataclasses.replace(backend, state="active") for backend in one.backends),
        )
        for one in history.servers
    )
    found = diagnosed(dataclasses.replace(history, servers=busy))
    assert found.cause != "held-while-streaming" or found.confidence == "possible"


def nested(**looks: Any) -> History:
    """Few of the time-outs hit holders: most hit those who waited for their first connection."""
    made = story()
    full_pool(made, timeouts=36)
    for second in range(4, LOAD_S):
        made.add(
            "pool_timeouts",
            f.PoolTimeout(STARTED_S + second, PID, "replica", SEEN, ROUTE, 1.0, holding=1),
        )
    doing(made, **looks)
    backends(made, "idle in transaction", lambda _: 0.8)
    return made.history()


def test_a_nested_checkout_names_both_lines() -> None:
    found = diagnosed(nested(queue=20, sending=0, places=(f.Place("queue", TAKEN, SEEN, 20),)))
    assert (found.cause, found.confidence) == ("nested-checkout", "certain")
    assert "waiting for another one, at app/audit.py:49 audit" in found.summary
    assert "The first one was taken at app/users.py:26 user." in found.summary


def test_the_line_of_the_second_checkout_comes_from_the_timeouts_where_no_holder_was_seen_in_the_queue() -> (
    None
):
    found = diagnosed(nested(queue=20))
    assert found.cause == "nested-checkout"
    assert any(one.value == "app/audit.py:49 audit" for one in found.evidence)


def test_holders_at_a_lock_whose_owner_is_in_the_queue_are_a_nested_checkout() -> None:
    places = (f.Place("behind", TAKEN, LOCKED, 16), f.Place("queue", TAKEN, SEEN, 4))
    found = diagnosed(nested(queue=4, behind=16, sending=0, places=places))
    assert (found.cause, found.confidence) == ("nested-checkout", "certain")
    assert "at app/audit.py:49 audit" in found.summary
    assert "80% at a lock whose owner waits for one, mostly at app/orders.py:86 more" in found.summary


def test_holders_at_any_other_lock_wait_for_something_else() -> None:
    found = diagnosed(nested(lock=20, sending=0, places=(f.Place("lock", TAKEN, LOCKED, 20),)))
    assert found.cause == "held-across-external-wait"
    assert "waiting for a lock of the service's own, at app/orders.py:86 more" in found.summary


def test_saturation_names_the_line_of_the_query() -> None:
    made = story()
    full_pool(made)
    made.requests(LIST, 3, 1_250)
    doing(made, driver=60, sending=0, places=(f.Place("driver", TAKEN, SEEN, 60),))
    backends(made, "active", lambda _: 0.3)
    found = diagnosed(made.history())
    assert found.cause == "saturation"
    assert "in a query, mostly that of app/audit.py:49 audit" in found.summary


def test_where_most_holders_were_not_seen_nothing_that_goes_by_them_is_certain() -> None:
    history = streaming()
    unseen = tuple(dataclasses.replace(one, unseen=60) for one in history.doing)
    found = diagnosed(dataclasses.replace(history, doing=unseen))
    assert (found.cause, found.confidence) == ("held-while-streaming", "possible")


def loop(**counts: Any) -> History:
    made = story()
    made.pool("replica", lambda _: Level(1, checkouts=50))
    made.requests(LIST, 5, 1_900)
    made.server("replica", {"idle": 2}, range(LOAD_S + 2))
    for second in range(LOAD_S):
        made.add("loops", f.LoopSample(STARTED_S + second, PID, 10, site=SEEN, longest_s=1.2, **counts))
    return made.history()


@pytest.mark.parametrize(
    ("counts", "confidence", "says", "fix"),
    [
        (
            {"blocked": 8, "driver": 0, "waits": 8, "at_site": 8},
            "certain",
            (
                "80% of the looks at the event loop found all of it in a wait that does not yield, mostly at "
                "app/audit.py:49 audit, for up to 1.2 s look after look"
            ),
            blocked_worker.FIX_WAIT,
        ),
        (
            {"blocked": 8, "driver": 0, "computes": 8, "at_site": 8},
            "likely",
            "found all of it computing, mostly at app/audit.py:49 audit",
            blocked_worker.FIX_COMPUTE,
        ),
        (
            {"blocked": 8, "driver": 8, "at_site": 3},
            "possible",  # the servers had nothing to do
            "found all of it waiting for the database",
            blocked_worker.FIX_DRIVER,
        ),
    ],
)
def test_what_blocks_a_loop_is_named(counts: dict[str, int], confidence: str, says: str, fix: str) -> None:
    found = diagnosed(loop(**counts))
    assert (found.cause, found.confidence) == ("blocked-worker", confidence)
    assert says in found.summary
    assert found.fix == fix


@pytest.mark.parametrize(
    "counts",
    [
        {"blocked": 4, "driver": 0, "waits": 4, "at_site": 4},
        {"blocked": 8, "driver": 0, "waits": 8, "at_site": 3},  # all over the code: it lacks CPU
    ],
)
def test_a_loop_that_is_seldom_held_up_or_nowhere_in_particular_is_not_called_blocked(
    counts: dict[str, int],
) -> None:
    assert diagnosed(loop(**counts)).cause == "none"


def elsewhere(what: str) -> History:
    made = story()
    full_pool(made)
    doing(made, elsewhere=60, sending=0, places=(f.Place(what, TAKEN, SEEN, 60),))
    backends(made, "idle in transaction", lambda _: 1.1)
    return made.history()


def test_holders_in_a_query_over_another_connection_do_not_wait_for_something_else() -> None:
    found = diagnosed(elsewhere("other_query"))
    assert found.cause == "held-across-external-wait"
    assert "waiting for a query over another connection of theirs, at app/audit.py:49 audit" in found.summary
    assert "waiting for something else than the database" in diagnosed(elsewhere("elsewhere")).summary


@pytest.mark.parametrize(("at_a_line", "named"), [(60, True), (40, True), (3, False)])
def test_a_line_at_which_few_were_seen_is_not_the_line_of_the_wait(at_a_line: int, named: bool) -> None:
    """The others stood in a framework alone, as between two messages of a websocket."""
    history = elsewhere("elsewhere")
    places = (
        f.Place("elsewhere", TAKEN, SEEN, at_a_line),
        f.Place("elsewhere", TAKEN, None, 60 - at_a_line),
    )
    looks = tuple(
        dataclasses.replace(one, places=places, lines=((SEEN, at_a_line),)) for one in history.doing
    )
    found = diagnosed(dataclasses.replace(history, doing=looks))
    assert found.cause == "held-across-external-wait"
    assert ("app/audit.py:49 audit" in found.summary) is named
    assert any("app/audit.py:49" in str(one.value) for one in found.evidence) is named
    assert found.confidence == ("likely" if named else "possible")
    assert "with the connection taken at app/users.py:26 user" in found.summary


def test_holders_of_a_service_that_uses_a_whole_core_may_compute() -> None:
    history = elsewhere("elsewhere")
    busy = tuple(f.HostSample(STARTED_S + second + 0.5, "service", 1.0, 80.0, 3) for second in range(LOAD_S))
    found = diagnosed(dataclasses.replace(history, host=busy))
    assert found.confidence == "possible"
    assert "or computing (the service used 1.0 cores)" in found.summary


@pytest.mark.parametrize(("cores", "computing"), [(1.0, True), (0.2, False)])
def test_holders_that_were_seen_in_running_code_compute_if_the_service_used_its_cpu(
    cores: float, computing: bool
) -> None:
    used = tuple(
        f.HostSample(STARTED_S + second + 0.5, "service", cores, 80.0, 3) for second in range(LOAD_S)
    )
    found = diagnosed(dataclasses.replace(elsewhere("computes"), host=used))
    assert found.cause == "held-across-external-wait"
    said = "found them computing (the service used 1.0 cores), at app/audit.py:49"
    assert (said in found.summary) is computing
    assert ("end the session, and compute then" in found.fix) is computing
    assert found.confidence == "possible" or not computing
