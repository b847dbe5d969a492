"""Sessions, think times and arrivals are found again in logs that a known process wrote."""

import random
from collections.abc import Callable, Iterator

import pytest

from rushhour.errors import UsageError
from rushhour.jobs.traffic.arrivals import ArrivalFold
from rushhour.jobs.traffic.build import Asked, Fold, build
from rushhour.jobs.traffic.model import TrafficModel
from rushhour.jobs.traffic.pauses import Pauses, after
from rushhour.jobs.traffic.record import Logged
from tests.unit.traffic_samples import ROUTES, START, logged, modelled, report_of, shop_visits

WHOLE = START + 20  # a whole minute


def endpoint(model: TrafficModel, name: str):  # type: ignore[no-untyped-def]
    return next(one for one in model.endpoints if one.name == name)


def test_a_long_log_gives_the_process_back() -> None:
    model = modelled(shop_visits(lasts_s=7_200))
    detail = endpoint(model, "GET /orders/:id")
    assert detail.after.end == pytest.approx(0.5, abs=0.02)
    assert detail.median_think_s == pytest.approx(10.0, rel=0.05)
    assert endpoint(model, "POST /login").begin == 1.0
    assert endpoint(model, "POST /login").at_once == {"GET /customers/:id/summary": 1.0}
    assert model.session_requests == pytest.approx(6.0, rel=0.05)
    assert model.session_s is not None
    assert model.arrivals.mean_concurrency == pytest.approx(2.0 * model.session_s, rel=0.06)


def test_a_log_that_ends_in_the_middle_of_sessions_does_not_end_them() -> None:
    """Within 90 s hardly any session has been silent for the gap, and half of them are cut by the end."""
    model = modelled(shop_visits(lasts_s=90, per_s=40), Asked(routes=ROUTES))
    assert endpoint(model, "GET /orders/:id").after.end == pytest.approx(0.5, abs=0.05)
    assert endpoint(model, "GET /customers/:id/summary").after.end < 0.05
    assert endpoint(model, "GET /customers/:id/orders").median_think_s == pytest.approx(10.0, rel=0.05)


def test_a_gap_cuts_sessions() -> None:
    requests = [logged(t, "/cart", f"visitor {at}") for at in range(10) for t in (0.0, 20.0, 4_000.0)]
    assert modelled(requests).arrivals.sessions == 20
    assert modelled(requests, Asked(gap_s=10.0)).arrivals.sessions == 30


def test_what_a_page_asks_for_at_once_is_no_thinking() -> None:
    requests = []
    for at in range(200):
        start, visitor = at * 3.0, f"visitor {at}"
        requests += [
            logged(start, "/page", visitor, seconds=0.4),
            logged(start + 0.1, "/api/cart", visitor, seconds=0.2),
            logged(start + 0.12, "/api/user", visitor, seconds=0.2),
            logged(start + 8.0, "/page", visitor, seconds=0.4),
        ]
    model = modelled(requests)
    page = endpoint(model, "GET /page")
    assert page.parallel
    assert page.at_once == {"GET /api/cart": 1.0}
    assert not page.think
    assert endpoint(model, "GET /api/user").median_think_s == pytest.approx(7.6, rel=0.03)


def test_whole_seconds_say_nothing_of_what_is_parallel() -> None:
    requests = [
        logged(float(t), "/page", f"visitor {at}", seconds=1.0) for at in range(50) for t in (0, 0, 30)
    ]
    requests.append(logged(300.0, "/page", "visitor 50", seconds=1.0))  # so that the others are seen to leave
    model = modelled(requests, resolution_s=1.0)
    assert not endpoint(model, "GET /page").parallel
    assert any("whole seconds" in note.why for note in model.left_out)


def test_the_median_of_whole_seconds_lies_between_them() -> None:
    whole = [one._replace(t=float(int(one.t + 0.1)), seconds=None) for one in shop_visits(think_s=10.4)]
    found = modelled(whole, Asked(routes=ROUTES), 1.0)
    assert endpoint(found, "GET /orders/:id").median_think_s == pytest.approx(10.5, abs=0.3)


def test_the_part_looked_at_knows_sessions_that_began_before_it() -> None:
    requests = list(shop_visits(lasts_s=600, per_s=5))
    model = modelled(requests, Asked(since=START + 300))
    begun = sum(one.path == "/login" and one.t >= START + 300 for one in requests)
    assert model.arrivals.sessions == begun
    assert endpoint(model, "POST /login").begin == 1.0


