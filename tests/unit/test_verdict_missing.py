"""Data that a run lacks: unknown where a threshold or the expectation needs it, else a note."""

import dataclasses
from collections.abc import Callable

import pytest

from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.scenario.model import Scenario
from tests.unit import histories as h
from tests.unit.test_verdict_trust import Change, judged, with_event


def pool_gap(history: History) -> History:
    """Drop the pool samples of 3 s."""
    start_s = h.STARTED_S + 30
    return dataclasses.replace(
        history,
        pools=tuple(sample for sample in history.pools if not start_s < sample.t_s < start_s + 3),
    )


def agent_fault(history: History) -> History:
    fault = f.AgentFault(h.STARTED_S + 20, h.PID, "check-in", "KeyError: 7")
    return dataclasses.replace(history, agent_faults=(fault,))


def no_lag(history: History) -> History:
    silent = tuple(
        dataclasses.replace(sample, lag_s=None, error="refused") if 40 < sample.t_s < 50 else sample
        for sample in history.servers
    )
    return dataclasses.replace(history, servers=silent)


BLIND: list[tuple[str, Change, str]] = [
    ("no agent", h.without_agent, "the pool agent never started in the service"),
    ("gap", pool_gap, "no sample of any pool (pool.jsonl) for 3.0 s, from 30.0 s into the load (bound 2 s)"),
    ("fault", agent_fault, "the pool agent failed in check-in: KeyError: 7"),
    (
        "observer",
        with_event(f.OBSERVER_FAULT, observer="pools", error="no space left"),
        "observer pools failed: no space left",
    ),
    ("unknown observer", with_event(f.OBSERVER_FAULT, observer="new", error="x"), "observer new failed: x"),
]


@pytest.mark.parametrize(("change", "why"), [case[1:] for case in BLIND], ids=[case[0] for case in BLIND])
def test_a_run_with_missing_data_is_unknown(change: Change, why: str) -> None:
    for scenario, history in ((h.scenario(), h.healthy()), (h.rush_hour(), h.incident())):
        verdict = judged(scenario, change(history))
        assert verdict.verdict == "unknown"
        assert any(why in reason for reason in verdict.reasons)
    assert judged(h.scenario(), change(h.healthy())).observed == "unknown"


@pytest.mark.parametrize("change", [case[1] for case in BLIND], ids=[case[0] for case in BLIND])
def test_a_violated_threshold_fails_even_with_missing_data(change: Change) -> None:
    assert judged(h.scenario(), change(h.incident())).verdict == "fail"


@pytest.mark.parametrize("change", [case[1] for case in BLIND[:3]], ids=[case[0] for case in BLIND[:3]])
def test_missing_agent_data_does_not_matter_when_only_http_is_judged(change: Change) -> None:
    assert judged(h.testers(), change(h.staging())).verdict == "pass"


def test_missing_lag_is_unknown_only_when_a_threshold_bounds_it() -> None:
    verdict = judged(h.scenario(), no_lag(h.healthy()))
    assert verdict.verdict == "unknown"
    assert verdict.reasons[0].startswith("no lag of the replica (postgres.jsonl) for 1")
    unbound = h.scenario(thresholds=("queuepool_timeouts == 0", "leaked_connections == 0"))
    assert judged(unbound, no_lag(h.healthy())).verdict == "pass"


def test_the_fault_of_an_observer_that_is_not_needed_is_a_note() -> None:
    scenario = h.scenario(thresholds=("queuepool_timeouts == 0", "leaked_connections == 0"))
    change = with_event(f.OBSERVER_FAULT, observer="postgres replica", error="refused")
    verdict = judged(scenario, change(h.healthy()))
    assert verdict.verdict == "pass"
    assert verdict.notes == ("observer postgres replica failed: refused",)


