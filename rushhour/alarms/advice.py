"""For each blind spot the change that closes it, replayed to show that it does (pure)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from rushhour.alarms.audit import Audit, audit
from rushhour.alarms.burn_rate import BurnRateAlert
from rushhour.alarms.cloudwatch import Actions, CloudWatchAlarm
from rushhour.alarms.events import Policy
from rushhour.alarms.prometheus import PrometheusPolicy
from rushhour.alarms.timeline import Timeline

POOL_ALARM: Final = "pool-timeouts-again"
PAGING: Final = ("on-call",)  # whom a new alarm tells, where the old one told nobody


@dataclass(frozen=True, slots=True)
class Advice:
    """A change to a policy; `after` is the audit of the changed one over the same timeline."""

    change: str
    before: Audit
    after: Audit

    @property
    def closes(self) -> bool:
        return not self.after.sleeps


def advise(audits: Sequence[Audit], timeline: Timeline, attention_s: float) -> list[Advice]:
    """For each policy that sleeps the first change that closes its blind spots, else the most helpful one."""
    found = []
    for one in audits:
        if not one.sleeps:
            continue
        tried = [
            Advice(words, one, audit([changed], timeline, attention_s)[0])
            for words, changed in _changes(one, attention_s)
        ]
        better = [advice for advice in tried if advice.after.unannounced < one.unannounced]
        if better:
            found.append(next((advice for advice in better if advice.closes), _best(better)))
    return found


def _best(tried: Sequence[Advice]) -> Advice:
    return min(tried, key=lambda advice: advice.after.unannounced)


def _changes(one: Audit, attention_s: float) -> Iterator[tuple[str, Policy]]:
    match one.policy:
        case CloudWatchAlarm() as alarm:
            yield from _cloudwatch(alarm, attention_s)
        case BurnRateAlert() as alert:
            if one.pages:
                yield (
                    f"tell again every {attention_s / 60:g} min while it lasts",
                    replace(alert, renotify=attention_s),
                )
            yield _pool_alarm(attention_s)
        case PrometheusPolicy() as rules:
            yield from _prometheus(rules, attention_s)


def _cloudwatch(alarm: CloudWatchAlarm, attention_s: float) -> Iterator[tuple[str, Policy]]:
    """The smallest change first."""
    told = alarm
    if not alarm.actions.alarm:
        told = replace(alarm, actions=replace(alarm.actions, alarm=PAGING))
        yield "tell somebody: it has no action for ALARM", told
    again = replace(told, renotify=attention_s)
    words = f"tell again every {attention_s / 60:g} min while it lasts: CloudWatch acts on transitions alone"
    yield f"{words} (a schedule that reads the alarm's state does)", again
    if alarm.treat_missing_data != "notBreaching":
        words = f"tell again every {attention_s / 60:g} min, and take missing data as notBreaching"
        changed = replace(again, treat_missing_data="notBreaching")
        yield f"{words}: the metric is there only while requests fail", changed
    yield _pool_alarm(attention_s)


def _prometheus(rules: PrometheusPolicy, attention_s: float) -> Iterator[tuple[str, Policy]]:
    """Alertmanager tells again at the first tick *after* `repeat_interval`: attention must last for both."""
    tick_s = min(rules.group_interval, attention_s / 3)
    again = replace(rules, group_interval=tick_s, repeat_interval=attention_s - 2 * tick_s)
    words = f"repeat_interval {again.repeat_interval / 60:g} min, group_interval {tick_s / 60:g} min"
    yield f"{words}: it tells again at the first tick after the former", again
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
