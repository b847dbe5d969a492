"""Rules, names and routes -> one policy for each alert and receiver (pure)."""

from collections.abc import Sequence
from typing import Final

from rushhour.alarms.alertmanager import Labels
from rushhour.alarms.events import Policy
from rushhour.alarms.formats.names import Names
from rushhour.alarms.formats.prom_names import WHOLE, resolve
from rushhour.alarms.pipeline import CAPACITY, Intervals, Pipeline
from rushhour.alarms.promql_times import range_s
from rushhour.alarms.routed import RoutedAlert
from rushhour.alarms.routing import Configuration, may_take
from rushhour.alarms.rules import LONGEST_WINDOW_S, Rule

DAY_S: Final = 86_400.0


def routed_alerts(
    rules: Sequence[Rule],
    configuration: Configuration,
    names: Names,
    intervals: Intervals | None = None,
    system: str = "alertmanager",
) -> list[Policy]:
    """Return a policy for each name with its fixed labels: alerts that share both are the same."""
    recorded = {rule.record for rule in rules if rule.record}
    read = [item for rule in rules for item in rule.reads if item.name not in recorded]
    asked = frozenset(WHOLE & set(configuration.asked_labels()))
    resolved = resolve(read, names, asked)
    unknown = {
        rule: "; ".join(dict.fromkeys(why))
        for rule in rules
        if (why := [resolved.unknown[item] for item in rule.reads if item in resolved.unknown])
    }
    unknown |= {rule: rule.unreplayed for rule in rules if rule.unreplayed}
    if intervals is not None and intervals.relabelled:
        relabelled = "prometheus.yml changes alerts by alert_relabel_configs, which is not replayed"
        unknown |= {rule: relabelled for rule in rules if rule.alert}
    unknown |= {
        rule: f"looks back {range_s(rule.expression) / DAY_S:,.0f} days; "
        f"{LONGEST_WINDOW_S / DAY_S:.0f} are the most"
        for rule in rules
        if range_s(rule.expression) > LONGEST_WINDOW_S
    }
    unknown |= {
        rule: f"waits for {rule.held_s / DAY_S:,.0f} days; {LONGEST_WINDOW_S / DAY_S:.0f} are the most"
        for rule in rules
        if rule.held_s > LONGEST_WINDOW_S
    }
    pipeline = Pipeline(
        tuple(rules),
        resolved.series,
        resolved.sources,
        unknown,
        configuration,
        names.capacity or CAPACITY,
        resolved.supposed,
        names.place,
        intervals or Intervals(),
    )
    alerts: dict[Labels, list[Rule]] = {}
    for rule in rules:
        if rule.alert:
            alerts.setdefault(rule.fixed, []).append(rule)
    found: list[Policy] = []
    for fixed, own in alerts.items():
        nodes = {node.receiver: node for node in may_take(configuration.root, dict(fixed))}
        telling = {name: node for name, node in nodes.items() if configuration.receivers.get(name)}
        same = sum(item[0].alert == own[0].alert for item in alerts.values())
        name = own[0].alert if same == 1 else _with_labels(fixed)
        for receiver, node in (telling or nodes).items():
            full = name if len(telling or nodes) == 1 else f"{name} to {receiver}"
            found.append(RoutedAlert(full, tuple(own), pipeline, node, system))
    return found


def _with_labels(fixed: Labels) -> str:
    labels = dict(fixed)
    name = labels.pop("alertname")
    inner = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{inner}}}"
