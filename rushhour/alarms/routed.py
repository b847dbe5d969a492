"""Alerting rules that take an Alertmanager's routes: one policy for each alert and receiver (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from rushhour.alarms.alertmanager import Change, Labels
from rushhour.alarms.events import Firing, Kind, Notification, Replay
from rushhour.alarms.pipeline import Outcome, Pipeline
from rushhour.alarms.promtool import milliseconds
from rushhour.alarms.routing import Node, may_inhibit, may_take, open_labels
from rushhour.alarms.rules import Rule
from rushhour.alarms.timeline import Timeline, spoken

# Labels that teams give a Prometheus as its external ones, and not its series.
EXTERNAL: Final = frozenset(
    {
        "cluster",
        "region",
        "env",
        "environment",
        "stage",
        "datacenter",
        "dc",
        "az",
        "zone",
        "prometheus",
        "tenant",
    }
)


@dataclass(frozen=True, slots=True)
class RoutedAlert:
    """An alert, by its name and fixed labels, and one receiver that it may reach."""

    name: str
    rules: tuple[Rule, ...]
    pipeline: Pipeline
    node: Node
    system: str = "alertmanager"

    @property
    def rule(self) -> str:
        timing = self.node.timing
        waits = "".join(f" for {rule.wait}" for rule in self.rules[:1] if rule.wait)
        return (
            f"{self.rules[0].expression}{waits} to {self.node.receiver} (wait {spoken(timing.group_wait_s)}, "
            f"interval {spoken(timing.group_interval_s)}, repeat {spoken(timing.repeat_interval_s)})"
        )

    @property
    def settles_s(self) -> float:
        timing = self.node.timing
        held = [milliseconds(rule.keep) / 1000 for rule in self.rules if rule.keep]
        notified = max(timing.group_wait_s, timing.group_interval_s)
        windows = max(rule.window_s for rule in self.rules)
        return windows + max(held, default=0.0) + self.pipeline.every_s + notified

    def replay(self, timeline: Timeline) -> Replay:
        """Replay it; unknown where a rule is, where an unknown alert may inhibit it, or without promtool."""
        outcome = self.pipeline.outcome(timeline)
        if why := self._unknown(outcome, timeline):
            return Replay((), (), unknown=why)
        notified: list[Notification] = []
        seen: frozenset[Labels] = frozenset()
        for item in outcome.delivered:
            if item.node.receiver != self.node.receiver:
                continue
            firing = frozenset(filter(self._is_mine, item.sent.firing))
            if firing:
                kind = Kind.REPEAT if firing <= seen else Kind.ALARM
                seen |= firing
            elif any(map(self._is_mine, item.sent.resolved)):
                kind = Kind.RESOLVED
            else:
                continue
            notified.append(Notification(item.sent.t_s, kind, (item.node.receiver,), self.rules[0].alert))
        return Replay(tuple(notified), self._stretches(outcome.changes, timeline))

    def retimed(self, group_interval_s: float, repeat_interval_s: float) -> "RoutedAlert":
        """Return a copy whose route repeats its notifications more often."""
        timing = replace(
            self.node.timing, group_interval_s=group_interval_s, repeat_interval_s=repeat_interval_s
        )
        configuration = self.pipeline.configuration
        root = configuration.root.retimed(self.node.name, timing)
        return replace(
            self,
            node=replace(self.node, timing=timing),
            pipeline=self.pipeline.routed(replace(configuration, root=root)),
        )

    def _open(self, outcome: Outcome) -> str:
        """Say which label decides the route of its alerts, where nothing says its value."""
        configuration, supposed = self.pipeline.configuration, self.pipeline.supposed
        for alert in {change.alert for change in outcome.changes if self._is_mine(change.alert)}:
            labels = dict(alert)
            set_here = dict(self.rules[0].labels)
            unsaid = {
                name
                for name, value in supposed.items()
                if name not in set_here
                and (labels.get(name) == value or (name not in labels and self._may_be_external(name)))
            }
            fixed = {name: value for name, value in labels.items() if name not in unsaid}
            if asked := sorted(open_labels(configuration.root, fixed, unsaid)):
                return (
                    f"its route depends on the label {asked[0]}, whose value here no file says; say it in "
                    f"{self.pipeline.asked_in}: `labels: {{ {asked[0]}: ... }}`"
                )
        return ""

    def _may_be_external(self, name: str) -> bool:
        """Return whether Prometheus may add the label to every alert, where no prometheus.yml says."""
        return self.pipeline.intervals.external is None and name in EXTERNAL

    def _is_mine(self, alert: Labels) -> bool:
        labels = set(alert)
        return any(set(rule.fixed) <= labels for rule in self.rules)

    def _stretches(self, changes: Sequence[Change], timeline: Timeline) -> tuple[tuple[float, float], ...]:
        firing, now = Firing(), set[Labels]()
        for change in changes:
            if self._is_mine(change.alert):
                (now.add if change.firing else now.discard)(change.alert)
                firing.at(change.t_s, bool(now))
        return firing.ended(timeline.seconds)

    def _unknown(self, outcome: Outcome, timeline: Timeline) -> str:  # noqa: PLR0911 - one for each reason
        for rule in self.rules:
            if rule in outcome.unknown:
                return outcome.unknown[rule]
        if outcome.failed:
            return outcome.failed
        if any(change.t_s <= 0 and self._is_mine(change.alert) for change in outcome.changes):
            return "fires in healthy traffic already, so when it last notified is not known"
        if why := self._open(outcome):
            return why
        own = self.rules[0].fixed
        for rule, why in outcome.unknown.items():
            if rule.alert and any(
                may_inhibit(item, dict(rule.fixed), dict(own))
                for item in self.pipeline.configuration.inhibitions
            ):
                return f"may be inhibited by {rule.alert}, which {why}"
        configuration = self.pipeline.configuration
        if timeline.starts_at is None and any(
            configuration.timed(node) for node in may_take(configuration.root, dict(own))
        ):
            return "its route depends on the time of day, and the timeline has none; give --at TIME"
        return ""
