"""Prometheus's rules and Alertmanager's route as one policy: promtool evaluates, the pipeline notifies."""

import math
import re
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from rushhour.alarms import promtool
from rushhour.alarms.alertmanager import Change, Labels, Route, Sent, notifications
from rushhour.alarms.events import Firing, Notification, Replay
from rushhour.alarms.formats.prometheus_rules import rules_of
from rushhour.alarms.prom_series import NEEDS, SERIES, Source, input_series
from rushhour.alarms.rules import ALERTS
from rushhour.alarms.selectors import Selector, selectors
from rushhour.alarms.timeline import Timeline, spoken
from rushhour.scenario.durations import PositiveSeconds
from rushhour.scenario.model import STRICT

_WINDOW: Final = re.compile(r"\[\s*((?:[0-9]{1,12}(?:ms|[ywdhms])){1,7})")
_KEPT: Final = re.compile(r"keep_firing_for:\s*[\"']?((?:\d+(?:ms|[ywdhms]))+)")


@dataclass(frozen=True, slots=True, config=STRICT)
class PrometheusPolicy:
    """Rule files, and the route that their alerts take; keys and defaults are the originals'.

    `match` keeps the alerts with these labels, as a route's matchers do. `healthy_before` of healthy traffic
    comes before the timeline, since a long window would otherwise go off too early. `capacity` is what
    `pool_in_use`, a share, is multiplied with. `series` gives other names to what the timeline holds.
    `gaps: missing` is a counter that is not there before its first event. promtool evaluates every group
    at `evaluation_interval`, whatever its own `interval`.
    """

    name: str
    rules: Annotated[tuple[str, ...], Field(min_length=1)]
    evaluation_interval: PositiveSeconds = 15.0
    scrape_interval: PositiveSeconds = 15.0
    healthy_before: PositiveSeconds = 86_400.0
    match: dict[str, str] = field(default_factory=dict)
    group_by: tuple[str, ...] = ()
    group_wait: PositiveSeconds = 30.0
    group_interval: PositiveSeconds = 300.0
    repeat_interval: PositiveSeconds = 14_400.0
    send_resolved: bool = True
    notify: tuple[str, ...] = ()
    capacity: Annotated[int, Field(ge=1)] = 30
    gaps: Literal["zero", "missing"] = "zero"
    series: dict[str, Source] = field(default_factory=dict)
    description: str = ""
    system: Literal["prometheus"] = "prometheus"

    @property
    def route(self) -> Route:
        return Route(
            self.group_by, self.group_wait, self.group_interval, self.repeat_interval, self.send_resolved
        )

    @property
    def rule(self) -> str:
        files = ", ".join(Path(rule).name for rule in self.rules)
        only = "".join(f" {name}={value}" for name, value in self.match.items())
        waits = f"grouped for {spoken(self.group_wait)}, then looked at every {spoken(self.group_interval)}"
        again = f"notified again after {spoken(self.repeat_interval)}"
        return f"{files}{only} every {spoken(self.evaluation_interval)}; {waits}, {again}"

    @property
    def settles_s(self) -> float:
        """The longest window in the rules' text, and what Alertmanager may add to it."""
        texts = self.texts()
        windows = [promtool.milliseconds(item) / 1000 for text in texts for item in _WINDOW.findall(text)]
        kept = [promtool.milliseconds(item) / 1000 for text in texts for item in _KEPT.findall(text)]
        repeated_s = max(
            self.group_wait, self.group_interval
        )  # what is notified then fires, or has ended since the last
        return max(windows, default=0.0) + max(kept, default=0.0) + self.evaluation_interval + repeated_s

    def texts(self) -> tuple[str, ...]:
        """Return the rule files."""
        return tuple(Path(rule).read_text(encoding="utf-8") for rule in self.rules)

    def below(self, folder: Path) -> "PrometheusPolicy":
        """Return the policy with its rule files' places taken from a folder."""
        return replace(self, rules=tuple(str((folder / rule).resolve()) for rule in self.rules))

    def replay(self, timeline: Timeline) -> Replay:
        """Replay the rules; unknown, with the reason, where promtool is missing or cannot evaluate them."""
        try:
            sent, firing = self.evaluate(timeline)
        except promtool.PromtoolError as error:
            return Replay((), (), unknown=str(error))
        notifications = [
            Notification(
                notification.t_s,
                notification.kind,
                self.notify,
                names_of(notification.firing or notification.resolved),
            )
            for notification in sent
        ]
        return Replay(tuple(notifications), firing, partly=self.unread(timeline))

    def unread(self, timeline: Timeline) -> str:
        """Name alerts that read what no series here holds, or what the timeline lacks; "" where none does."""
        found: dict[str, None] = {}
        rules = [rule for name in self.rules for rule in rules_of(Path(name))]
        recorded = {rule.record for rule in rules} | set(ALERTS)
        for rule in rules:
            fixed = dict(rule.fixed)
            if rule.alert and any(fixed.get(name, value) != value for name, value in self.match.items()):
                continue
            if why := rule.unreplayed:
                found[f"rule {rule.alert or rule.record}: {why}"] = None
            if rule.window_s > self.healthy_before:
                far, before = spoken(rule.window_s), spoken(self.healthy_before)
                why = f"looks back {far}, and healthy_before is {before}: set it longer"
                found[f"rule {rule.alert or rule.record}: {why}"] = None
            for read in rule.reads:
                if read.name not in recorded and (why := self._unread(read, timeline)):
                    found[f"rule {rule.alert or rule.record}: {why}"] = None
        return "; ".join(found)

    def _unread(self, read: Selector, timeline: Timeline) -> str:
        sources = [
            source
            for text, source in (*SERIES.items(), *self.series.items())
            for selector in selectors(text)
            if selector.name == read.name
            and read.matches({each.name: each.value for each in selector.matchers})
        ]
        if not sources:
            return f"reads {read}, which nothing here stands for; map it in `series:`"
        missing = sorted({item for source in sources for item in NEEDS[source] if timeline.lacks(item)})
        return f"the timeline holds no {', no '.join(missing)}" if missing else ""

    def evaluate(
        self, timeline: Timeline, pools: Mapping[str, Timeline] | None = None
    ) -> tuple[list[Sent], tuple[tuple[float, float], ...]]:
        """Return what Alertmanager sends, and the stretches in alarm. Raises PromtoolError."""
        evaluated = promtool.firing(self.question(timeline, pools))
        before_ms, step_ms = self._before_ms, self._evaluation_ms
        moments = {at_ms: self._matching(alerts) for at_ms, alerts in evaluated}
        changes: list[Change] = []
        firing, before = Firing(), frozenset[Labels]()
        for at_ms in range(before_ms, before_ms + timeline.seconds * 1000 + 1, step_ms):
            now, t_s = moments.get(at_ms, frozenset()), (at_ms - before_ms) / 1000
            changes += [Change(t_s, alert, firing=True) for alert in sorted(now - before)]
            changes += [Change(t_s, alert, firing=False) for alert in sorted(before - now)]
            firing.at(t_s, bool(now))
            before = now
        return notifications(changes, self.route, timeline.seconds), firing.ended(timeline.seconds)

    def question(self, timeline: Timeline, pools: Mapping[str, Timeline] | None = None) -> promtool.Question:
        """Return the timeline as promtool's input, after healthy traffic."""
        return promtool.Question(
            rules=self.texts(),
            series=input_series(
                timeline,
                self.series,
                scrape_s=self.scrape_interval,
                healthy=self._before_ms // self._scrape_ms,
                capacity=self.capacity,
                gaps=self.gaps,
                pools=pools,
            ),
            scrape_ms=self._scrape_ms,
            evaluation_ms=self._evaluation_ms,
            from_ms=self._before_ms,
            to_ms=self._before_ms + timeline.seconds * 1000,
        )

    def _matching(self, alerts: frozenset[Labels]) -> frozenset[Labels]:
        return frozenset(alert for alert in alerts if self.match.items() <= dict(alert).items())

    @property
    def _evaluation_ms(self) -> int:
        return round(self.evaluation_interval * 1000)

    @property
    def _scrape_ms(self) -> int:
        return round(self.scrape_interval * 1000)

    @property
    def _before_ms(self) -> int:
        """Whole evaluations and whole scrapes, so that the timeline starts with one of each."""
        step_ms = math.lcm(self._evaluation_ms, self._scrape_ms)
        return math.ceil(self.healthy_before * 1000 / step_ms) * step_ms


def names_of(alerts: frozenset[Labels]) -> str:
    """Return the names of these alerts, each once."""
    return ", ".join(sorted({dict(alert).get("alertname", "") for alert in alerts}))
