"""Alertmanager's pipeline: what it is known for, and what always holds."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushhour.alarms.alertmanager import Change, Labels, Route, Sent, notifications
from rushhour.alarms.events import Kind

HOUR_S = 3600.0


def alert(name: str, **labels: str) -> Labels:
    return tuple(sorted({"alertname": name, **labels}.items()))


A, B = alert("A"), alert("B")


def told(sent: list[Sent]) -> list[tuple[float, str]]:
    return [(item.t_s, item.kind.value) for item in sent]


def play(route: Route, *changes: tuple[float, Labels, bool], until_s: float = 24 * HOUR_S) -> list[Sent]:
    return notifications([Change(*change) for change in changes], route, until_s)


def test_the_defaults_repeat_after_four_hours_and_one_tick() -> None:
    sent = play(Route(), (100, A, True), until_s=9 * HOUR_S)
    first = 130.0
    assert told(sent) == [
        (first, "alarm"),
        (first + 4 * HOUR_S + 300, "repeat"),
        (first + 8 * HOUR_S + 600, "repeat"),
    ]


def test_a_repeat_that_no_multiple_of_the_interval_is_comes_at_the_next_tick() -> None:
    sent = play(Route(group_interval_s=60, repeat_interval_s=90), (0, A, True), until_s=400)
    assert told(sent) == [(30, "alarm"), (150, "repeat"), (270, "repeat"), (390, "repeat")]


def test_an_alert_that_ends_within_group_wait_triggers_no_notification() -> None:
    assert play(Route(), (0, A, True), (15, A, False)) == []


def test_flapping_between_two_ticks_triggers_no_notification() -> None:
    assert told(play(Route(), (0, A, True), (60, A, False), (120, A, True), until_s=HOUR_S)) == [
        (30, "alarm")
    ]


def test_a_new_alert_waits_for_the_groups_tick_and_brings_the_others_along() -> None:
    first, second = play(Route(), (0, A, True), (40, B, True), until_s=HOUR_S)
    assert (second.t_s, second.kind, second.firing) == (330.0, Kind.ALARM, frozenset({A, B}))
    assert first.firing == {A}


@pytest.mark.parametrize("send_resolved", [True, False])
def test_a_resolved_notification_comes_at_a_tick_if_it_is_sent(send_resolved: bool) -> None:
    sent = play(Route(send_resolved=send_resolved), (0, A, True), (45, A, False))
    assert told(sent) == ([(30, "alarm"), (330, "resolved")] if send_resolved else [(30, "alarm")])


def test_without_resolved_notifications_an_alert_that_returns_beside_another_is_silent() -> None:
    changes = ((0, A, True), (0, B, True), (60, B, False), (400, B, True))
    assert told(play(Route(send_resolved=False), *changes, until_s=HOUR_S)) == [(30, "alarm")]
    again = play(Route(), *changes, until_s=HOUR_S)
    assert told(again) == [(30, "alarm"), (330, "repeat"), (630, "alarm")]


def test_an_empty_group_is_forgotten_and_then_waits_again() -> None:
    changes = ((0, A, True), (45, A, False), (340, A, True))
    assert told(play(Route(), *changes, until_s=HOUR_S))[-1] == (630, "alarm")  # still the old group's tick
    later = (*changes[:2], (400, A, True))
    assert told(play(Route(), *later, until_s=HOUR_S))[-1] == (430, "alarm")


def test_groups_do_not_wait_for_each_other() -> None:
    first, second = alert("A", pool="x"), alert("A", pool="y")
    split = play(Route(group_by=("pool",)), (0, first, True), (10, second, True), until_s=200)
    assert [(sent.t_s, dict(sent.group)) for sent in split] == [(30, {"pool": "x"}), (40, {"pool": "y"})]
    assert len(play(Route(), (0, first, True), (10, second, True), until_s=200)) == 1


MOVES = st.lists(st.tuples(st.integers(0, 4000), st.sampled_from([A, B, alert("C")])), max_size=30)
ROUTES = st.builds(
    Route,
    group_by=st.sampled_from([(), ("alertname",), ("...",)]),
    group_wait_s=st.integers(5, 120).map(float),
    group_interval_s=st.integers(10, 600).map(float),
    repeat_interval_s=st.integers(10, 3000).map(float),
    send_resolved=st.booleans(),
)


def flips(moves: list[tuple[int, Labels]]) -> list[Change]:
    """Each move turns its alert on or off."""
    on: dict[Labels, bool] = {}
    changes = []
    for t_s, which in sorted(moves):
        on[which] = not on.get(which, False)
        changes.append(Change(float(t_s), which, on[which]))
    return changes


@given(MOVES, ROUTES)
def test_properties_of_notifications_for_any_changes(moves: list[tuple[int, Labels]], route: Route) -> None:
    changes = flips(moves)
    sent = notifications(changes, route, 8000.0)
    by_group: dict[Labels, list[Sent]] = {}
    for item in sent:
        by_group.setdefault(item.group, []).append(item)
    for group in by_group.values():
        assert group[0].kind is Kind.ALARM
        for before, now in pairwise(group):
            # A group that was forgotten in between waits for `group_wait`, which may be the shorter one.
            assert now.t_s - before.t_s >= min(route.group_interval_s, route.group_wait_s)
            # Where no end is told, the log holds it all the same, and a return is news.
            same = now.firing == before.firing and not now.resolved - before.resolved
            if same and route.send_resolved:
                assert now.kind is Kind.REPEAT
                assert now.t_s - before.t_s > route.repeat_interval_s
            if now.kind is Kind.RESOLVED:
                assert before.kind is not Kind.RESOLVED
    for item in sent:
        assert route.send_resolved or not item.resolved
        for each in item.firing:
            heard = [change.firing for change in changes if change.alert == each and change.t_s <= item.t_s]
            assert heard[-1]
    began = [change.t_s for change in changes if change.firing]
    assert not sent or sent[0].t_s >= began[0] + route.group_wait_s


@given(MOVES, ROUTES)
def test_a_lasting_alert_is_notified_repeatedly(moves: list[tuple[int, Labels]], route: Route) -> None:
    """An alert that never ends is told of within a tick of `repeat_interval`, whatever the others do."""
    lasting = alert("lasting")
    everything = [Change(0.0, lasting, firing=True), *flips(moves)]
    times = [
        notification.t_s
        for notification in notifications(everything, route, 8000.0)
        if lasting in notification.firing
    ]
    allowed = route.repeat_interval_s + 2 * route.group_interval_s
    assert times[0] <= route.group_wait_s
    assert all(now - before <= allowed for before, now in pairwise([*times, 8000.0]))


@given(MOVES, ROUTES, st.integers(0, 8000))
def test_later_changes_do_not_affect_earlier_notifications(
    moves: list[tuple[int, Labels]], route: Route, until: int
) -> None:
    changes = flips(moves)
    early = notifications([change for change in changes if change.t_s <= until], route, float(until))
    assert early == [
        notification for notification in notifications(changes, route, 8000.0) if notification.t_s <= until
    ]
