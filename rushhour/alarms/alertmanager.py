"""Alertmanager's notification pipeline in virtual time: which alerts notify whom, and when (pure).

Sources: Alertmanager's dispatch.go (groups and their timers, insertion, flush, clean-up of empty groups) and
notify.go (`DedupStage.needsUpdate`, `RetryStage`). tests/integration/test_alarms_alertmanager.py holds it
against a real one. Inhibition and muted times are in `routing`. Not modelled: silences, receivers that fail,
clusters.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from rushhour.alarms.events import Kind

Labels = tuple[tuple[str, str], ...]  # sorted by name

Through = Callable[[float, frozenset[Labels]], frozenset[Labels]]

CLEAN_UP_S: Final = 30.0  # an empty group is forgotten at the next of these ticks, and then waits anew


@dataclass(frozen=True, slots=True)
class Change:
    """An alert began or ended; `t_s` is when Alertmanager hears of it."""

    t_s: float
    alert: Labels
    firing: bool


@dataclass(frozen=True, slots=True)
class Route:
    """How a route groups alerts and when it notifies its receiver; Alertmanager's own defaults."""

    group_by: tuple[str, ...] = ()
    group_wait_s: float = 30.0
    group_interval_s: float = 300.0
    repeat_interval_s: float = 14_400.0
    send_resolved: bool = True


@dataclass(frozen=True, slots=True)
class Sent:
    """One notification of one group, as its receiver gets it."""

    t_s: float
    kind: Kind
    group: Labels
    firing: frozenset[Labels]
    resolved: frozenset[Labels]


@dataclass(frozen=True, slots=True)
class _Logged:
    """What the notification log holds of a group. It is written, too, where nothing had to be sent."""

    t_s: float
    firing: frozenset[Labels]
    resolved: frozenset[Labels]


def notifications(
    changes: Iterable[Change], route: Route, until_s: float, through: Through | None = None
) -> list[Sent]:
    """Return what the receiver gets up to `until_s`, in order.

    A change at the very moment of a group's tick counts as heard before it. `through` says which of a group's
    alerts are neither inhibited nor muted at a tick.
    """
    groups: dict[Labels, list[Change]] = {}
    for change in sorted(changes, key=lambda change: change.t_s):
        groups.setdefault(_key(change.alert, route), []).append(change)
    sent = [item for key, mine in groups.items() for item in _Group(key, route, through).run(mine, until_s)]
    return sorted(sent, key=lambda notification: notification.t_s)


def _key(alert: Labels, route: Route) -> Labels:
    return tuple((name, value) for name, value in alert if "..." in route.group_by or name in route.group_by)


class _Group:
    """An aggregation group with its timer; its entry in the notification log outlives it."""

    def __init__(self, key: Labels, route: Route, through: Through | None = None) -> None:
        self._key, self._route, self._through = key, route, through
        self._alerts: dict[Labels, bool] = {}
        self._tick_s = math.inf  # no timer: the group does not exist
        self._logged: _Logged | None = None
        self._sent: list[Sent] = []

    def run(self, changes: list[Change], until_s: float) -> list[Sent]:
        at = 0
        now_s = 0.0
        while True:
            change_s = changes[at].t_s if at < len(changes) else math.inf
            clean_s = math.inf
            if self._tick_s < math.inf and not self._alerts:
                clean_s = (math.floor(now_s / CLEAN_UP_S) + 1) * CLEAN_UP_S
            now_s = min(change_s, self._tick_s, clean_s)
            if now_s > until_s or now_s == math.inf:
                return self._sent
            if now_s == change_s:
                self._hear(changes[at])
                at += 1
            elif now_s == self._tick_s:
                self._flush(now_s)
            else:
                self._tick_s = math.inf

    def _hear(self, change: Change) -> None:
        if not change.firing:
            if change.alert in self._alerts:
                self._alerts[change.alert] = False
            return
        self._alerts[change.alert] = True
        if self._tick_s == math.inf:
            self._tick_s = change.t_s + self._route.group_wait_s

    def _flush(self, now_s: float) -> None:
        self._tick_s = now_s + self._route.group_interval_s
        if not self._alerts:
            return
        ended = frozenset(alert for alert, on in self._alerts.items() if not on)
        heard = frozenset(self._alerts)
        if self._through is not None:
            heard = self._through(now_s, heard)
        firing, resolved = heard - ended, heard & ended
        if heard and self._is_due(now_s, firing, resolved):
            if firing or self._route.send_resolved:
                reported = resolved if self._route.send_resolved else frozenset()
                self._sent.append(Sent(now_s, self._kind(firing), self._key, firing, reported))
            self._logged = _Logged(now_s, firing, resolved)
        for alert in ended:
            del self._alerts[alert]

    def _is_due(self, now_s: float, firing: frozenset[Labels], resolved: frozenset[Labels]) -> bool:
        """Return what Alertmanager's `DedupStage.needsUpdate` does."""
        logged = self._logged
        if logged is None:
            return bool(firing)
        if not firing <= logged.firing:
            return True
        if not firing:
            return bool(logged.firing)
        if self._route.send_resolved and not resolved <= logged.resolved:
            return True
        # The log is written after the delivery, so at a tick exactly `repeat_interval` later it has not yet
        # passed: the real period is then one `group_interval` longer.
        return now_s - logged.t_s > self._route.repeat_interval_s + 1e-6

    def _kind(self, firing: frozenset[Labels]) -> Kind:
        if not firing:
            return Kind.RESOLVED
        return Kind.REPEAT if self._logged and firing <= self._logged.firing else Kind.ALARM