def test_a_threshold_on_an_endpoint_without_requests_is_unknown() -> None:
    verdict = judged(h.scenario(thresholds=("p95{GET /refferals} < 1s",)), h.healthy())
    assert verdict.verdict == "unknown"
    assert verdict.thresholds[0].ok is None
    assert verdict.reasons == (
        f"no data for p95{{GET /refferals}} < 1s: no request to that endpoint; seen: {h.LIST}, {h.SUMMARY}",
    )


def test_the_in_use_share_of_a_pool_without_a_limit_is_unknown() -> None:
    healthy = h.healthy()
    pools = tuple(dataclasses.replace(sample, max_overflow=-1) for sample in healthy.pools)
    verdict = judged(h.scenario(), dataclasses.replace(healthy, pools=pools))
    assert verdict.verdict == "unknown"
    assert any("pool replica has no limit" in reason for reason in verdict.reasons)


def without_pools(history: History) -> History:
    return dataclasses.replace(h.without_agent(history), processes=history.processes)


def test_a_service_that_the_agent_cannot_watch_is_unknown_and_says_why() -> None:
    unseen = without_pools(h.healthy())
    [process, *_] = unseen.processes
    nothing = dataclasses.replace(process, sqlalchemy=None)
    fault = f.AgentFault(1.0, h.PID, "patching sqlalchemy", "RuntimeError: SQLAlchemy 1.3.24 is too old")
    for history, expected in (
        (
            dataclasses.replace(unseen, processes=(nothing,)),
            "no process of the service imported SQLAlchemy (1 process, Python 3.",
        ),
        (
            dataclasses.replace(unseen, processes=(process,)),
            f"SQLAlchemy {process.sqlalchemy} was imported (1 process), and no engine",
        ),
        (
            dataclasses.replace(unseen, agent_faults=(fault,)),
            "the pool agent cannot watch this SQLAlchemy: RuntimeError: SQLAlchemy 1.3",
        ),
    ):
        verdict = judged(h.scenario(), history)
        assert verdict.verdict == "unknown"
        assert expected in verdict.headline


def test_a_run_without_pools_is_a_note_when_no_threshold_needs_pools() -> None:
    nothing = dataclasses.replace(h.without_agent(h.healthy()), processes=())
    verdict = judged(h.scenario(thresholds=("p95 < 1s",)), nothing)
    assert verdict.verdict == "pass"
    assert any("the pool agent never started" in note for note in verdict.notes)


@pytest.mark.parametrize(
    ("kind", "meaning"),
    [
        ("NullPool", "what is exhausted is the server"),
        ("StaticPool", "one connection to everybody"),
        ("SingletonThreadPool", "a connection per thread"),
        ("QueuePool", "opens connections until the server refuses one"),
    ],
)
def test_a_pool_without_a_limit_is_a_note(kind: str, meaning: str) -> None:
    healthy = h.healthy()
    pools = tuple(dataclasses.replace(sample, kind=kind, max_overflow=-1) for sample in healthy.pools)
    verdict = judged(
        h.scenario(thresholds=("queuepool_timeouts == 0",)), dataclasses.replace(healthy, pools=pools)
    )
    assert verdict.verdict == "pass"
    assert any(f"pool replica is a {kind}" in note and meaning in note for note in verdict.notes)


def of_two_processes() -> History:
    """A healthy run of a service with two processes."""
    story = h.Story()
    story.requests(h.LIST, 5, 20)
    story.server("replica", {"active": 1}, range(77))
    story.pool("replica", lambda t: h.Level(out=1))
    story.pool("replica", lambda t: h.Level(out=1), pid=h.PID + 1)
    return story.history()


def test_a_gap_in_the_samples_of_one_of_two_processes_is_unknown() -> None:
    history = of_two_processes()
    silent = tuple(sample for sample in history.pools if sample.pid == h.PID or not 40 < sample.t_s < 45)
    assert judged(h.scenario(), history).verdict == "pass"
    verdict = judged(h.scenario(), dataclasses.replace(history, pools=silent))
    assert verdict.verdict == "unknown"
    assert verdict.reasons[0].startswith(f"no sample of process {h.PID + 1} (pool.jsonl) for 5")


