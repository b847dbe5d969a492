"""Prometheus's rules, alerting and recording ones, as the replay evaluates them (pure)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from rushhour.alarms.alertmanager import Labels
from rushhour.alarms.promql_times import (
    all_look_back_s,
    cannot_be_replayed,
    looks_back_s,
    with_offsets_of_at_most,
)
from rushhour.alarms.promtool import milliseconds
from rushhour.alarms.routing import may_match
from rushhour.alarms.selectors import Selector

LONGEST_INTERVAL_S: Final = 3600.0  # between two evaluations or scrapes
LONGEST_WINDOW_S: Final = 31 * 86_400.0  # that a rule looks back, with a sample for each scrape
ALERTS: Final = ("ALERTS", "ALERTS_FOR_STATE")  # Prometheus makes them of its own alerts


@dataclass(frozen=True, slots=True)
class Rule:
    """An alerting or a recording rule; `every_s` is its group's interval where that is given."""

    alert: str
    record: str
    expression: str
    reads: tuple[Selector, ...]
    wait: str = ""
    keep: str = ""
    labels: Labels = ()
    group: str = ""
    every_s: float | None = None
    place: str = ""
    later: str = ""  # its group's query_offset
    limit: int = (
        0  # its group's: a rule that gives more alerts or series fails, and gives none; 0: any number
    )

    @property
    def fixed(self) -> Labels:
        """The labels that each of its alerts has whatever the series: those without a template."""
        fixed = {name: value for name, value in self.labels if "{{" not in value}
        return tuple(sorted({**fixed, "alertname": self.alert}.items()))

    @property
    def window_s(self) -> float:
        return looks_back_s(self.expression)

    def over(self, seconds: int) -> "Rule":
        """Return the rule as a timeline of so many seconds needs it: with offsets no longer than that."""
        return replace(self, expression=with_offsets_of_at_most(self.expression, seconds))

    @property
    def held_s(self) -> float:
        """How long it waits before it fires, and keeps firing after."""
        return sum(milliseconds(given) for given in (self.wait, self.keep)) / 1000

    @property
    def unreplayed(self) -> str:
        """Why no replay can say what it does; empty where one can."""
        if self.later:
            return f"is evaluated {self.later} later (query_offset), which is not replayed"
        made = [name for name, value in self.labels if "$external" in value or ".ExternalLabels" in value]
        if made:
            return f"its label {made[0]} is made of Prometheus's external labels, which is not replayed"
        return cannot_be_replayed(self.expression)

    def plain(self) -> dict[str, object]:
        """Return it as in a rule file."""
        head = {"alert": self.alert} if self.alert else {"record": self.record}
        waits = {"for": self.wait, "keep_firing_for": self.keep}
        return head | {
            "expr": self.expression,
            **{key: value for key, value in waits.items() if value},
            "labels": dict(self.labels),
        }


def longest_back_s(rules: Sequence[Rule]) -> float:
    """Return how far back rules look together, those that they read and their waits included."""
    parts = [
        (rule.record or rule.alert, rule.expression, [read.name for read in rule.reads]) for rule in rules
    ]
    return all_look_back_s(parts) + max((rule.held_s for rule in rules), default=0.0)


def unknown_rules(rules: Sequence[Rule], unknown: Mapping[Rule, str]) -> dict[Rule, str]:
    """Return those that are unknown, and those that read what an unknown recording rule records."""
    found = dict(unknown)
    while True:
        lost = {rule.record: why for rule, why in found.items() if rule.record}
        more = {
            rule: f"reads {read.name}, a recording rule that {lost[read.name]}"
            for rule in rules
            if rule not in found
            for read in rule.reads
            if read.name in lost
        }
        more |= {
            rule: f"reads {read}, and {other.alert} {why}"
            for rule in rules
            if rule not in found
            for read in rule.reads
            if read.name in ALERTS
            for other, why in found.items()
            if other.alert and all(may_match(item, dict(other.fixed)) for item in read.matchers)
        }
        if not more:
            return found
        found |= more
