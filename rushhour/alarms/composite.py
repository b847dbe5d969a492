"""CloudWatch composite alarms: rules over the states of other alarms, and suppressed actions (pure).

Sources: AWS, "Creating a composite alarm" and "Suppressing composite alarm actions". A composite alarm is
evaluated whenever one of its alarms is. Children that cannot be replayed are unknown, and so is the composite
wherever its rule depends on them.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from rushhour.alarms.cloudwatch import Actions, State
from rushhour.alarms.events import Firing, Notification, Replay
from rushhour.alarms.timeline import Timeline, spoken

Truth = bool | None  # None: unknown
States = Callable[[str], State | None]

MAX_DEPTH: Final = 50
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<state>ALARM|OK|INSUFFICIENT_DATA)\s*\(\s*(?:\"(?P<a>[^\"]*)\"|'(?P<b>[^']*)'|(?P<c>[^()\s][^()]*?))\s*\)"
    r"|(?P<word>TRUE|FALSE|AND|OR|NOT)(?![A-Za-z_])|(?P<sign>[()]))"
)


class RuleError(Exception):
    """The rule cannot be read; the text says where."""


class Watched(Protocol):
    """An alarm whose states a composite reads."""

    @property
    def name(self) -> str: ...

    @property
    def settles_s(self) -> float: ...

    def lacking(self, timeline: Timeline) -> str: ...

    def states(self, timeline: Timeline) -> list[tuple[float, State]]: ...


@dataclass(frozen=True, slots=True)
class AlarmRule:
    """A parsed rule; `names` are the alarms that it reads."""

    text: str
    names: tuple[str, ...]
    holds: Callable[[States], Truth]


@dataclass(frozen=True, slots=True)
class Suppressor:
    """The alarm that keeps a composite alarm from acting, and how long the composite waits for it."""

    alarm: str
    wait_s: float = 0.0
    extension_s: float = 0.0


_Course = tuple[list[tuple[float, State]] | None, list[tuple[float, bool]]]


@dataclass(frozen=True, slots=True)
class CompositeAlarm:
    """`alarms` are those that its rule and its suppressor name, as far as they can be replayed.

    `unknown` says of each of the others why not.
    """

    name: str
    alarm_rule: AlarmRule
    actions: Actions
    alarms: Mapping[str, Watched] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    suppressor: Suppressor | None = None
    description: str = ""
    system: str = "cloudwatch-composite"
    _answers: list[tuple[Timeline, _Course]] = field(default_factory=list, compare=False, repr=False)

    @property
    def rule(self) -> str:
        if self.suppressor is None:
            return self.alarm_rule.text
        waits = f"wait {spoken(self.suppressor.wait_s)}, extension {spoken(self.suppressor.extension_s)}"
        return f"{self.alarm_rule.text}, suppressed by {self.suppressor.alarm} ({waits})"

    @property
    def settles_s(self) -> float:
        waits = self.suppressor.wait_s + self.suppressor.extension_s if self.suppressor else 0.0
        return waits + max((alarm.settles_s for alarm in self.alarms.values()), default=0.0)

    def lacking(self, timeline: Timeline) -> str:
        """Name its alarms of which the timeline says nothing, where that matters; "" otherwise."""
        if self._states(timeline)[0] is not None:
            return ""
        names = (*self.alarm_rule.names, *((self.suppressor.alarm,) if self.suppressor else ()))
        return "; ".join(
            f"its alarm {name}: {why}" for name in dict.fromkeys(names) if (why := self._why(name, timeline))
        )

    def states(self, timeline: Timeline) -> list[tuple[float, State]]:
        """Return its state whenever one of its alarms is evaluated."""
        return self._states(timeline)[0] or []

    def replay(self, timeline: Timeline) -> Replay:
        """Replay the rule; unknown where an alarm that it depends on cannot be replayed."""
        states, suppressed = self._states(timeline)
        if states is None:
            return Replay((), (), unknown=self.lacking(timeline))
        firing = Firing()
        for t_s, state in states:
            firing.at(t_s, state is State.ALARM)
        notified = _acted(states, suppressed, self.suppressor, self.actions, timeline.seconds)
        return Replay(tuple(notified), firing.ended(timeline.seconds))

    def _why(self, name: str, timeline: Timeline) -> str:
        if name in self.alarms:
            return self.alarms[name].lacking(timeline)
        return self.unknown.get(name, "no file holds it")

    def _states(self, timeline: Timeline) -> _Course:
        """Return its states, None where they are unknown; and when its suppressor is in alarm."""
        for known, answer in self._answers:  # alarms that name it ask again
            if known is timeline:
                return answer
        found = self._evaluated(timeline)
        self._answers[:] = [(timeline, found), *self._answers[:2]]
        return found

    def _evaluated(self, timeline: Timeline) -> _Course:
        known = {
            name: dict(alarm.states(timeline))
            for name, alarm in self.alarms.items()
            if not alarm.lacking(timeline)
        }
        if self.suppressor is not None and self.suppressor.alarm not in known:
            return None, []
        moments = sorted({t_s for states in known.values() for t_s in states} | {min(60.0, timeline.seconds)})
        now: dict[str, State] = dict.fromkeys(known, State.INSUFFICIENT_DATA)
        found, suppressed = [], []
        for t_s in moments:
            for name, states in known.items():
                now[name] = states.get(t_s, now[name])
            truth = self.alarm_rule.holds(now.get)
            if truth is None:
                return None, []
            found.append((t_s, State.ALARM if truth else State.OK))
            if self.suppressor is not None:
                suppressed.append((t_s, now[self.suppressor.alarm] is State.ALARM))
        return found, suppressed


def _acted(
    states: list[tuple[float, State]],
    suppressed: list[tuple[float, bool]],
    suppressor: Suppressor | None,
    actions: Actions,
    until_s: float,
) -> list[Notification]:
    """Return the actions for each change of state, once nothing suppresses them, if the change still stands.

    A change waits for `wait_s` for the suppressor to go into alarm; while that is in alarm, and for
    `extension_s` after it, nothing is done.
    """
    notified: list[Notification] = []
    state = acted = State.INSUFFICIENT_DATA
    in_force = False
    free_s = 0.0  # from when on a change that stands is acted upon
    holds = dict(suppressed)
    for t_s, new in states:
        if not in_force and state is not acted and free_s < t_s:
            notified += actions.on(state, free_s)
            acted = state
        before, in_force = in_force, holds.get(t_s, False)
        if before and not in_force and suppressor is not None:
            free_s = t_s + suppressor.extension_s
        if new is not state:
            state = new
            if suppressor is not None and not in_force and state is not acted:
                free_s = max(free_s, t_s + suppressor.wait_s)
        if not in_force and state is not acted and free_s <= t_s:
            notified += actions.on(state, t_s)
            acted = state
    if not in_force and state is not acted and free_s <= until_s:
        notified += actions.on(state, free_s)
    return notified


def parsed_rule(text: str) -> AlarmRule:
    """Parse a rule, in which NOT binds before AND, and AND before OR. Raises RuleError."""
    parser = _Parser(text)
    return AlarmRule(" ".join(text.split()), tuple(dict.fromkeys(parser.names)), parser.holds)


def name_of(text: str) -> str:
    """Return an alarm's name, of its name or of its ARN."""
    return text.partition(":alarm:")[2] if text.startswith("arn:") and ":alarm:" in text else text