def test_processes_that_ended_are_a_note() -> None:
    history = of_two_processes()
    ended = tuple(sample for sample in history.pools if sample.pid == h.PID or sample.t_s < 45)
    verdict = judged(h.scenario(), dataclasses.replace(history, pools=ended))
    assert verdict.verdict == "pass"
    assert verdict.notes[0].startswith(f"processes of the service that ended during the load: {h.PID + 1};")


DENIED = "GET /invoices"


def with_answers(endpoint: str, outcome: f.Outcome, count: int, status: int = 0) -> Change:
    """Add `count` answers of an endpoint, in one second after the warm-up."""

    def change(history: History) -> History:
        row = dataclasses.replace(h.request_row(30, endpoint, count, 3, outcome), status=status)
        rows = sorted((*history.requests, row), key=lambda row: row.t_s)
        return dataclasses.replace(history, requests=tuple(rows))

    return change


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (403, f"{DENIED} answered 403 to all of its 41 requests: does the locustfile log in?"),
        (404, f"{DENIED} answered 404 to all of its 41 requests: if that is meant"),
        (0, f"{DENIED} answered 4xx to all of its 41 requests"),  # recorded before statuses were kept
    ],
)
@pytest.mark.parametrize(
    ("scenario", "history"), [(h.scenario, h.healthy), (h.rush_hour, h.incident)], ids=["gate", "rush-hour"]
)
def test_an_endpoint_that_only_answers_4xx_makes_the_run_unknown(
    scenario: Callable[..., Scenario], history: Callable[[], History], status: int, why: str
) -> None:
    change = with_answers(DENIED, f.Outcome.HTTP_4XX, 41, status)
    verdict = judged(scenario(), change(history()))
    assert verdict.verdict == "unknown"
    assert any(reason.startswith(why) for reason in verdict.reasons), verdict.reasons
    assert any(f"{DENIED} 41 of 41" in note for note in verdict.notes)
    assert judged(scenario(may_fail=(DENIED,)), change(history())).verdict == "pass"


def test_an_endpoint_with_one_good_answer_passes_and_its_4xx_are_a_note() -> None:
    history = with_answers(DENIED, f.Outcome.HTTP_4XX, 40, 401)(h.healthy())
    verdict = judged(h.scenario(), with_answers(DENIED, f.Outcome.OK, 1)(history))
    assert verdict.verdict == "pass"
    assert any(note.endswith(f"were answered 4xx: {DENIED} 40 of 41") for note in verdict.notes)


def test_an_endpoint_without_a_good_answer_is_unknown_when_healthy_is_expected() -> None:
    scenario = h.scenario(thresholds=("p95 < 400ms",))
    history = with_answers(DENIED, f.Outcome.HTTP_5XX, 1)(h.healthy())
    verdict = judged(scenario, history)
    assert verdict.verdict == "unknown"
    assert f"{DENIED} answered none of its 1 request with 2xx or 3xx" in verdict.reasons[0]


def test_an_endpoint_with_only_timeouts_passes_when_exhaustion_is_expected() -> None:
    history = with_answers(DENIED, f.Outcome.QUEUEPOOL_TIMEOUT, 3)(h.incident())
    assert judged(h.rush_hour(), history).verdict == "pass"


def test_http_4xx_rate_of_the_run_and_of_one_endpoint() -> None:
    history = with_answers(DENIED, f.Outcome.HTTP_4XX, 30, 404)(h.healthy())
    history = with_answers(DENIED, f.Outcome.OK, 10)(history)
    scenario = h.scenario(thresholds=("http_4xx_rate < 50%", f"http_4xx_rate{{{DENIED}}} < 50%"))
    whole, endpoint = judged(scenario, history).thresholds[:2]
    assert (whole.ok, endpoint.ok, endpoint.value) == (True, False, 0.75)
