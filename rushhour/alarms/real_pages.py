"""Compares the notifications of a real Alertmanager in a run with those that the rules predict (pure).

The prediction evaluates when the real Prometheus did, and sees as much as had been scraped by then. A run's
facts are by the second, so what happens within one of a scrape may be seen an interval earlier or later.
"""

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from rushhour.alarms.alertmanager import Labels, Sent
from rushhour.alarms.events import Kind, Policy
from rushhour.alarms.prom_series import SERIES
from rushhour.alarms.prometheus import PrometheusPolicy, names_of
from rushhour.alarms.promtool import PromtoolError
from rushhour.alarms.real_config import AGENT, ANSWERS, SLACK_S, alerts_of, digest
from rushhour.alarms.sources import of_stretch, pools_of_stretch
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.rundir.losses import NOTIFICATIONS

AS_PREDICTED: Final = "as predicted"
ELSEWHEN: Final = "at another time"
UNPREDICTED: Final = "not predicted"
ABSENT: Final = "never came"
TOO_LATE: Final = "the run ended first"
UNKNOWN: Final = "unknown"  # there is nothing to compare it with

_WORD: Final = re.compile(r"[A-Za-z_:][\w:]*")


@dataclass(frozen=True, slots=True)
class Row:
    """A notification, predicted, real or both; seconds count from the start of the load."""

    kind: Kind
    alerts: str
    group: str  # its labels without the alert's name, in words
    predicted_s: float | None
    real_s: float | None
    state: str

    @property
    def off_s(self) -> float | None:
        """How much later it really came."""
        if self.predicted_s is None or self.real_s is None:
            return None
        return self.real_s - self.predicted_s


@dataclass(frozen=True, slots=True)
class BesideReal:
    """The notifications of a policy; only the real if `unknown` says why they cannot be compared."""

    policy: str
    rows: tuple[Row, ...]
    in_order: bool  # those of each group that came stand in the order that was predicted
    within_s: float  # how much earlier or later one interval explains
    unknown: str = ""

    @property
    def as_predicted(self) -> bool | None:
        """Whether what came is what was predicted; None where that is unknown."""
        if self.unknown:
            return None
        return self.in_order and all(row.state in (AS_PREDICTED, TOO_LATE) for row in self.rows)


def beside_real(policies: Sequence[Policy], history: History) -> tuple[BesideReal, ...]:
    """Compare each Prometheus policy; empty where the run had no real alarms."""
    up = history.event(f.ALERTING_UP)
    if up is None:
        return ()
    ended = history.event(f.ALERTING_ENDED)
    found = []
    for policy in policies:
        if isinstance(policy, PrometheusPolicy):
            why = _lost_pages(history) or _unknown(policy, up.detail, ended)
            found.append(_unknown_policy(policy, why, history) if why else _compared(policy, history))
    return tuple(found)


def _unknown_policy(policy: PrometheusPolicy, why: str, history: History) -> BesideReal:
    zero_s = history.time_of(f.LOAD_STARTED) or 0.0
    rows = tuple(_row(sent, None, t_s - zero_s, UNKNOWN) for t_s, sent in sent_to(history, policy.name))
    return BesideReal(policy.name, rows, in_order=True, within_s=_within_s(policy), unknown=why)


def _lost_pages(history: History) -> str:
    """Return what the file of notifications lacks or has too much of; empty where it is as it was written."""
    return "; ".join(loss.in_words() for loss in history.losses if loss.file == NOTIFICATIONS)


def _unknown(policy: PrometheusPolicy, up: Mapping[str, Any], ended: f.Event | None) -> str:
    """Return why nothing can be said of it, though Prometheus ran; empty where something can."""
    if policy.name not in up["policies"]:
        return "it was not among the policies that ran for real"
    if up["policies"][policy.name] != digest(policy):
        return "its rules or its route are not those that ran for real"
    if ended is None:
        return "the run broke off before its pages could have come"
    return _blind(policy, ended.detail)


