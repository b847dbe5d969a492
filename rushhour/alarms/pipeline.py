"""Rules and an Alertmanager's routes over a timeline (pure but for promtool).

All rules are evaluated together, since alerts group with each other and inhibit each other.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rushhour.alarms import promtool
from rushhour.alarms.alertmanager import Change, Labels
from rushhour.alarms.prom_series import NEEDS, Source, input_series
from rushhour.alarms.routing import Configuration, Delivered, deliveries
from rushhour.alarms.rules import LONGEST_WINDOW_S, Rule, longest_back_s, unknown_rules
from rushhour.alarms.selectors import Selector
from rushhour.alarms.timeline import Timeline

SCRAPE_S: Final = 15.0
EVALUATION_S: Final = 15.0
CAPACITY: Final = 30
HEALTHY_S: Final = 3600.0  # of healthy traffic before the timeline, beyond the longest window


@dataclass(frozen=True, slots=True)
class Intervals:
    """Prometheus's own, where a rule's group has none; whole seconds."""

    evaluation_s: float = EVALUATION_S
    scrape_s: float = SCRAPE_S
    external: tuple[tuple[str, str], ...] | None = None  # labels of every alert; None: no prometheus.yml says
    relabelled: bool = False  # by alert_relabel_configs


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened over one timeline; `unknown` by rule."""

    unknown: Mapping[Rule, str]
    changes: tuple[Change, ...]
    delivered: tuple[Delivered, ...]
    failed: str = ""


@dataclass(slots=True)
class Pipeline:
    """The rules, what their series stand for, and the routes. It remembers its last answers."""

    rules: tuple[Rule, ...]
    series: Mapping[str, Source]
    sources: Mapping[Selector, Source]
    unknown: Mapping[Rule, str]
    configuration: Configuration
    capacity: int = CAPACITY
    supposed: Mapping[str, str] = field(default_factory=dict)  # labels whose value no file says
    asked_in: str = ""  # where to say them
    intervals: Intervals = field(default_factory=Intervals)
    _answers: list[tuple[Timeline, Outcome]] = field(default_factory=list)

    @property
    def every_s(self) -> float:
        """The shortest interval of any group: promtool evaluates all of them at one."""
        given = [rule.every_s if rule.every_s else self.intervals.evaluation_s for rule in self.rules]
        return max(1.0, float(round(min(given, default=self.intervals.evaluation_s))))

    def outcome(self, timeline: Timeline) -> Outcome:
        """Evaluate the known rules over a timeline."""
        for known, outcome in self._answers:
            if known is timeline:
                return outcome
        outcome = self._evaluated(timeline)
        self._answers = [(timeline, outcome), *self._answers[:2]]
        return outcome

    def routed(self, configuration: Configuration) -> "Pipeline":
        """Return the pipeline with other routes."""
        return Pipeline(
            self.rules,
            self.series,
            self.sources,
            self.unknown,
            configuration,
            self.capacity,
            self.supposed,
            self.asked_in,
            self.intervals,
        )

    def _evaluated(self, timeline: Timeline) -> Outcome:
        unknown = unknown_rules(self.rules, {**self.unknown, **self._lacking(timeline)})
        try:
            evaluated = self._firing(unknown, timeline)
        except promtool.PromtoolError as error:
            try:
                bad = self._refused(unknown)
                if not bad:
                    return Outcome(unknown, (), (), str(error))
                unknown = unknown_rules(self.rules, {**unknown, **bad})
                evaluated = self._firing(unknown, timeline)
            except promtool.PromtoolError as again:
                return Outcome(unknown, (), (), str(again))
        external = self.intervals.external or ()
        evaluated = {
            at_ms: frozenset(_labelled(alert, external) for alert in alerts)
            for at_ms, alerts in evaluated.items()
        }
        changes = tuple(self._changes(evaluated, timeline))
        delivered = deliveries(changes, self.configuration, timeline.seconds, timeline.starts_at)
        return Outcome(unknown, changes, tuple(delivered))

    def _firing(self, unknown: Mapping[Rule, str], timeline: Timeline) -> dict[int, frozenset[Labels]]:
        known = [rule for rule in self.rules if rule not in unknown]
        if not any(rule.alert for rule in known):
            return {}
        return dict(promtool.firing(self._question(known, timeline)))

    def _refused(self, unknown: Mapping[Rule, str]) -> dict[Rule, str]:
        """Return the rules that promtool does not take one by one: a newer function, or a wrong template."""
        return {
            rule: f"promtool refuses it: {why}"
            for rule in self.rules
            if rule not in unknown and (why := promtool.refused(_text([rule])))
        }

    def _lacking(self, timeline: Timeline) -> dict[Rule, str]:
        found = {}
        for rule in self.rules:
            needs = {item for read in rule.reads for item in NEEDS.get(self.sources.get(read, "up"), ())}
            if missing := sorted(item for item in needs if timeline.lacks(item)):
                found[rule] = f"the timeline holds no {', no '.join(missing)}"
        return found

    def _question(self, known: Sequence[Rule], timeline: Timeline) -> promtool.Question:
        has = {source: not any(timeline.lacks(item) for item in NEEDS[source]) for source in NEEDS}
        return promtool.Question(
            rules=(_text([rule.over(timeline.seconds) for rule in known]),),
            series=input_series(
                timeline,
                {},
                scrape_s=self.intervals.scrape_s,
                healthy=self._before_ms(timeline) // round(self.intervals.scrape_s * 1000),
                capacity=self.capacity,
                gaps="zero",
                shipped={name: source for name, source in self.series.items() if has[source]},
            ),
            scrape_ms=round(self.intervals.scrape_s * 1000),
            evaluation_ms=round(self.every_s * 1000),
            from_ms=self._before_ms(timeline),
            to_ms=self._before_ms(timeline) + timeline.seconds * 1000,
        )

    def _before_ms(self, timeline: Timeline) -> int:
        known = [rule.over(timeline.seconds) for rule in self.rules if rule not in self.unknown]
        longest_s = min(longest_back_s(known), 2 * LONGEST_WINDOW_S) + HEALTHY_S
        step_ms = math.lcm(round(self.every_s * 1000), round(self.intervals.scrape_s * 1000))
        return math.ceil(longest_s * 1000 / step_ms) * step_ms

    def _changes(self, moments: Mapping[int, frozenset[Labels]], timeline: Timeline) -> Iterable[Change]:
        before = frozenset[Labels]()
        start_ms, step_ms = self._before_ms(timeline), round(self.every_s * 1000)
        for at_ms in range(start_ms, start_ms + timeline.seconds * 1000 + 1, step_ms):
            now, t_s = moments.get(at_ms, frozenset()), (at_ms - start_ms) / 1000
            yield from (Change(t_s, alert, firing=True) for alert in sorted(now - before))
            yield from (Change(t_s, alert, firing=False) for alert in sorted(before - now))
            before = now


def _labelled(alert: Labels, external: Labels) -> Labels:
    """Add Prometheus's own labels, where the alert has none of that name."""
    return tuple(sorted({**dict(external), **dict(alert)}.items()))


def _text(rules: Sequence[Rule]) -> str:
    """Return a rule file; JSON is YAML."""
    groups: dict[tuple[str, int], list[dict[str, object]]] = {}
    for rule in rules:
        groups.setdefault((rule.group, rule.limit), []).append(rule.plain())
    plain = [
        {"name": f"{name} {number}", "limit": limit, "rules": of}
        for number, ((name, limit), of) in enumerate(groups.items())
    ]
    return json.dumps({"groups": plain})
