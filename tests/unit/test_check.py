"""`rushhour check`, without a service: what is a request, which routes were missed, and what it concludes."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest

from rushhour.jobs.check import send as checking
from rushhour.jobs.check.result import Answer, CheckResult, Request, parse_request, unrequested
from rushhour.rundir.facts import CallSite, CheckOut, PoolFact, PoolSample

ROOT = Path(__file__).parents[2]

LIST = Answer(Request("GET", "/customers/1/referrals"), 200, 5.0)
LEAK = CheckOut(
    t_s=2.0,
    pid=7,
    id=1,
    pool="replica",
    site=CallSite("app/referrals.py", 12, "all_of"),
    stack=("app/referrals.py:12 all_of",),
    endpoint="GET /customers/:id/referrals",
    thread="t-1",
    server_pid=99,
    taken_s=1.0,
    request_ended_s=1.1,
)


def test_requests_are_parsed() -> None:
    assert parse_request("GET /health") == Request("GET", "/health")
    assert parse_request('POST /login {"customer_id": 1}') == Request("POST", "/login", '{"customer_id": 1}')


@pytest.mark.parametrize("line", ["/health", "GET health", "FETCH /health", ""])
def test_what_is_not_a_request_says_what_would_be(line: str) -> None:
    with pytest.raises(ValueError, match=r"write `GET /path` or `POST /path \{json\}`"):
        parse_request(line)


def test_routes_that_no_request_reaches() -> None:
    routes = [
        "GET /health",
        "GET /customers/<int:customer_id>/referrals",
        "POST /customers/<int:customer_id>/referrals",
        "GET /files/<path:name>",
        "GET /customers/<int:customer_id>",
    ]
    requests = [
        Request("GET", "/customers/1/referrals?page=2"),
        Request("GET", "/health"),
        Request("GET", "/files/a/b"),
    ]
    assert unrequested(routes, requests) == [routes[2], routes[4]]


@pytest.mark.parametrize(
    ("result", "verdict", "doubt"),
    [
        (CheckResult((LIST,), (), (), 30), "pass", None),
        (CheckResult((LIST,), (LEAK,), (), 30), "fail", None),
        (CheckResult((LIST,), (), ("GET /new",), 30), "unknown", "GET /new was not requested"),
        (CheckResult((LIST,), (), (), 0), "unknown", "the agent reported no pool"),
        (CheckResult((LIST,), (), (), 30, unseen=1), "unknown", "1 process was killed, or stood still"),
        (
            CheckResult((LIST,), (), (), 30, at_work=(LEAK, LEAK)),
            "unknown",
            "2 connections were still out at app/",
        ),
        (CheckResult((Answer(LIST.request, 404, 1.0),), (), (), 30), "unknown", "answered 404"),
        (
            CheckResult((Answer(LIST.request, None, 1.0, "refused"),), (), (), 30),
            "unknown",
            "no answer: refused",
        ),
        (CheckResult((LIST,), (LEAK,), ("GET /new",), 30), "fail", "GET /new was not requested"),
    ],
)
def test_a_check_never_passes_on_what_it_did_not_see(
    result: CheckResult, verdict: str, doubt: str | None
) -> None:
    assert result.verdict == verdict
    assert len(result.doubts) == (doubt is not None)
    assert all(doubt is not None and doubt in told for told in result.doubts)


class Watched:
    """A pool whose facts come one list for each look."""

    def __init__(self, *looks: list[PoolFact]) -> None:
        self._looks = list(looks)

    def poll(self) -> list[PoolFact]:
        return self._looks.pop(0) if self._looks else []

    def finish(self) -> list[PoolFact]:
        return []


OUT = dataclasses.replace(LEAK, request_ended_s=None, endpoint=None, taken_s=1.2)
SAMPLE = PoolSample(3.0, 7, "replica", "QueuePool", 3, 2, 2.0, 1, 1, 0, 0, 0, 1, 1, 0)


@pytest.mark.parametrize(
    ("afterwards", "verdict"),
    [
        ([dataclasses.replace(OUT, request_ended_s=2.5, lost="owner-ended")], "fail"),
        ([dataclasses.replace(OUT, returned_s=2.5)], "pass"),
        ([], "unknown"),
    ],
)
def test_work_that_goes_on_after_its_response_is_waited_for(
    afterwards: list[PoolFact], verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "send", lambda _url, request: Answer(request, 200, 1.0))
    if not afterwards:
        monkeypatch.setattr(checking, "WORK_TIMEOUT_S", 0.0)
    times = iter((1.0, 1.5))
    running = SimpleNamespace(service_url="", check_alive=lambda: None)
    recorder = SimpleNamespace(now_s=lambda: next(times), write=lambda _facts: None)
    long_since = dataclasses.replace(OUT, id=2, taken_s=0.5)  # by a listener of the service, say
    watched = Watched([SAMPLE, OUT, long_since], afterwards)
    result = checking.run_check(["GET /item/1"], running, watched, recorder)  # type: ignore[arg-type]  # as much as is used
    assert result.verdict == verdict
