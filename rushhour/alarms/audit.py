"""Replays a policy over a timeline: pages, silences, and failures without a page (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from rushhour.alarms.events import PAGES, Notification, Policy
from rushhour.alarms.timeline import Timeline, sums

ATTENTION_S: Final = 900.0  # a page is taken to be remembered for this long


@dataclass(frozen=True, slots=True)
class Silence:
    """A stretch within the failures in which nobody was paged for longer than attention lasts."""

    start_s: float
    end_s: float
    failures: int
    in_alarm_s: float  # how much of it the policy was in alarm, and silent

    @property
    def seconds(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class Audit:
    """What a policy would have done. `first_page_s` counts from the first failure; None: never.

    If `unknown` says why it could not be replayed, the rest is empty and means nothing.
    """

    policy: Policy
    notifications: tuple[Notification, ...]
    pages: tuple[Notification, ...]
    firing: tuple[tuple[float, float], ...]
    silences: tuple[Silence, ...]
    failures: int
    first_page_s: float | None
    false_pages: int
    unknown: str = ""

    @property
    def unannounced(self) -> int:
        """Failures within silences."""
        return sum(silence.failures for silence in self.silences)

    @property
    def longest_s(self) -> float:
        """The longest silence."""
        return max((silence.seconds for silence in self.silences), default=0.0)

    @property
    def sleeps(self) -> bool:
        """Whether it leaves failures unannounced."""
        return bool(self.silences)


def audit(policies: Sequence[Policy], timeline: Timeline, attention_s: float = ATTENTION_S) -> list[Audit]:
    """Audit each policy in turn."""
    return [_sure(policy, timeline, attention_s) for policy in policies]


def _sure(policy: Policy, timeline: Timeline, attention_s: float) -> Audit:
    """Make an audit unknown if coarse figures leave open whether the policy would have paged."""
    audit = _audited(policy, timeline, attention_s)
    if timeline.otherwise is None or audit.unknown:
        return audit
    other = _audited(policy, timeline.otherwise, attention_s)
    if (bool(audit.pages), audit.sleeps) == (bool(other.pages), other.sleeps):
        return audit
    words = (
        f"{timeline.coarse}: with its failures spread evenly it pages {len(audit.pages)} times, with all at "
        f"its end {len(other.pages)} times; export with a shorter period"
    )
    return _unknown(policy, timeline, words)


def _unknown(policy: Policy, timeline: Timeline, why: str) -> Audit:
    return Audit(policy, (), (), (), (), round(timeline.total("http_5xx")), None, 0, why)


def _audited(policy: Policy, timeline: Timeline, attention_s: float) -> Audit:
    replay = policy.replay(timeline)
    if replay.unknown:
        return _unknown(policy, timeline, replay.unknown)
    pages = tuple(notification for notification in replay.notifications if notification.kind in PAGES)
    span = timeline.span()
    failed = sums(timeline.failures)
    silences: list[Silence] = []
    first_page_s = None
    if span is not None:
        start, end = span[0], span[1] + 1
        within = [page.t_s for page in pages if start <= page.t_s <= end]
        after = [page.t_s for page in pages if page.t_s >= start]
        first_page_s = after[0] - start if after else None
        marks = [float(start), *within, float(end)]
        for before, now in pairwise(marks):
            if now - before > attention_s:
                silences.append(_silence(failed, replay.firing, before, now))
        if not pages and not silences:  # short, and still without a page
            silences.append(_silence(failed, replay.firing, start, end))
    silences = [silence for silence in silences if silence.failures]
    if replay.partly and (silences or not failed[-1]):
        return _unknown(policy, timeline, replay.partly)
    return Audit(
        policy=policy,
        notifications=replay.notifications,
        pages=pages,
        firing=replay.firing,
        silences=tuple(silences),
        failures=round(failed[-1]),
        first_page_s=first_page_s,
        false_pages=sum(_is_false(page, failed, policy.settles_s, timeline) for page in pages),
    )


def _silence(
    failed: list[float], firing: Sequence[tuple[float, float]], start_s: float, end_s: float
) -> Silence:
    alarmed = sum(max(0.0, min(end, end_s) - max(start, start_s)) for start, end in firing)
    return Silence(start_s, end_s, round(failed[round(end_s)] - failed[round(start_s)]), alarmed)


def _is_false(page: Notification, failed: list[float], settles_s: float, timeline: Timeline) -> bool:
    """Return whether a page is false: no failure and no pool time-out in the time that it may be about."""
    end = min(timeline.seconds, round(page.t_s))
    start = max(0, round(page.t_s - settles_s))
    timeouts = sum(value or 0 for value in timeline.series["queuepool_timeouts"][start:end])
    waiters = any(value for value in timeline.series["pool_waiters"][start:end])
    return not (failed[end] - failed[start] or timeouts or waiters)