def _blind(policy: PrometheusPolicy, detail: Mapping[str, Any]) -> str:
    """Return what Prometheus did not see, could not evaluate, or what got lost on the way."""
    text, alerts = " ".join(policy.texts()), alerts_of(policy)
    broken = [rule for rule in detail["rules"] if rule["alert"] in alerts and rule["health"] != "ok"]
    if broken:
        return (
            f"Prometheus could not evaluate {broken[0]['alert']}: {broken[0]['error'] or broken[0]['health']}"
        )
    if down := [target for target in detail["targets"] if target["health"] != "up"]:
        return f"Prometheus could not scrape {down[0]['target']}: {down[0]['error'] or down[0]['health']}"
    known = {name.partition("{")[0] for name in (*SERIES, *policy.series)}
    asked = known & set(_WORD.findall(text))
    if missing := sorted(asked - set(detail["metrics"])):
        return f"Prometheus never saw {', '.join(missing)}: {_why_missing(missing)}"
    if lost := detail["lost"]:
        name, count = next(iter(lost.items()))
        return f"notifications got lost: {name} is {count:g}"
    return ""


def _why_missing(names: Sequence[str]) -> str:
    if any(name.startswith("http_") for name in names):
        return "answers are counted in logs/access.log, which the service has to write"
    return "neither the agent nor the pager serves it"


def _compared(policy: PrometheusPolicy, history: History) -> BesideReal:
    ended_s = history.time_of(f.ALERTING_ENDED) or 0.0
    zero_s = history.time_of(f.LOAD_STARTED) or 0.0
    up_s, grid = history.time_of(f.ALERTING_UP) or 0.0, _grid(policy, history)
    seconds = max(1, math.floor(ended_s) - grid.start)
    timeline = of_stretch(history, "", grid.start - grid.late[ANSWERS], seconds)
    labels = (history.event(f.ALERTING_UP) or f.Event(0, "")).detail["pools"]
    pools = {
        labels.get(name, name): samples
        for name, samples in pools_of_stretch(history, grid.start - grid.late[AGENT], seconds, up_s).items()
    }
    # As this stack serves it: counters from 0 on, nothing from before the run, the pool's own size.
    real = replace(policy, gaps="zero", healthy_before=policy.scrape_interval, capacity=_capacity(history))
    try:
        sent, _ = real.evaluate(timeline, pools or None)
    except PromtoolError as error:
        return _unknown_policy(policy, str(error), history)
    predicted = [(grid.start + notification.t_s - zero_s, notification) for notification in sent]
    came = [(t_s - zero_s, sent) for t_s, sent in sent_to(history, policy.name) if t_s <= ended_s]
    return matched(policy, predicted, came, ended_s - zero_s)


@dataclass(frozen=True, slots=True)
class _Grid:
    """When the real Prometheus evaluated: at `start` (since the anchor) and whole intervals after it.

    `late` is by target how old its last scrape was then.
    """

    start: int
    late: Mapping[str, int]


def _grid(policy: PrometheusPolicy, history: History) -> _Grid:
    """Return when rules are evaluated and pools scraped: from the last of each, at their intervals."""
    up_s, anchor = history.time_of(f.ALERTING_UP) or 0.0, history.event(f.ANCHOR)
    ended = history.event(f.ALERTING_ENDED)
    detail = ended.detail if ended else {"rules": (), "targets": ()}
    wall_s = float(anchor.detail["wall_s"]) if anchor else 0.0
    alerts = alerts_of(policy)
    evaluated_s = max(
        (rule["evaluated_s"] for rule in detail["rules"] if rule["alert"] in alerts),
        default=wall_s,
    )
    since_s = (up_s - (evaluated_s - wall_s)) % policy.evaluation_interval
    late = dict.fromkeys((AGENT, ANSWERS), 0)
    for target in detail["targets"]:
        late[target["of"]] = round((evaluated_s - target["scraped_s"]) % policy.scrape_interval)
    return _Grid(round(up_s - since_s), late)


