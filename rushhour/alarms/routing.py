"""An Alertmanager's configuration over alerts: its routes, inhibitions, and times of silence (pure).

Sources: Alertmanager's dispatch/route.go (`Route.Match`, what a route inherits), inhibit.go (`Mutes`), and
notify.go (the order of its stages: inhibited and muted alerts never reach the notification log).
tests/integration/test_alarms_routes.py holds it against a real one. Silences are not modelled.
"""

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

from rushhour.alarms.alertmanager import Change, Labels, Route, Sent, notifications
from rushhour.alarms.time_intervals import TimeInterval


@dataclass(frozen=True, slots=True)
class Matcher:
    """`name op value`; a label that is not there is empty, and a regular expression matches as a whole."""

    name: str
    op: Literal["=", "!=", "=~", "!~"]
    value: str

    def matches(self, labels: Mapping[str, str]) -> bool:
        text = labels.get(self.name, "")
        hit = bool(_compiled(self.value).fullmatch(text)) if "~" in self.op else text == self.value
        return hit is (self.op[0] == "=")


@lru_cache(maxsize=1024)
def _compiled(text: str) -> re.Pattern[str]:
    return re.compile(text, re.DOTALL)


@dataclass(frozen=True, slots=True)
class Node:
    """One route with what it inherited; `matchers` are its own."""

    name: str  # its place in the tree: 0.1 is the second child of the first
    receiver: str
    timing: Route
    matchers: tuple[Matcher, ...] = ()
    goes_on: bool = False  # `continue`
    muted: tuple[str, ...] = ()
    active: tuple[str, ...] = ()
    routes: tuple["Node", ...] = ()

    def matched(self, labels: Mapping[str, str]) -> list["Node"]:
        """Return the routes that an alert takes: the deepest ones, from left to right."""
        if not all(item.matches(labels) for item in self.matchers):
            return []
        found: list[Node] = []
        for child in self.routes:
            below = child.matched(labels)
            found += below
            if below and not child.goes_on:
                break
        return found or [self]

    def all(self) -> Iterator["Node"]:
        """Yield this node and all below it."""
        yield self
        for child in self.routes:
            yield from child.all()

    def retimed(self, name: str, timing: Route) -> "Node":
        """Return the same tree, in which the route of this name has another timing."""
        routes = tuple(child.retimed(name, timing) for child in self.routes)
        return replace(self, timing=timing if self.name == name else self.timing, routes=routes)


@dataclass(frozen=True, slots=True)
class Inhibition:
    """Alerts of `target` stay silent while an alert of `source` fires with the same `equal` labels."""

    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...] = ()

    def mutes(self, alert: Mapping[str, str], firing: Iterable[Mapping[str, str]]) -> bool:
        if not all(item.matches(alert) for item in self.target):
            return False
        both = all(item.matches(alert) for item in self.source)
        for source in firing:
            if not all(item.matches(source) for item in self.source):
                continue
            if any(source.get(name, "") != alert.get(name, "") for name in self.equal):
                continue
            if both and all(item.matches(source) for item in self.target):
                continue
            return True
        return False


@dataclass(frozen=True, slots=True)
class Configuration:
    """A whole configuration; `receivers` says by name whether each notifies anybody, and of ends."""

    root: Node
    inhibitions: tuple[Inhibition, ...] = ()
    intervals: Mapping[str, tuple[TimeInterval, ...]] = field(default_factory=dict)
    receivers: Mapping[str, bool] = field(default_factory=dict)
    place: str = ""

    def asked_labels(self) -> set[str]:
        """Return the labels that decide which routes an alert takes, and what inhibits it."""
        matchers = [item for node in self.root.all() for item in node.matchers]
        matchers += [item for rule in self.inhibitions for item in (*rule.source, *rule.target)]
        return {item.name for item in matchers}

    def timed(self, node: Node) -> bool:
        """Return whether the time of day decides if a route notifies anybody."""
        return bool(node.muted or node.active)

    def silent(self, node: Node, epoch_s: float) -> bool:
        """Return whether a route is silent at a moment."""
        if node.active and not self._within(node.active, epoch_s):
            return True
        return bool(node.muted) and self._within(node.muted, epoch_s)

    def _within(self, names: Sequence[str], epoch_s: float) -> bool:
        return any(item.holds(epoch_s) for name in names for item in self.intervals.get(name, ()))


