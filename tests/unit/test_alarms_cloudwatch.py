"""CloudWatch's evaluation: AWS's tables of missing data, windows, actions, and what always holds."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushhour.alarms.cloudwatch import Actions, CloudWatchAlarm, State, next_state
from rushhour.alarms.events import PAGES, Kind
from rushhour.alarms.timeline import METRICS, Timeline

TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")
KEEPS = "keeps"

# "Configuring how CloudWatch alarms treat missing data": X breaches, 0 does not, - is missing; newest last.
THREE_OF_THREE = [
    ("0 - X - X", ("OK", "OK", "OK", "OK")),
    ("- - - - 0", ("OK", "OK", "OK", "OK")),
    ("- - - - -", ("INSUFFICIENT_DATA", KEEPS, "ALARM", "OK")),
    ("0 X X - X", ("ALARM", "ALARM", "ALARM", "ALARM")),
    ("- - X - -", ("ALARM", KEEPS, "ALARM", "OK")),
]
TWO_OF_THREE = [
    ("0 - X - X", ("ALARM", "ALARM", "ALARM", "ALARM")),
    ("0 0 X 0 X", ("ALARM", "ALARM", "ALARM", "ALARM")),
    ("0 - X - -", ("OK", "OK", "ALARM", "OK")),
    ("- - - - 0", ("OK", "OK", "ALARM", "OK")),
    ("- - - X -", ("ALARM", KEEPS, "ALARM", "OK")),
]
ROWS = [
    (needed, points, treatment, state)
    for needed, table in ((3, THREE_OF_THREE), (2, TWO_OF_THREE))
    for points, states in table
    for treatment, state in zip(TREATMENTS, states, strict=True)
]


def newest_first(points: str) -> list[bool | None]:
    return [{"X": True, "0": False, "-": None}[point] for point in reversed(points.split())]


@pytest.mark.parametrize(("needed", "points", "treatment", "state"), ROWS)
@pytest.mark.parametrize("before", State)
def test_aws_tables_of_missing_data(
    needed: int, points: str, treatment: str, state: str, before: State
) -> None:
    wanted = before if state == KEEPS else State(state)
    assert next_state(newest_first(points), before, needed, 3, treatment) is wanted


def test_a_first_breaching_point_alone_does_not_go_off_too_early() -> None:
    assert next_state(newest_first("- - - - X"), State.OK, 3, 3, "missing") is State.OK


POINTS = st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=8)


@given(POINTS, st.sampled_from(State), st.integers(1, 5), st.sampled_from(TREATMENTS), st.data())
def test_properties_of_a_replay_for_any_timeline(
    points: list[bool | None], before: State, periods: int, treatment: str, data: st.DataObject
) -> None:
    needed = data.draw(st.integers(1, periods))
    state = next_state(points, before, needed, periods, treatment)
    if not any(points) and treatment != "breaching":
        assert state is not State.ALARM or before is State.ALARM
    if sum(point is True for point in points[:periods]) >= needed and None not in points[:periods]:
        assert state is State.ALARM
    if any(point is not None for point in points):
        assert state is not State.INSUFFICIENT_DATA or before is State.INSUFFICIENT_DATA
    worse = [True if point is False else point for point in points]
    if state is State.ALARM:
        assert next_state(worse, before, needed, periods, treatment) is State.ALARM


def timeline(failures: Mapping[int, float], seconds: int = 3600, **others: Mapping[int, float]) -> Timeline:
    series = dict.fromkeys(METRICS, (0.0,) * seconds)
    series["requests"] = (10.0,) * seconds
    for name, values in {"http_5xx": failures, **others}.items():
        series[name] = tuple(float(values.get(t_s, 0)) for t_s in range(seconds))
    return Timeline(dict(series), ("by hand",))


INFRA = CloudWatchAlarm(
    name="infra-5xx",
    metric="http_5xx",
    period=300.0,
    threshold=2.0,
    gaps="missing",
    actions=Actions(alarm=("on-call",)),
)


def test_an_alarm_notifies_once_and_not_again_while_it_lasts() -> None:
    replay = INFRA.replay(timeline(dict.fromkeys(range(600, 3600, 12), 1)))
    assert [(notification.t_s, notification.kind) for notification in replay.notifications] == [
        (660.0, Kind.ALARM)
    ]
    assert replay.firing == ((660.0, 3600),)


def test_its_window_slides_minute_by_minute() -> None:
    replay = INFRA.replay(timeline({200: 1, 400: 1}))
    assert replay.notifications[0].t_s == 420.0  # 120 to 420 holds both; 0 to 300 and 300 to 600 do not
    aligned = replace(INFRA, windows="wall-clock").replay(timeline({200: 1, 400: 1}))
    assert aligned.notifications == ()


def test_gaps_of_a_load_balancer_keep_it_in_alarm_for_the_whole_range() -> None:
    burst = timeline({60: 5})
    zeros = replace(INFRA, gaps="zero").replay(burst)
    gaps = INFRA.replay(burst)
    assert zeros.firing[0][1] == 420.0  # the burst has left the window
    assert gaps.firing[0][1] > zeros.firing[0][1]  # the only real points in the range still breach


def test_actions_come_on_entry_into_a_state_only() -> None:
    told = replace(
        INFRA,
        treat_missing_data="notBreaching",
        actions=Actions(alarm=("on-call",), ok=("on-call",), insufficient_data=("team",)),
    )
    replay = told.replay(timeline({60: 5, 3000: 5}))
    kinds = [notification.kind for notification in replay.notifications]
    assert kinds.count(Kind.ALARM) == 2
    assert kinds.count(Kind.RESOLVED) == kinds.count(Kind.ALARM) or kinds[-1] is Kind.ALARM
    assert all(item is not two for item, two in pairwise(kinds))


def test_a_schedule_notifies_again() -> None:
    replay = replace(INFRA, renotify=900.0).replay(timeline(dict.fromkeys(range(0, 3600, 12), 1)))
    assert [notification.t_s for notification in replay.notifications] == [60.0, 960.0, 1860.0, 2760.0]


@given(st.dictionaries(st.integers(0, 1799), st.integers(1, 4), max_size=60), st.sampled_from(TREATMENTS))
def test_pages_lie_in_stretches_of_alarm_and_each_stretch_has_its_page(
    failures: dict[int, int], treatment: str
) -> None:
    alarm = CloudWatchAlarm(
        name="a",
        metric="http_5xx",
        period=60.0,
        threshold=2.0,
        evaluation_periods=3,
        datapoints_to_alarm=2,
        treat_missing_data=treatment,  # type: ignore[arg-type]  # one of the four
        gaps="missing",
        actions=Actions(alarm=("on-call",)),
    )
    replay = alarm.replay(timeline(failures, 1800))
    pages = [notification for notification in replay.notifications if notification.kind in PAGES]
    assert len(pages) == len(replay.firing)
    assert [page.t_s for page in pages] == [start for start, _ in replay.firing]
