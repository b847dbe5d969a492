"""Prometheus's rules, alerting and recording ones, as the replay evaluates them (pure)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rushhour.alarms.alertmanager import Labels
from rushhour.alarms.promtool import milliseconds
from rushhour.alarms.routing import may_match
from rushhour.alarms.selectors import Selector

LONGEST_INTERVAL_S: Final = 3600.0  # between two evaluations or scrapes
LONGEST_WINDOW_S: Final = 31 * 86_400.0  # that a rule looks back, with a sample for each scrape
ALERTS: Final = ("ALERTS", "ALERTS_FOR_STATE")  # Prometheus makes them of its own alerts
_WINDOW: Final = re.compile(r"\[\s*((?:[0-9]{1,12}(?:ms|[ywdhms])){1,7})")


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

    @property
    def fixed(self) -> Labels:
        """The labels that each of its alerts has whatever the series: those without a template."""
        fixed = {name: value for name, value in self.labels if "{{" not in value}
        return tuple(sorted({**fixed, "alertname": self.alert}.items()))

    @property
    def window_s(self) -> float:
        windows = [milliseconds(item) / 1000 for item in _WINDOW.findall(self.expression)]
        return max(windows, default=0.0)

    def plain(self) -> dict[str, object]:
        """Return it as in a rule file."""
        head = {"alert": self.alert} if self.alert else {"record": self.record}
        waits = {"for": self.wait, "keep_firing_for": self.keep}
        return head | {
            "expr": self.expression,
            **{key: value for key, value in waits.items() if value},
            "labels": dict(self.labels),
        }


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