def _capacity(history: History) -> int:
    """Return the capacity of the largest pool, over all its processes."""
    by_pool: defaultdict[str, dict[int, int]] = defaultdict(dict)
    for sample in history.pools:
        by_pool[sample.pool][sample.pid] = sample.capacity or 1
    return max((sum(of.values()) for of in by_pool.values()), default=1)


def sent_to(history: History, policy: str) -> list[tuple[float, Sent]]:
    """Return what a policy's receiver got, with the time since the anchor and the model's kinds."""
    anchor = history.event(f.ANCHOR)
    zero_s = float(anchor.detail["monotonic_s"]) if anchor else 0.0
    firing_before: dict[Labels, frozenset[Labels]] = {}
    found = []
    for notification in sorted(history.notifications, key=lambda sent: sent.monotonic_s):
        if notification.policy != policy:
            continue
        group = tuple(sorted(notification.group.items()))
        firing, resolved = _alerts(notification, "firing"), _alerts(notification, "resolved")
        kind = Kind.ALARM
        if not firing:
            kind = Kind.RESOLVED
        elif firing <= firing_before.get(group, frozenset()):
            kind = Kind.REPEAT
        firing_before[group] = firing
        t_s = notification.monotonic_s - zero_s
        found.append((t_s, Sent(t_s, kind, group, firing, resolved)))
    return found


def _alerts(notification: f.Notification, status: str) -> frozenset[Labels]:
    return frozenset(
        tuple(sorted(alert.labels.items())) for alert in notification.alerts if alert.status == status
    )


def _within_s(policy: PrometheusPolicy) -> float:
    return max(policy.scrape_interval, policy.evaluation_interval) + SLACK_S


def matched(
    policy: PrometheusPolicy,
    predicted: Sequence[tuple[float, Sent]],
    real: Sequence[tuple[float, Sent]],
    ended_s: float,
) -> BesideReal:
    """Match the k-th real notification of a group, kind and alerts with the k-th predicted.

    A prediction without a real notification is too late if the run ended within the interval after it.
    """
    within_s = _within_s(policy)
    waiting: defaultdict[tuple[Labels, Kind, str], list[float]] = defaultdict(list)
    for t_s, notification in real:
        waiting[_key(notification)].append(t_s)
    rows = []
    for t_s, expected in predicted:
        key = _key(expected)
        came_s = waiting[key].pop(0) if waiting[key] else None
        if came_s is None:
            state = TOO_LATE if t_s + within_s > ended_s else ABSENT
        else:
            state = AS_PREDICTED if abs(came_s - t_s) <= within_s else ELSEWHEN
        rows.append(_row(expected, t_s, came_s, state))
    for t_s, notification in real:
        if t_s in waiting[_key(notification)]:
            rows.append(_row(notification, None, t_s, UNPREDICTED))
    in_order = all(times == sorted(times) for times in _came(predicted, rows).values())
    return BesideReal(
        policy.name,
        tuple(sorted(rows, key=_time)),
        in_order=in_order,
        within_s=within_s,
    )


def _came(predicted: Sequence[tuple[float, Sent]], rows: Sequence[Row]) -> Mapping[Labels, list[float]]:
    """Return by group when what was predicted really came, in the predicted order, the first rows."""
    came: defaultdict[Labels, list[float]] = defaultdict(list)
    for (_, expected), row in zip(predicted, rows, strict=False):
        if row.real_s is not None:
            came[expected.group].append(row.real_s)
    return came


def _key(notification: Sent) -> tuple[Labels, Kind, str]:
    return notification.group, notification.kind, names_of(notification.firing or notification.resolved)


def _row(notification: Sent, predicted_s: float | None, real_s: float | None, state: str) -> Row:
    group = ", ".join(value for name, value in notification.group if name != "alertname")
    return Row(
        notification.kind,
        names_of(notification.firing or notification.resolved),
        group,
        predicted_s,
        real_s,
        state,
    )


def _time(row: Row) -> float:
    return next(t_s for t_s in (row.real_s, row.predicted_s) if t_s is not None)
