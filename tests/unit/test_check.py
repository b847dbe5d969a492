"""`rushhour check`, without a service: what is a request, which routes were missed, and what it concludes."""

from pathlib import Path

import pytest

from rushhour.jobs.check.result import Answer, CheckResult, Request, parse_request, unrequested
from rushhour.rundir.facts import CallSite, CheckOut

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
