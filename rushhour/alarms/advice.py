"""Finds for each blind spot a change that closes it, and replays it as proof (pure)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from rushhour.alarms.audit import Audit, audit
from rushhour.alarms.burn_rate import BurnRateAlert
from rushhour.alarms.cloudwatch import Actions, CloudWatchAlarm
from rushhour.alarms.composite import CompositeAlarm
from rushhour.alarms.events import Policy
from rushhour.alarms.prometheus import PrometheusPolicy
from rushhour.alarms.routed import RoutedAlert
from rushhour.alarms.timeline import Timeline

POOL_ALARM: Final = "pool-timeouts-again"
PAGING: Final = ("on-call",)  # whom a new alarm notifies if the old alarm notified nobody


@dataclass(frozen=True, slots=True)
class Advice:
    """A change to a policy; `after` is the audit of the changed policy over the same timeline.

    `healthy` is its audit over an evening in which nothing fails: every page there is a false one.
    """

    change: str
    before: Audit
    after: Audit
    healthy: Audit

    @property
    def closes(self) -> bool:
        return not self.after.sleeps


@dataclass(frozen=True, slots=True)
class Advised:
    """The advice, and what was not advised, since it would page in a healthy evening."""

    advice: tuple[Advice, ...]
    refused: tuple[Advice, ...]


def advise(audits: Sequence[Audit], timeline: Timeline, healthy: Timeline, attention_s: float) -> Advised:
    """Find for each silent policy the first change that closes its blind spots, else the most helpful change.

    A change that pages in the healthy evening is not advised, but shown if nothing better is left.
    """
    found: list[Advice] = []
    refused: list[Advice] = []
    for item in audits:
        if not item.sleeps:
            continue
        better: list[Advice] = []
        false: list[Advice] = []
        for words, changed in _changes(item, attention_s):
            [after] = audit([changed], timeline, attention_s)
            if after.unknown or after.unannounced >= item.unannounced:
                continue
            [calm] = audit([changed], healthy, attention_s)
            (false if calm.pages or calm.unknown else better).append(Advice(words, item, after, calm))
            if better and better[-1].closes:
                break
        if better:
            found.append(next((advice for advice in better if advice.closes), _best(better)))
        elif false:
            refused.append(false[0])
    return Advised(tuple(found), tuple(refused))


def _best(tried: Sequence[Advice]) -> Advice:
    return min(tried, key=lambda advice: advice.after.unannounced)


def _changes(audit: Audit, attention_s: float) -> Iterator[tuple[str, Policy]]:
    match audit.policy:
        case CloudWatchAlarm() as alarm:
            yield from _cloudwatch(alarm, attention_s)
        case BurnRateAlert() as alert:
            if audit.pages:
                yield (
                    f"notify again every {attention_s / 60:g} min while it lasts",
                    replace(alert, renotify=attention_s),
                )
            yield _pool_alarm(attention_s)
        case PrometheusPolicy() as rules:
            yield from _prometheus(rules, attention_s)
        case RoutedAlert() as alert:
            yield from _routed(alert, attention_s)
        case CompositeAlarm():
            yield _pool_alarm(attention_s)


def _cloudwatch(alarm: CloudWatchAlarm, attention_s: float) -> Iterator[tuple[str, Policy]]:
    """Yield the smallest change first."""
    notifying, first = alarm, ""
    if not alarm.actions.alarm:
        notifying = replace(alarm, actions=replace(alarm.actions, alarm=PAGING))
        yield "notify somebody: it has no action for ALARM that does", notifying
        first = "notify somebody, since it has no action for ALARM that does, and "
    again = replace(notifying, renotify=attention_s)
    words = (
        f"{first}notify again every {attention_s / 60:g} min while it lasts: CloudWatch acts on transitions"
    )
    yield f"{words} alone (a schedule that reads the alarm's state does)", again
    if alarm.treat_missing_data != "notBreaching":
        words = f"{first}notify again every {attention_s / 60:g} min, and take missing data as notBreaching"
        changed = replace(again, treat_missing_data="notBreaching")
        yield f"{words}: the metric is there only while requests fail", changed
    yield _pool_alarm(attention_s)


def _prometheus(rules: PrometheusPolicy, attention_s: float) -> Iterator[tuple[str, Policy]]:
    """Yield changes; Alertmanager repeats at the first tick *after* `repeat_interval`."""
    tick_s = min(rules.group_interval, attention_s / 3)
    again = replace(rules, group_interval=tick_s, repeat_interval=attention_s - 2 * tick_s)
    words = f"repeat_interval {again.repeat_interval / 60:g} min, group_interval {tick_s / 60:g} min"
    yield f"{words}: it notifies again at the first tick after the former", again
    yield _pool_alarm(attention_s)


def _routed(alert: RoutedAlert, attention_s: float) -> Iterator[tuple[str, Policy]]:
    """Yield the policy on the route of the team, as for a policy of ours."""
    tick_s = min(alert.node.timing.group_interval_s, attention_s / 3)
    again = alert.retimed(tick_s, attention_s - 2 * tick_s)
    words = f"repeat_interval {(attention_s - 2 * tick_s) / 60:g} min, group_interval {tick_s / 60:g} min"
    yield f"on the route to {alert.node.receiver}: {words}", again
    yield _pool_alarm(attention_s)


def _pool_alarm(attention_s: float) -> tuple[str, Policy]:
    return (
        "watch the pool itself: one pool time-out in a minute pages, and again while it lasts",
        CloudWatchAlarm(
            name=POOL_ALARM,
            metric="queuepool_timeouts",
            period=60.0,
            threshold=1.0,
            evaluation_periods=5,
            datapoints_to_alarm=1,
            treat_missing_data="notBreaching",
            renotify=attention_s,
            actions=Actions(alarm=PAGING),
        ),
    )