def test_more_open_sessions_than_fit_are_sampled_and_rates_count_all() -> None:
    requests = list(shop_visits(lasts_s=1_200, per_s=10))
    all_of_them = modelled(requests)
    sampled = modelled(requests, Asked(most_open=200, gap_s=120))
    assert sampled.sampled > 1
    assert sampled.arrivals.sessions == pytest.approx(all_of_them.arrivals.sessions, rel=0.1)
    assert any(note.what == "visitors" for note in sampled.left_out)


def test_a_visitor_alone_gives_no_sessions_and_says_so() -> None:
    model = modelled([logged(float(t), "/cart") for t in range(0, 600, 5)])
    assert not model.walks
    assert model.users is None
    assert any("one visitor" in note.why for note in model.left_out)


def test_a_part_in_which_no_session_begins_gives_none_and_says_so() -> None:
    requests = [logged(t * 10.0 + at, "/cart", f"visitor {at}") for t in range(60) for at in range(9)]
    model = modelled(requests, Asked(since=START + 300))
    assert not model.walks
    assert any("none begins in the part" in note.why for note in model.left_out)


def test_a_log_of_a_second_gives_no_rates_and_says_so() -> None:
    model = modelled([logged(at / 100, "/cart", f"visitor {at}") for at in range(90)])
    assert model.users is None
    assert model.arrivals.peak.sessions_per_minute is None
    assert model.arrivals.mean_concurrency is None
    assert any("they need 30 s" in note.why for note in model.left_out)


def test_a_log_of_failures_alone_says_so() -> None:
    requests = [logged(t * 1.0, "/cart", f"visitor {t % 9}", status=503) for t in range(300)]
    assert any("every answer in the log is a 5xx" in note.why for note in modelled(requests).left_out)


def test_a_log_of_bots_alone_is_refused_with_what_was_found() -> None:
    requests = [logged(t * 1.0, "/cart", agent="bot") for t in range(30)]
    with pytest.raises(UsageError, match="30 requests of bots"):
        modelled(requests)


def test_a_clock_that_jumps_a_century_does_not_fill_the_memory() -> None:
    requests = [logged(t * 1.0, "/cart", f"visitor {t % 9}") for t in range(300)]
    requests.append(logged(100 * 365 * 86_400.0, "/cart", "visitor 1"))
    model = modelled(requests)
    assert model.arrivals.beyond == 1
    assert len(model.arrivals.curve) < 400


@pytest.mark.parametrize("days", [-7300, -800, -200, -2, 2, 200, 800, 9000])
@pytest.mark.parametrize("lines", [1, pytest.param(3, marks=pytest.mark.long)])
@pytest.mark.parametrize("first", [True, False])
def test_a_clock_that_is_wrong_for_some_lines_does_not_hide_the_log(
    days: int, lines: int, *, first: bool
) -> None:
    wrong = [logged(days * 86_400.0 + at, "/cart", f"v{at}") for at in range(lines)]
    visits = sorted(shop_visits(lasts_s=900), key=lambda one: one.t)
    fold = Fold(Asked())
    fold.take([*wrong, *visits] if first else [*visits, *wrong])
    model = build(fold, report_of(visits))
    assert model.arrivals.requests + model.arrivals.beyond == len(visits) + lines
    assert model.arrivals.beyond <= 2 * lines + 1
    assert model.arrivals.first_t == pytest.approx(START, abs=60)
    plain = modelled(visits)
    assert plain.arrivals.mean_sessions_per_minute is not None
    assert model.arrivals.mean_sessions_per_minute == pytest.approx(
        plain.arrivals.mean_sessions_per_minute, rel=0.02
    )
    assert model.arrivals.peak.concurrency == pytest.approx(plain.arrivals.peak.concurrency, rel=0.05)


def test_sessions_are_closed_after_a_clock_that_went_back() -> None:
    requests = [logged(40 * 86_400.0, "/cart", "ahead")]
    requests += [logged(at * 60.0, "/cart", f"visitor {at}") for at in range(500)]
    fold = Fold(Asked())
    fold.take(requests)
    assert fold.sessions.sessions == 501
    fold = Fold(Asked(most_open=100))
    fold.take(requests)
    assert fold.sessions.share == 1  # no more than 30 and some are open at a time


def test_requests_that_come_late_change_little() -> None:
    requests = sorted(shop_visits(lasts_s=1_800), key=lambda one: one.t)
    rng = random.Random(2)  # noqa: S311  # no secret
    jumbled = sorted(requests, key=lambda one: one.t + rng.uniform(0, 1.0))
    assert modelled(jumbled).arrivals.requests == modelled(requests).arrivals.requests


