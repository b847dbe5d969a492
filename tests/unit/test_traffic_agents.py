"""Agents are bots only where a crawler or probe is known by that name."""

import crawleruseragents
import pytest

from rushhour.jobs.traffic.agents import Agents
from rushhour.jobs.traffic.options import SessionKey
from rushhour.jobs.traffic.visitors import Visitors


@pytest.mark.parametrize(
    "agent",
    [
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36",
        "curl/8.5.0",
        "python-requests/2.32.3",
        "python-geventhttpclient/2.3.1",
        "okhttp/4.12.0",
        "Go-http-client/2.0",
        "Amazon CloudFront",  # what stands before a service is not who asks
        "Googl",
    ],
)
def test_browsers_and_libraries_are_clients(agent: str) -> None:
    assert Agents().kind(agent) == "client"


@pytest.mark.parametrize(
    "agent",
    ["kube-probe/1.28", "ELB-HealthChecker/2.0", "Prometheus/2.48.0", "Scrapy/2.11 (+https://scrapy.org)"],
)
def test_probes_and_crawling_libraries_are_bots(agent: str) -> None:
    assert Agents().kind(agent) == "bot"


def test_every_agent_that_the_list_gives_as_an_example_is_a_bot() -> None:
    agents = Agents()
    missed = [
        example
        for entry in crawleruseragents.CRAWLER_USER_AGENTS_DATA
        if set(entry.get("tags", ())) != {"http-library"}
        for example in entry["instances"]
        if agents.kind(example) != "bot"
    ]
    assert missed == []


@pytest.mark.parametrize("agent", ["-", "", None])
def test_missing_agent_is_unknown(agent: str | None) -> None:
    assert Agents().kind(agent) == "unknown"


def test_visitor_is_known_by_what_was_asked_for_else_by_address_and_agent() -> None:
    visitors = Visitors(SessionKey("header", "X-User"), b"salt")
    by_key = visitors.visitor("192.0.2.7", None, "a", "u1")
    assert visitors.visitor("192.0.2.8", "someone", "b", "u1") == by_key
    without = visitors.visitor("192.0.2.7", "someone", "a", "-")
    assert without == visitors.visitor("192.0.2.7", None, "a", None)
    assert without != visitors.visitor("192.0.2.7", None, "b", None)
    assert visitors.words() == "header X-User; 3 of 5 requests without it by address and agent"


def test_missing_session_key_is_said() -> None:
    visitors = Visitors(SessionKey("cookie", "sid"), b"salt")
    visitors.visitor("192.0.2.7", None, "a", None)
    assert visitors.words() == "address and agent (no request has a cookie sid)"


def test_address_alone_ignores_agents_and_users() -> None:
    visitors = Visitors(SessionKey("address"), b"salt")
    assert visitors.visitor("192.0.2.7", "a", "a", None) == visitors.visitor("192.0.2.7", "b", "b", None)
    assert visitors.words() == "address"


def test_user_tells_visitors_behind_one_address_apart() -> None:
    visitors = Visitors(SessionKey("user"), b"salt")
    assert visitors.visitor("192.0.2.7", "a", "x", None) != visitors.visitor("192.0.2.7", "b", "x", None)
    assert visitors.words() == "user"
