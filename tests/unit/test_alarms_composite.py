"""Composite alarms over hand-written states: rules, and the actions that a suppressor holds back."""

from dataclasses import dataclass

import pytest

from rushhour.alarms.cloudwatch import Actions, State
from rushhour.alarms.composite import CompositeAlarm, Suppressor, parsed_rule
from rushhour.alarms.events import Kind
from rushhour.alarms.timeline import METRICS, Timeline

EVENING = Timeline(dict.fromkeys(METRICS, (0.0,) * 1800), ())
STATES = {"A": State.ALARM, "O": State.OK, "I": State.INSUFFICIENT_DATA}


@dataclass(frozen=True, slots=True)
class Written:
    """An alarm with a state for each minute."""

    name: str
    letters: str
    unknown: str = ""
    settles_s: float = 60.0

    def lacking(self, timeline: Timeline) -> str:
        return self.unknown

    def states(self, timeline: Timeline) -> list[tuple[float, State]]:
        return [(60.0 * (at + 1), STATES[letter]) for at, letter in enumerate(self.letters)]


def composite(rule: str, suppressor: Suppressor | None = None, **letters: str) -> CompositeAlarm:
    return CompositeAlarm(
        name="c",
        alarm_rule=parsed_rule(rule),
        actions=Actions(alarm=("on-call",), ok=("on-call",)),
        alarms={name: Written(name, of) for name, of in letters.items()},
        suppressor=suppressor,
    )


def pages(alarm: CompositeAlarm) -> list[float]:
    return [item.t_s for item in alarm.replay(EVENING).notifications if item.kind is Kind.ALARM]


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ("ALARM(a)", "OAAO"),
        ("NOT ALARM(a) AND OK(b)", "AOOO"),  # NOT binds before AND
        ("OK(a) OR ALARM(a) AND ALARM(b)", "AOAA"),  # AND binds before OR
        ("(OK(a) OR ALARM(a)) AND ALARM(b)", "OOAA"),
        ("INSUFFICIENT_DATA(b)", "OAOO"),
        ("TRUE AND NOT FALSE", "AAAA"),
        ("ALARM(\"a\") AND ALARM('b')", "OOAO"),
    ],
)
def test_rules(rule: str, holds: str) -> None:
    alarm = composite(rule, a="OAAO", b="OIAA")
    assert [state for _, state in alarm.states(EVENING)] == [STATES[letter] for letter in holds]


@pytest.mark.parametrize(
    ("what", "alarm", "suppressor", "waits", "expected"),
    [
        ("no suppression", "OOAAAAAAAA", "OOOOOOOOOO", (0, 0), [180.0]),
        ("waits, and the suppressor stays quiet", "OOAAAAAAAA", "OOOOOOOOOO", (120, 0), [300.0]),
        ("the suppressor comes within the wait", "OOAAAAAAAA", "OOOAAAAAAA", (120, 0), []),
        ("the suppressor comes after the wait", "OOAAAAAAAA", "OOOOOOAAAA", (120, 0), [300.0]),
        ("suppressed from the start, then free", "OOAAAAAAAA", "OOAAAAOOOO", (0, 0), [420.0]),
        ("free only after the extension", "OOAAAAAAAA", "OOAAAAOOOO", (0, 120), [540.0]),
        ("over before the extension ends", "OOAAAAAOOO", "OOAAAAOOOO", (0, 180), []),
        ("over within the wait", "OOAOOOOOOO", "OOOOOOOOOO", (120, 0), []),
        ("suppressed again within the extension", "OOAAAAAAAA", "OOAAAOAAAA", (0, 120), []),
    ],
)
def test_a_suppressor_holds_actions_back(
    what: str, alarm: str, suppressor: str, waits: tuple[int, int], expected: list[float]
) -> None:
    held = composite("ALARM(a)", Suppressor("s", *map(float, waits)), a=alarm, s=suppressor)
    assert pages(held) == expected, what


def test_an_unknown_child_matters_only_where_the_rule_depends_on_it() -> None:
    known = Written("a", "OAAO")
    unknown = Written("b", "", unknown="no data")
    for rule, matters in (
        ("ALARM(a) AND ALARM(b)", True),
        ("ALARM(b) AND FALSE", False),
        ("ALARM(a) OR OK(a) OR ALARM(b)", False),
        ("ALARM(gone)", True),
    ):
        alarm = CompositeAlarm(
            name="c",
            alarm_rule=parsed_rule(rule),
            actions=Actions(),
            alarms={"a": known, "b": unknown},
            unknown={"gone": "no file holds it"},
        )
        why = alarm.replay(EVENING).unknown
        assert bool(why) is matters, rule
    assert "gone: no file holds it" in why