def test_poisson_arrivals_have_a_dispersion_of_a_whole_and_bursts_have_more() -> None:
    rng = random.Random(3)  # noqa: S311  # no secret
    even, bursty = ArrivalFold(), ArrivalFold()
    t = 0.0
    while t < 3_600:
        t += rng.expovariate(20)
        even.request(START + t)
        if rng.random() < 0.1:
            for _ in range(10):
                bursty.request(START + t)
    steady, bursts = even.arrivals(), bursty.arrivals()
    assert steady is not None
    assert bursts is not None
    assert steady.dispersion == pytest.approx(1.0, abs=0.15)
    assert bursts.dispersion is not None
    assert bursts.dispersion > 5


def test_the_level_of_a_long_log_is_the_p99_of_its_minutes() -> None:
    fold = ArrivalFold()
    for minute in range(200):
        for at in range(60 if minute != 100 else 600):
            fold.request(WHOLE + minute * 60 + at % 60)
            fold.session(WHOLE + minute * 60 + at % 60)
    found = fold.arrivals()
    assert found is not None
    assert found.peak.sessions_per_minute == 60
    assert found.peak.level == "p99 of minutes"
    assert found.peak.minute_requests == 600


def test_nothing_to_follow_is_no_end_where_the_log_is_too_short_to_know() -> None:
    at_once, think, unfollowed = Pauses(), Pauses(), Pauses()
    for pause_s in (5.0, 6.0, 7.0, 8.0):
        think.add(pause_s, 10)
    unfollowed.add(1.0, 1_000)
    found = after(at_once, think, unfollowed)
    assert found.end < 0.05
    unfollowed.add(1_800.0, 40)
    assert after(at_once, think, unfollowed).end == pytest.approx(0.5, abs=0.01)


def by_the_clock(period_s: float, visitor: str, path: str, *, jitter_s: float = 0.0) -> Iterator[Logged]:
    """A visitor who asks for the same at equal intervals, from the beginning of the log to its end."""
    rng = random.Random(visitor)  # noqa: S311  # no secret
    t = period_s / 2
    while t < LASTS_S:
        yield logged(t + rng.uniform(0, jitter_s), path, visitor, agent="timer")
        t += period_s


LASTS_S = 2_400.0
CLOCKS: dict[str, Callable[[], Iterator[Logged]]] = {
    "a monitor": lambda: by_the_clock(5, "monitor", "/ready"),
    "a monitor of two paths": lambda: (
        item for path in ("/ready", "/live") for item in by_the_clock(10, "monitor", path)
    ),
    "timers of many clients": lambda: (
        item for n in range(60) for item in by_the_clock(300, f"client {n}", "/sync", jitter_s=0.8)
    ),
}


@pytest.mark.parametrize("name", CLOCKS)
def test_visitors_by_the_clock_do_not_change_the_customers(name: str) -> None:
    customers = list(shop_visits(per_s=0.5, lasts_s=LASTS_S))
    alone = modelled(customers)
    together = modelled([*customers, *CLOCKS[name]()])
    assert together.session_s == pytest.approx(alone.session_s, rel=0.01)
    assert together.users == pytest.approx(alone.users, rel=0.01)
    assert together.arrivals.sessions == alone.arrivals.sessions
    assert [(item.name, item.requests) for item in together.endpoints] == [
        (item.name, item.requests) for item in alone.endpoints
    ]
    note = next(note for note in together.left_out if note.what == "requests by the clock")
    assert note.requests == together.arrivals.requests - alone.arrivals.requests


def test_a_log_of_clocks_alone_is_modelled_as_it_is() -> None:
    found = [item for n in range(30) for item in by_the_clock(10, f"client {n}", "/orders")]
    model = modelled(found)
    assert model.endpoints[0].requests == len(found)
    assert not any(note.what == "requests by the clock" for note in model.left_out)


def test_visitors_who_never_leave_make_the_length_of_sessions_unknown() -> None:
    rng = random.Random(5)  # noqa: S311  # no secret
    crawlers = [
        logged(t, "/crawled", f"crawler {n}")
        for n in range(40)
        for t in sorted(rng.uniform(0, LASTS_S) for _ in range(60))
    ]
    model = modelled([*shop_visits(per_s=0.5, lasts_s=LASTS_S), *crawlers])
    seen = model.arrivals.peak.concurrency
    assert seen is not None
    if model.users is None:
        assert "do not leave" in next(note.why for note in model.left_out if note.what.startswith("sessions"))
    else:
        assert model.users < 3 * seen + 3


def test_a_log_without_addresses_has_no_length_of_sessions() -> None:
    one = [item._replace(visitor=f"agent {at % 3}") for at, item in enumerate(shop_visits(lasts_s=LASTS_S))]
    model = modelled(one)
    assert model.session_s is None
    assert model.users is None
    assert "do not leave" in next(note.why for note in model.left_out if note.what.startswith("sessions"))
