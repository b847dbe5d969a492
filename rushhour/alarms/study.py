"""Audits all policies over a timeline and advises changes, for `rushhour alarms` and reports (pure)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from rushhour.alarms.advice import Advice, advise
from rushhour.alarms.audit import ATTENTION_S, Audit, audit
from rushhour.alarms.burn_rate import BurnRateAlert
from rushhour.alarms.events import Policy
from rushhour.alarms.real_pages import BesideReal
from rushhour.alarms.timeline import Timeline, healthy, stretched, tiled

EVENING_S = 3 * 3600
INCIDENT = (25.0, 300.0)  # failures, and in how many seconds


@dataclass(frozen=True, slots=True)
class Scale:
    """How a short run stands for an evening; `seconds` None takes it as it was.

    `at` is when it begins (epoch seconds); None: when the run or the export did.
    """

    seconds: int | None = EVENING_S
    failures: float = INCIDENT[0]
    per_s: float = INCIDENT[1]
    stretch: bool = False
    at: float | None = None

    def of(self, timeline: Timeline) -> Timeline:
        """Return the timeline, stretched or tiled."""
        if self.at is not None:
            other = timeline.otherwise
            timeline = replace(
                timeline,
                starts_at=self.at,
                otherwise=None if other is None else replace(other, starts_at=self.at),
                words=(
                    *timeline.words,
                    f"taken to begin at {datetime.fromtimestamp(self.at, UTC):%F %R} UTC",
                ),
            )
        if self.seconds is None:
            return timeline
        if self.stretch:
            return stretched(timeline, self.seconds)
        return tiled(timeline, self.seconds, self.failures, self.per_s)


@dataclass(frozen=True, slots=True)
class Study:
    """What the alarms would have done."""

    timeline: Timeline
    audits: tuple[Audit, ...]
    advice: tuple[Advice, ...]
    attention_s: float
    refused: tuple[Advice, ...] = ()  # changes that would page in a healthy evening
    real: tuple[BesideReal, ...] = ()  # of a run with real alarms

    @property
    def failures(self) -> int:
        return round(self.timeline.total("http_5xx"))

    @property
    def announced(self) -> bool | None:
        """Whether at least one policy leaves no failure unannounced; None where only an unknown one might."""
        if not self.failures or any(not item.sleeps and not item.unknown for item in self.audits):
            return True
        return None if any(item.unknown for item in self.audits) else False

    @property
    def failures_per_minute(self) -> float:
        """While requests failed."""
        span = self.timeline.span()
        return 60 * self.failures / (span[1] - span[0] + 1) if span else 0.0

    @property
    def requests_per_minute(self) -> float:
        return 60 * self.timeline.total("requests") / max(1, self.timeline.seconds)

    def break_even(self) -> list[tuple[BurnRateAlert, float]]:
        """Return per burn-rate alert the requests a minute below which these failures set it off."""
        return [
            (item.policy, item.policy.break_even_per_minute(self.failures_per_minute))
            for item in self.audits
            if isinstance(item.policy, BurnRateAlert) and self.failures
        ]


def study(
    policies: Sequence[Policy], timeline: Timeline, scale: Scale, attention_s: float = ATTENTION_S
) -> Study:
    """Audit every policy over the scaled timeline, and look for changes that close the blind spots."""
    scaled = scale.of(timeline)
    audits = audit(policies, scaled, attention_s)
    advised = advise(audits, scaled, healthy(timeline, scaled), attention_s)
    return Study(scaled, tuple(audits), advised.advice, attention_s, advised.refused)


def as_json(study: Study) -> dict[str, Any]:
    """Return the content of alarms.json: seconds count from the timeline's start."""
    return {
        "timeline": list(study.timeline.words),
        "seconds": study.timeline.seconds,
        "failures": study.failures,
        "attention_s": study.attention_s,
        "policies": [
            {
                "name": each.policy.name,
                "system": each.policy.system,
                "rule": each.policy.rule,
                "notifications": [
                    {"t_s": notification.t_s, "kind": notification.kind.value, "to": list(notification.to)}
                    for notification in each.notifications
                ],
                "in_alarm": [list(span) for span in each.firing],
                "first_page_s": each.first_page_s,
                "silences": [
                    {
                        "start_s": silence.start_s,
                        "end_s": silence.end_s,
                        "failures": silence.failures,
                        "in_alarm_s": silence.in_alarm_s,
                    }
                    for silence in each.silences
                ],
                "unannounced_failures": each.unannounced,
                "longest_silence_s": each.longest_s,
                "false_pages": each.false_pages,
                "unknown": each.unknown or None,
            }
            for each in study.audits
        ],
        "advice": [
            {
                "policy": each.before.policy.name,
                "change": each.change,
                "unannounced_failures": each.after.unannounced,
                "pages": len(each.after.pages),
                "healthy_pages": len(each.healthy.pages),
            }
            for each in study.advice
        ],
        "not_advised": [
            {
                "policy": each.before.policy.name,
                "change": each.change,
                "healthy_pages": len(each.healthy.pages),
                "unknown": each.healthy.unknown or None,
            }
            for each in study.refused
        ],
        "real": [asdict(each) for each in study.real],
    }