class _Parser:
    def __init__(self, text: str) -> None:
        self._text, self._at, self._depth = text.strip(), 0, 0
        self.names: list[str] = []
        self.holds = self._or()
        if self._at < len(self._text):
            raise RuleError(f"the alarm rule cannot be read at {self._text[self._at :].strip()[:30]!r}")

    def _peek(self) -> re.Match[str] | None:
        return _TOKEN.match(self._text, self._at)

    def _takes(self, word: str) -> bool:
        match = self._peek()
        if match and (match["word"] == word or match["sign"] == word):
            self._at = match.end()
            return True
        return False

    def _or(self) -> Callable[[States], Truth]:
        parts = [self._and()]
        while self._takes("OR"):
            parts.append(self._and())
        return lambda states: _any([part(states) for part in parts])

    def _and(self) -> Callable[[States], Truth]:
        parts = [self._not()]
        while self._takes("AND"):
            parts.append(self._not())
        return lambda states: _not(_any([_not(part(states)) for part in parts]))

    def _not(self) -> Callable[[States], Truth]:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise RuleError("the alarm rule is nested too deeply")
        try:
            if self._takes("NOT"):
                part = self._not()
                return lambda states: _not(part(states))
            return self._atom()
        finally:
            self._depth -= 1

    def _atom(self) -> Callable[[States], Truth]:
        if self._takes("("):
            inner = self._or()
            if not self._takes(")"):
                raise RuleError("the alarm rule lacks a closing parenthesis")
            return inner
        for word, truth in (("TRUE", True), ("FALSE", False)):
            if self._takes(word):
                return lambda _, truth=truth: truth  # type: ignore[misc]
        match = self._peek()
        if match is None or not match["state"]:
            left = self._text[self._at :].strip()
            raise RuleError(
                f"the alarm rule cannot be read at {left[:30]!r}" if left else "it ends too early"
            )
        self._at = match.end()
        state, name = State(match["state"]), name_of(match["a"] or match["b"] or match["c"] or "")
        self.names.append(name)
        return lambda states: None if (found := states(name)) is None else found is state


def _any(parts: list[Truth]) -> Truth:
    if any(parts):
        return True
    return None if None in parts else False


def _not(truth: Truth) -> Truth:
    return None if truth is None else not truth