DEFAULT = Configuration(Node("default", "the default route", Route()), receivers={"the default route": True})
GRAFANA = Configuration(
    Node("default", "the default contact point", Route(("grafana_folder", "alertname"))),
    receivers={"the default contact point": True},
)


@dataclass(frozen=True, slots=True)
class Delivered:
    """A notification, and the route and the receiver that it took."""

    node: Node
    sent: Sent


def deliveries(
    changes: Sequence[Change], configuration: Configuration, until_s: float, starts_at: float | None
) -> list[Delivered]:
    """Return what each receiver gets up to `until_s`, in order. `starts_at` is the epoch of second 0."""
    heard = sorted(changes, key=lambda item: item.t_s)
    firing = _Firing(heard)

    def through(node: Node, t_s: float, alerts: frozenset[Labels]) -> frozenset[Labels]:
        if starts_at is not None and configuration.silent(node, starts_at + t_s):
            return frozenset()
        if not configuration.inhibitions:
            return alerts
        sources = [dict(item) for item in firing.at(t_s)]
        return frozenset(
            item
            for item in alerts
            if not any(rule.mutes(dict(item), sources) for rule in configuration.inhibitions)
        )

    taken: dict[str, tuple[Node, list[Change]]] = {}
    for change in heard:
        for node in configuration.root.matched(dict(change.alert)):
            taken.setdefault(node.name, (node, []))[1].append(change)
    found = [
        Delivered(node, sent)
        for node, own in taken.values()
        for sent in notifications(
            own,
            node.timing,
            until_s,
            lambda t_s, alerts, node=node: through(node, t_s, alerts),  # type: ignore[misc]
        )
        if configuration.receivers.get(node.receiver, False)
    ]
    return sorted(found, key=lambda item: item.sent.t_s)


def may_inhibit(rule: Inhibition, source: Mapping[str, str], target: Mapping[str, str]) -> bool:
    """Whether alerts with these fixed labels may inhibit each other; other labels may have any value."""
    if not all(may_match(item, source) for item in rule.source):
        return False
    if not all(may_match(item, target) for item in rule.target):
        return False
    return all(
        source.get(name, target.get(name)) == target.get(name, source.get(name)) for name in rule.equal
    )


def may_match(matcher: Matcher, fixed: Mapping[str, str]) -> bool:
    """Return whether an alert with these fixed labels may match."""
    return matcher.name not in fixed or matcher.matches(fixed)


def may_take(root: Node, fixed: Mapping[str, str]) -> list[Node]:
    """Return the routes that an alert with these fixed labels may take."""
    if not all(may_match(item, fixed) for item in root.matchers):
        return []
    found: list[Node] = []
    for child in root.routes:
        found += may_take(child, fixed)
        sure = all(item.name in fixed and item.matches(fixed) for item in child.matchers)
        if sure and not child.goes_on:
            return found
    return [*found, root] if not any(_sure(child, fixed) for child in root.routes) else found


def open_labels(root: Node, fixed: Mapping[str, str], supposed: Collection[str]) -> set[str]:
    """Return which of the supposed labels decide where an alert goes; `fixed` are its others."""
    found: set[str] = set()
    for child in root.routes:
        known = [item for item in child.matchers if item.name not in supposed]
        if not all(item.matches(fixed) for item in known):
            continue
        found |= {item.name for item in child.matchers if item.name in supposed}
        found |= open_labels(child, fixed, supposed)
        if len(known) == len(child.matchers) and not child.goes_on:
            break
    return found


def _sure(node: Node, fixed: Mapping[str, str]) -> bool:
    return all(item.name in fixed and item.matches(fixed) for item in node.matchers)


class _Firing:
    """Which alerts fire at a moment; a change at that very moment counts as heard."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self._moments: list[float] = []
        self._sets: list[frozenset[Labels]] = []
        now: frozenset[Labels] = frozenset()
        for change in changes:
            now = now | {change.alert} if change.firing else now - {change.alert}
            if self._moments and self._moments[-1] == change.t_s:
                self._sets[-1] = now
            else:
                self._moments.append(change.t_s)
                self._sets.append(now)

    def at(self, t_s: float) -> frozenset[Labels]:
        at = bisect_right(self._moments, t_s)
        return self._sets[at - 1] if at else frozenset()
